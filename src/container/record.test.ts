import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { isLacreError } from '../lacre-error.ts';
import {
  type Container,
  ContainerSchema,
  EnvironmentNameSchema,
  IdExtentSchema,
  LabelSchema,
  MountSchema,
  RecordSchema,
  type EnvironmentName_Relation as Relation,
} from '../proto/lacre/v1/record_pb.ts';
import {
  decodeContainer,
  decodeRecord,
  encodeContainer,
  encodeRecord,
  imageKeyOf,
  makeContainer,
  makeRecord,
} from './record.ts';
import { SOURCE_KINDS } from './record-check.ts';

const ID = 'a'.repeat(64);

function sample(over: Partial<Container> = {}): Container {
  return makeContainer({
    id: ID,
    engine: 'podman',
    name: 'orders',
    manifestDigest: `sha256:${'1'.repeat(64)}`,
    argv: ['/bin/app', '--serve'],
    cwd: '/',
    environment: ['HOME', 'PATH'].map((name) => create(EnvironmentNameSchema, { name, relation: 1 })),
    mounts: [create(MountSchema, { target: '/', type: 'overlay', root: '/', sourceKind: 'root', peer: '0:43' })],
    uidMap: [create(IdExtentSchema, { inside: 0, outside: 200_000, length: 1024 })],
    labels: [create(LabelSchema, { name: 'team', value: 'x' })],
    hostNamespaces: ['ipc', 'net'],
    devices: ['/dev/a', '/dev/b'],
    ...over,
  });
}

/** The protobuf bytes of any Container, checked or not. */
function raw(container: Container): Uint8Array {
  return toBinary(ContainerSchema, container);
}

function refuses(code: string, bytes: Uint8Array, field?: string): void {
  assert.throws(
    () => decodeContainer(bytes),
    (error) => isLacreError(error) && error.code === code && (field === undefined || error.details['field'] === field),
    field,
  );
}

test('an image is looked up by its manifest, else by its configuration, else by nothing', () => {
  const [manifestDigest, configDigest] = [`sha256:${'1'.repeat(64)}`, `sha256:${'2'.repeat(64)}`];
  assert.equal(imageKeyOf({ manifestDigest, configDigest }), manifestDigest);
  assert.equal(imageKeyOf({ manifestDigest: '', configDigest }), configDigest);
  assert.equal(imageKeyOf({ manifestDigest: '', configDigest: '' }), '');
});

test('a container and a record read back as they were written, under one hash', () => {
  const bytes = encodeContainer(sample());
  const read = decodeContainer(bytes);
  assert.deepEqual(encodeContainer(read.claim), bytes);
  assert.deepEqual(read.range, { base: 200_000, length: 1024 });
  const record = encodeRecord(
    makeRecord({ containerSha256: read.sha256, containerId: ID, uid: 200_000, isInitFamily: true }),
  );
  assert.deepEqual(encodeRecord(decodeRecord(record).claim), record);
});

test('bytes that say the same in another way are refused', () => {
  const bytes = raw(sample());
  const gid = Uint8Array.of(0x68, 0);
  refuses('container.not-canonical', Uint8Array.of(...bytes, ...gid));
  refuses('container.not-canonical', Uint8Array.of(...bytes, 0x08, 1));
  refuses('container.not-canonical', Uint8Array.of(...bytes, 0xf8, 0x3f, 1));
  refuses('container.not-canonical', Uint8Array.of(0x08, 0x81, 0x00, ...bytes.subarray(2)));
  refuses('container.not-canonical', Uint8Array.of(...bytes.subarray(2), ...bytes.subarray(0, 2)));
});

test('truncated and oversized bytes are refused', () => {
  const bytes = raw(sample());
  refuses('container.malformed', bytes.subarray(0, bytes.length - 1));
  refuses('container.malformed', new Uint8Array());
  refuses('container.oversized', new Uint8Array(256 * 1024 + 1));
  assert.throws(() => decodeRecord(new Uint8Array(64 * 1024 + 1)), { code: 'container.oversized' });
  const large = Array.from({ length: 300 }, () => 'x'.repeat(1000));
  assert.throws(() => encodeContainer(sample({ argv: large })), { code: 'container.oversized' });
});

