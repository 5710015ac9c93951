import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { isLacreError } from '../lacre-error.ts';
import {
  type Container,
  ContainerSchema,
  EnvironmentNameSchema,
  IdExtentSchema,
  LabelSchema,
  MountSchema,
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