test('just so many bytes as the bound are read and written', () => {
  const filled = (length: number) =>
    sample({ argv: [...Array.from({ length: 8 }, () => 'x'.repeat(32_000)), 'x'.repeat(length)] });
  const most = 256 * 1024;
  const rest = most - raw(filled(1000)).length + 1000;
  const bytes = encodeContainer(filled(rest));
  assert.equal(bytes.length, most);
  assert.equal(decodeContainer(bytes).claim.argv.length, 9);
  assert.throws(() => encodeContainer(filled(rest + 1)), { code: 'container.oversized' });
  assert.throws(() => decodeRecord(new Uint8Array(64 * 1024)), { code: 'container.malformed' });
});

test('a field that the schema does not know is not written', () => {
  const bytes = raw(sample());
  const unknown = fromBinary(ContainerSchema, Uint8Array.of(...bytes, 0xf8, 0x3f, 1));
  assert.equal(unknown.$unknown?.length, 1);
  assert.deepEqual(encodeContainer(unknown), bytes);
});

test('every field is held to its form, on reading and on writing', () => {
  const plain = { target: '/', type: 'overlay', root: '/', sourceKind: 'root', peer: '0:43' };
  const mount = (over: MessageInitShape<typeof MountSchema>) => [create(MountSchema, { ...plain, ...over })];
  const bad: [string, Partial<Container>][] = [
    ['version', { version: 2 }],
    ['id', { id: 'a'.repeat(63) }],
    ['id', { id: ID.toUpperCase() }],
    ['sandbox_id', { sandboxId: 'pod' }],
    ['engine', { engine: '' }],
    ['name', { name: 'x'.repeat(1025) }],
    ['name', { name: 'a\0b' }],
    ['manifest_digest', { manifestDigest: 'sha512:00' }],
    ['config_digest', { configDigest: 'x' }],
    ['argv', { argv: Array.from({ length: 1025 }, () => 'a') }],
    ['argv', { argv: ['x'.repeat(32_769)] }],
    ['environment', { environment: sample().environment.toReversed() }],
    ['environment', { environment: [...sample().environment, ...sample().environment.slice(1)] }],
    ['environment', { environment: [create(EnvironmentNameSchema, { name: 'A', relation: 0 })] }],
    ['environment', { environment: [create(EnvironmentNameSchema, { name: 'A', relation: 9 as Relation })] }],
    ['mounts', { mounts: mount({ target: 'relative' }) }],
    ['mounts', { mounts: mount({ peer: '0:4 3' }) }],
    ['mounts', { mounts: mount({ sourceKind: 'magic' }) }],
    ['mounts', { mounts: mount({ superOptions: 'size=0k' }) }],
    ['mounts', { mounts: mount({ type: 'over lay' }) }],
    ['devices', { devices: ['/dev/b', '/dev/a'] }],
    ['devices', { devices: ['/dev/a', '/dev/a'] }],
    ['host_namespaces', { hostNamespaces: ['disk'] }],
    ['uid_map', { uidMap: [create(IdExtentSchema, { inside: 0, outside: 0, length: 0 })] }],
    ['uid_map', { uidMap: [create(IdExtentSchema, { inside: 0, outside: 0xffff_ff00, length: 0x200 })] }],
    ['labels', { labels: [...sample().labels, ...sample().labels] }],
    ['seccomp_sha256', { seccompSha256: new Uint8Array(31) }],
    ['seccomp_denies_userns', { seccompDeniesUserns: true }],
    ['seccomp_mode', { seccompMode: 3 }],
  ];
  for (const [field, over] of bad) {
    refuses('container.malformed', raw(sample(over)), field);
    assert.throws(() => encodeContainer(sample(over)), { code: 'container.malformed' }, field);
  }
});

test('every text and every list has its bound, and may have just so much', () => {
  const long = (length: number) => 'x'.repeat(length);
  const plain = { target: '/', type: 'tmpfs', root: '/', sourceKind: 'root', peer: '0:43' };
  const mount = (over: MessageInitShape<typeof MountSchema>) => ({
    mounts: [create(MountSchema, { ...plain, ...over })],
  });
  const label = (name: string, value: string) => ({ labels: [create(LabelSchema, { name, value })] });
  const names = (count: number) => Array.from({ length: count }, (_, n) => `n${String(n).padStart(5, '0')}`);
  const variable = (name: string) => create(EnvironmentNameSchema, { name, relation: 1 });
  const extents = (count: number) =>
    Array.from({ length: count }, (_, n) => create(IdExtentSchema, { outside: n, length: 1 }));
  const bounded: [string, number, (size: number) => Partial<Container>][] = [
    ['name', 1024, (size) => ({ name: long(size) })],
    ['image_name', 1024, (size) => ({ imageName: long(size) })],
    ['cwd', 8192, (size) => ({ cwd: long(size) })],
    ['engine', 32, (size) => ({ engine: long(size) })],
    ['argv', 32_768, (size) => ({ argv: [long(size)] })],
    ['argv', 1024, (size) => ({ argv: names(size) })],
    ['environment', 32_768, (size) => ({ environment: [variable(long(size))] })],
    ['environment', 1024, (size) => ({ environment: names(size).map(variable) })],
    ['mounts', 8192, (size) => mount({ target: `/${long(size - 1)}` })],
    ['mounts', 8192, (size) => mount({ root: long(size) })],
    ['mounts', 8192, (size) => mount({ superOptions: long(size) })],
    ['mounts', 64, (size) => mount({ type: long(size), superOptions: '' })],
    ['mounts', 4096, (size) => ({ mounts: Array.from({ length: size }, () => create(MountSchema, plain)) })],
    ['devices', 8192, (size) => ({ devices: [long(size)] })],
    ['devices', 1024, (size) => ({ devices: names(size) })],
    ['labels', 4096, (size) => label(long(size), '')],
    ['labels', 4096, (size) => label('', long(size))],
    ['labels', 1024, (size) => ({ labels: names(size).map((name) => create(LabelSchema, { name, value: '' })) })],
    ['uid_map', 340, (size) => ({ uidMap: extents(size) })],
  ];
  for (const [field, most, made] of bounded) {
    decodeContainer(raw(sample(made(most))));
    refuses('container.malformed', raw(sample(made(most + 1))), field);
  }
  const holds = (over: Partial<Container>, field: string) => refuses('container.malformed', raw(sample(over)), field);
  holds({ devices: ['\0'] }, 'devices');
  holds(label('\0', ''), 'labels');
  holds(label('', '\0'), 'labels');
  holds(mount({ root: '\0' }), 'mounts');
  holds(mount({ type: '' }), 'mounts');
});

test('names, digests and numbers have one form each', () => {
  const digest = `sha256:${'1'.repeat(64)}`;
  const plain = { target: '/', type: 'overlay', root: '/', sourceKind: 'root' };
  const peer = (text: string) => ({ mounts: [create(MountSchema, { ...plain, peer: text })] });
  const uidMap = (inside: number, outside: number, length: number) => ({
    uidMap: [create(IdExtentSchema, { inside, outside, length })],
  });
  const kinds = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'time', 'user', 'uts'];
  const good: Partial<Container>[] = [
    { configDigest: digest, sandboxId: 'b'.repeat(64), engine: 'a', hostNamespaces: kinds },
    { engine: 'cri-o2' },
    { mounts: [create(MountSchema, { ...plain, peer: '0:1', type: 'x' })] },
    ...['0:4', '4:0', '1234567890:1234567890'].map(peer),
    ...[...SOURCE_KINDS].map((sourceKind) => ({
      mounts: [create(MountSchema, { ...plain, peer: '0:1', sourceKind })],
    })),
    uidMap(0xffff_ffff, 0, 1),
    uidMap(0, 0xffff_ffff, 1),
    uidMap(1, 1, 0xffff_ffff),
    {
      environment: [1, 2, 3, 4].map((relation) =>
        create(EnvironmentNameSchema, { name: `n${relation}`, relation: relation as Relation }),
      ),
    },
  ];
  for (const over of good) decodeContainer(raw(sample(over)));
  assert.deepEqual([...SOURCE_KINDS], ['root', 'kernel', 'tmpfs', 'engine', 'volume', 'bind', 'engine-socket']);
  const bad: [string, Partial<Container>][] = [
    ...[`x${ID}`, `${ID}a`, `${'g'.repeat(64)}`].map((id): [string, Partial<Container>] => ['id', { id }]),
    ...[`x${digest}`, `${digest}1`, digest.replace('1', 'G'), digest.slice(1)].flatMap(
      (text): [string, Partial<Container>][] => [
        ['manifest_digest', { manifestDigest: text }],
        ['config_digest', { configDigest: text }],
      ],
    ),
    ...['1podman', 'Podman', 'pod man', 'podman\n', ' podman'].map((engine): [string, Partial<Container>] => [
      'engine',
      { engine },
    ]),
    ...['', ':', '0:', ':0', 'x:1', '1:x', ' 0:1', '0:1 ', '12345678901:1', '1:12345678901'].map(
      (text): [string, Partial<Container>] => ['mounts', peer(text)],
    ),
    ['host_namespaces', { hostNamespaces: ['net', 'ipc'] }],
    ['host_namespaces', { hostNamespaces: ['net', 'net'] }],
    ['host_namespaces', { hostNamespaces: [...kinds, 'zzz'] }],
    ['uid_map', uidMap(0, 0, 0)],
    ['uid_map', uidMap(0xffff_ffff, 0, 2)],
    ['uid_map', uidMap(0, 0xffff_ffff, 2)],
    ['devices', { devices: ['a', 'a'] }],
  ];
  for (const [field, over] of bad) refuses('container.malformed', raw(sample(over)), field);
});

test('a record is held to its form too', () => {
  const fields = { containerSha256: new Uint8Array(32), containerId: ID };
  const check = (over: Parameters<typeof makeRecord>[0], field?: string) => {
    const bytes = toBinary(RecordSchema, makeRecord({ ...fields, ...over }));
    if (field === undefined) return decodeRecord(bytes);
    return assert.throws(
      () => decodeRecord(bytes),
      (error) => isLacreError(error, 'container.malformed') && error.details['field'] === field,
    );
  };
  check({ executable: 'x'.repeat(8192) });
  for (const flag of ['isInitFamily', 'joinedByExec'] as const) check({ [flag]: true });
  check({ version: 2 }, 'version');
  check({ containerSha256: new Uint8Array(33) }, 'container_sha256');
  for (const containerId of ['', `${ID}a`, ID.toUpperCase()]) check({ containerId }, 'container_id');
  check({ executable: 'x'.repeat(8193) }, 'executable');
  check({ executable: '\0' }, 'executable');
  check({ isInitFamily: true, joinedByExec: true }, 'is_init_family');
});

test('a record of a process that was executed in can not be of the first one’s family', () => {
  const fields = { containerSha256: new Uint8Array(32), containerId: ID };
  const both = makeRecord({ ...fields, isInitFamily: true, joinedByExec: true });
  assert.throws(() => encodeRecord(both), { code: 'container.malformed' });
  assert.throws(() => encodeRecord(makeRecord({ ...fields, containerSha256: new Uint8Array(31) })), {
    code: 'container.malformed',
  });
});

test('no bytes crash the reader, and what it accepts is canonical', () => {
  const valid = raw(sample());
  const mutated = fc.tuple(fc.nat(valid.length - 1), fc.nat(255)).map(([at, byte]) => {
    const copy = Uint8Array.from(valid);
    copy[at] = byte;
    return copy;
  });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (bytes) => {
      try {
        assert.deepEqual(encodeContainer(decodeContainer(bytes).claim), bytes);
      } catch (error) {
        assert.ok(isLacreError(error), String(error));
      }
    }),
    { numRuns: 3000 },
  );
});
