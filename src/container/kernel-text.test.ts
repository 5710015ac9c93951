import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isLacreError } from '../lacre-error.ts';
import { parseCgroup } from './cgroup.ts';
import { parseMountInfo } from './mount-info.ts';
import { pathText } from './path-text.ts';
import { parseProcessStatus, parseStartTicks } from './process-status.ts';
import { isIdentityMap, parseUidMap, rangeKey, rangeOf } from './uid-map.ts';

const ID = '64c7a37fb79809e959121ad53290abd9b3eb9d10ca646f6bb76fde70c4d011f0';
const OTHER = 'f'.repeat(64);
const MAX_LINES = 64;
const malformed = { code: 'container.proc.malformed' };
const hex = (byte: number) => byte.toString(16).padStart(2, '0');
const bytes = (text: string) => Buffer.from(text, 'latin1');

test('uid_map: only one extent that is not the host’s own is a range', () => {
  const one = parseUidMap('         0     200000      65534\n');
  assert.deepEqual(rangeOf(one), { base: 200_000, length: 65_534 });
  const host = parseUidMap('         0          0 4294967295\n');
  assert.equal(isIdentityMap(host), true);
  for (const text of ['1 0 4294967295', '0 1 4294967295', '0 0 4294967294', '0 0 4294967295\n0 0 1', '0 0 10', ''])
    assert.equal(isIdentityMap(parseUidMap(text)), false, text);
  assert.equal(rangeOf(host), undefined);
  assert.equal(rangeOf(parseUidMap('0 200000 10\n10 300000 10\n')), undefined);
  assert.equal(rangeOf(parseUidMap('')), undefined);
});

test('uid_map: hostile text is refused', () => {
  for (const text of [
    '0 1',
    '0 1 0',
    '0 -1 5',
    '0 1 2 3',
    '0 4294967295 2',
    '0 1 4294967296',
    'x',
    '0 1 1e3',
    '0 11',
  ]) {
    assert.throws(() => parseUidMap(text), malformed, text);
  }
  assert.equal(parseUidMap('0 1 1\n'.repeat(340)).length, 340);
  assert.throws(() => parseUidMap('0 1 1\n'.repeat(341)), malformed);
  const most = '4294967295';
  for (const text of [`0 ${most} 1`, `${most} 0 1`, `1 1 ${most}`, `\t0  1 1 \n\n \n`])
    assert.equal(parseUidMap(text).length, 1);
  for (const text of [`0 ${most} 2`, `${most} 0 2`, `01234567890 0 1`, `0 01234567890 1`, `0 1 01234567890`, '011 1'])
    assert.throws(() => parseUidMap(text), malformed, text);
});

test('uid_map: a refusal quotes 80 characters of the line', () => {
  const quoted = (line: string) => ({ ...malformed, message: `uid_map is malformed: ${JSON.stringify(line)}` });
  assert.throws(() => parseUidMap('y'.padEnd(100, 'x')), quoted('y'.padEnd(80, 'x')));
  assert.throws(() => parseUidMap(`0 1 0${' '.repeat(100)}`), quoted('0 1 0'.padEnd(80)));
});

test('a range is named by its first uid and its length', () => {
  assert.equal(rangeKey({ base: 200_000, length: 7 }), 'range:200000+7');
  assert.equal(rangeKey(undefined), 'shared');
});

test('cgroup: both managers, and cgroups that a container makes below its own', () => {
  const paths = [
    `/libpod_parent/libpod-${ID}`,
    `/machine.slice/libpod-${ID}.scope`,
    `/machine.slice/libpod-${ID}.scope/container`,
    `/libpod_parent/libpod-${ID}/init.scope/deep`,
    `/libpod_parent/libpod-${ID}/libpod-${OTHER}`,
    `/libpod_parent/libpod-${ID}/libpod-${OTHER}.scope`,
    `/machine.slice/machine-libpod_pod_${OTHER}.slice/libpod-${ID}.scope/container`,
  ];
  const podman = { engine: 'podman', containerId: ID };
  for (const path of paths) assert.partialDeepStrictEqual(parseCgroup(`0::${path}\n`), podman, path);
  assert.partialDeepStrictEqual(parseCgroup(`9:name=systemd:/libpod-${OTHER}\n1:cpu:/\n0::${paths[0]}\n`), podman);
});

test('cgroup: the containers of each engine, and their own cgroup', () => {
  const pod = '/kubepods/besteffort/pod0f9c7a1e-0d5c-4f6e-9d5e-4a1f6c0b7f11';
  const slice = '/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0f9c7a1e.slice';
  for (const [own, engine] of [
    [`/docker/${ID}`, 'docker'],
    [`/system.slice/docker-${ID}.scope`, 'docker'],
    [`${pod}/${ID}`, 'containerd'],
    [`${slice}/cri-containerd-${ID}.scope`, 'containerd'],
    [`${slice}/crio-${ID}.scope`, 'cri-o'],
    [`${pod}/crio-${ID}`, 'cri-o'],
    [`/libpod_parent/${OTHER}/libpod-${ID}`, 'podman'],
  ] as const) {
    for (const below of ['', '/init', `/libpod-${OTHER}`, `/docker/${OTHER}`, `/${OTHER}`]) {
      assert.deepEqual(parseCgroup(`0::${own}${below}\n`), { engine, containerId: ID, path: own }, `${own}${below}`);
    }
  }
});

test('cgroup: what is no container’s is nobody’s', () => {
  const paths = [
    '/',
    '/user.slice/user-1000.slice/session-1.scope',
    `/libpod_parent/libpod-conmon-${ID}`,
    `/libpod_parent/${ID}`,
    `/kubepods.slice/crio-conmon-${ID}.scope`,
    '/docker/buildx',
    `/machine.slice/libpod-conmon-${ID}.scope`,
    `/xlibpod-${ID}`,
    `/libpod-${ID}x`,
    `/libpod-${ID.slice(1)}`,
    `/libpod-${ID.toUpperCase()}`,
  ];
  for (const path of paths) assert.equal(parseCgroup(`0::${path}\n`), undefined, path);
  for (const name of [`docker-${ID}.scope`, `cri-containerd-${ID}.scope`, `crio-${ID}.scope`, `crio-${ID}`, ID]) {
    assert.ok(parseCgroup(`0::/a/${name}`), name);
    for (const other of [`x${name}`, `${name}x`]) assert.equal(parseCgroup(`0::/a/${other}`), undefined, other);
  }
  assert.equal(parseCgroup(`${'1:cpu:/\n'.repeat(MAX_LINES - 1)}0::/\n`), undefined);
  assert.throws(() => parseCgroup(`${'1:cpu:/\n'.repeat(MAX_LINES)}0::/\n`), malformed);
  for (const text of ['', '1:cpu:/\n', '0::relative\n', `0::/\n0::/libpod-${ID}\n`]) {
    assert.throws(() => parseCgroup(text), malformed, text);
  }
});

test('mountinfo: names can hold anything, and make no field of their own', () => {
  const line = '94 88 254:0 /a\\040b /mnt/x\\012y\\134z rw,nosuid shared:1 master:2 - ext4 /dev/v\\040da rw,discard\n';
  const [mount, ...more] = parseMountInfo(bytes(line));
  assert.equal(more.length, 0);
  assert.deepEqual(mount, {
    id: 94,
    parentId: 88,
    device: '254:0',
    root: '/a b',
    target: '/mnt/x\ny\\x5cz',
    options: ['rw', 'nosuid'],
    type: 'ext4',
    source: '/dev/v da',
    superOptions: ['rw', 'discard'],
  });
});

test('mountinfo: paths that differ stay different', () => {
  const target = (path: string) => parseMountInfo(bytes(`1 2 0:1 / ${path} rw - tmpfs none rw\n`))[0]?.target;
  assert.equal(target('/\xff'), '/\\xff');
  assert.equal(target('/\\134xff'), '/\\x5cxff');
  assert.notEqual(target('/\xff'), target('/\\134xff'));
});

test('mountinfo: hostile text is refused', () => {
  const good = '1 2 0:1 / /m rw - tmpfs none rw';
  const bad = [
    '1 2 0:1 / /m rw tmpfs none rw',
    '1 2 0:1 / /m - tmpfs none rw',
    `${good} more`,
    good.replace('0:1', '0-1'),
    good.replace('0:1', 'x0:1'),
    good.replace('0:1', '0:1x'),
    good.replace('0:1', '01234567890:1'),
    good.replace('0:1', '0:01234567890'),
    good.replace('/m', '/m\\0401'.slice(0, 4)),
    '1 2 0:1 / /m rw -',
    '1 2 0:1 / /m rw - tmpfs',
    '1 2 0:1 / /m rw - tmpfs none',
    '1 2 0:1 / /m rw x tmpfs none rw',
    '- 2 0:1 / /m rw tmpfs none rw',
    '1 2 0:1',
    '1 2 0:1 /',
    ` ${good}`,
    good.replace('/m', '/m\\040\\'),
    good.replace('1 2', '1x 2'),
    good.replace('1 2', '01234567890 2'),
    good.replace('/m', 'm'),
    good.replace('/m', '/m\\9'),
    good.replace('/m', '/m\\400'),
    good.replace('1 2', 'x 2'),
    '\n \n',
  ];
  for (const line of bad) assert.throws(() => parseMountInfo(bytes(`${line}\n`)), malformed, line);
  assert.equal(parseMountInfo(bytes(`\n${good}\n\n${good.replace(' - ', ' -x x - ')}`)).length, 2);
  assert.equal(parseMountInfo(bytes(`${good}\n`.repeat(4096))).length, 4096);
  assert.throws(() => parseMountInfo(bytes(`${good}\n`.repeat(4097))), malformed);
  const filled = (length: number) => bytes(`${good},${'x'.repeat(length - good.length - 1)}\n`);
  assert.equal(parseMountInfo(filled(65_536)).length, 1);
  assert.throws(() => parseMountInfo(filled(65_537)), malformed);
  const fields = (count: number) => bytes(`1 2 0:1 / /m rw ${'x:1 '.repeat(count - 10)}- tmpfs none rw\n`);
  assert.equal(parseMountInfo(fields(65)).length, 1);
  assert.throws(() => parseMountInfo(fields(66)), malformed);
  assert.throws(() => parseMountInfo(bytes(`${good},${'x'.repeat(70_000)}\n`)), malformed);
});

test('no bytes crash the mountinfo parser', () => {
  const pieces = fc.constantFrom('1 2 0:1 / /m rw - tmpfs none rw', '\\040', ' - ', '\n', '\xff', ' ', '\\');
  fc.assert(
    fc.property(fc.array(fc.oneof(pieces, fc.string({ maxLength: 8 })), { maxLength: 12 }), (parts) => {
      try {
        parseMountInfo(bytes(parts.join('')));
      } catch (error) {
        assert.ok(isLacreError(error, 'container.proc.malformed'), String(error));
      }
    }),
  );
});

test('path text shows what can be printed as it is, and of the rest each byte', () => {
  assert.equal(
    pathText(Uint8Array.of(0x1f, 0x20, 0x5b, 0x5c, 0x5d, 0x7e, 0x7f, 0x0a, 0xff)),
    '\\x1f [\\x5c]~\\x7f\\x0a\\xff',
  );
  for (const byte of [0x00, 0x1f, 0x5c, 0x7f, 0xff])
    assert.equal(pathText(Uint8Array.of(byte, byte, 0xff)), `\\x${hex(byte)}\\x${hex(byte)}\\xff`);
  assert.equal(pathText(Uint8Array.of(0x5c)), '\\x5c');
  assert.equal(pathText(Buffer.from('caf\u00e9')), 'caf\u00e9');
  assert.equal(pathText(Buffer.from('\u00e9')), '\u00e9');
  assert.equal(pathText(Buffer.from('\ufeff/a')), '\ufeff/a', 'a byte order mark is a part of the name');
});

test('path text is injective', () => {
  const path = fc.uint8Array({ maxLength: 6 });
  fc.assert(
    fc.property(path, path, (a, b) => {
      assert.equal(pathText(a) === pathText(b), Buffer.compare(a, b) === 0);
    }),
    {
      numRuns: 5000,
      examples: [
        [Uint8Array.of(0x5c), Buffer.from('\\x5c')],
        [Buffer.from('\ufeffa'), Buffer.from('a')],
      ],
    },
  );
});

const STATUS = [
  ...['Name:\tapp', 'Pid:\t172', 'PPid:\t168', 'Uid:\t200000\t200001\t200000\t200000', 'Gid:\t5\t6\t5\t5'],
  ...['NSpid:\t172\t1', 'CapPrm:\t00000000800405fb', 'CapEff:\t00000000000405fb', 'CapBnd:\t000001ffffffffff'],
  ...['CapAmb:\t0000000000000000', 'NoNewPrivs:\t1', 'Seccomp:\t2'],
];

test('status: capabilities and filter; a field that is missing, doubled or malformed is refused', () => {
  const status = parseProcessStatus(`${STATUS.join('\n')}\n`);
  assert.equal(status.bounding, 0x1ffffffffffn);
  assert.deepEqual([status.uid, status.gid, status.parentPid, status.seccompMode], [200_001, 6, 168, 2]);
  assert.deepEqual(status.namespacePids, [172, 1]);
  assert.equal(status.noNewPrivs, true);
  assert.equal(parseProcessStatus(STATUS.with(-2, 'NoNewPrivs:\t0').join('\n')).noNewPrivs, false);
  for (const [index, line] of STATUS.entries()) {
    if (line.startsWith('Name')) continue;
    assert.throws(() => parseProcessStatus(STATUS.toSpliced(index, 1).join('\n')), malformed, line);
    assert.throws(() => parseProcessStatus([...STATUS, line].join('\n')), malformed, line);
    assert.throws(() => parseProcessStatus(STATUS.with(index, `${line}x`).join('\n')), malformed, line);
  }
  const padded = (length: number) => `${STATUS.join('\n')}\n`.padEnd(length, 'x');
  assert.equal(parseProcessStatus(padded(65_536)).pid, 172);
  assert.throws(() => parseProcessStatus(padded(65_537)), malformed);
  const withPid = (text: string) => parseProcessStatus(STATUS.with(1, `Pid:\t${text}`).join('\n')).pid;
  assert.equal(withPid('4294967295'), 4_294_967_295);
  for (const text of ['4294967296', '00000000001', 'x1', '1x', '-1', ''])
    assert.throws(() => withPid(text), malformed, text);
  const withMask = (text: string) => parseProcessStatus(STATUS.with(-5, `CapEff:\t${text}`).join('\n')).effective;
  for (const text of ['x00000000000405fb', '00000000000405fb0', '0000000000405fb', '00000000000405FB'])
    assert.throws(() => withMask(text), malformed, text);
  const ids = (text: string) => STATUS.map((line) => (line.startsWith('Uid') ? `Uid:\t${text}` : line)).join('\n');
  assert.equal(parseProcessStatus(ids('1\t2\t3\t4')).uid, 2);
  for (const text of ['1', '1\t2', '1\t2\t3', '1\t2\t3\t4\t5', '1\t\t3\t4'])
    assert.throws(() => parseProcessStatus(ids(text)), malformed, text);
});

test('status: lines may begin anywhere, have no blank, and stand twice where nobody reads them', () => {
  const lines = STATUS.slice(1);
  const texts = [lines, ['', ...lines], [...lines, 'Name:\ta', 'Name:\tb', 'Pid'], lines.with(0, 'Pid:172')];
  for (const text of texts) assert.equal(parseProcessStatus(text.join('\n')).pid, 172);
});

test('status: a refusal names the field and its fault', () => {
  const told = (what: string) => ({ ...malformed, message: `/proc/PID/status is malformed: ${what}` });
  const without = (at: number, ...lines: string[]) => parseProcessStatus(STATUS.toSpliced(at, 1, ...lines).join('\n'));
  assert.throws(() => parseProcessStatus('x'.repeat(65_537)), told('text is over its bound'));
  for (const [at, line] of STATUS.entries()) {
    const name = line.slice(0, line.indexOf(':'));
    if (name === 'Name') continue;
    assert.throws(() => without(at), told(`${name} is missing`));
    assert.throws(() => without(at, line, line), told(`${name} is there twice`));
    const form = name.startsWith('Cap') ? 'no mask of 64 bits' : 'no decimal number';
    assert.throws(() => without(at, `${name}:\tx`), told(`${name} is ${form}`));
  }
  for (const [at, name] of [
    [3, 'Uid'],
    [4, 'Gid'],
  ] as const)
    assert.throws(() => without(at, `${name}:\t1`), told(`${name} is not of four ids`));
});

test('start ticks: a name can hold parentheses and spaces', () => {
  const fields = Array.from({ length: 30 }, (_, index) => index + 3).join(' ');
  assert.equal(parseStartTicks(`12 (a) b) ${fields}\n`), 22n);
  assert.equal(parseStartTicks(`12 (app)${fields}`), 22n);
  assert.throws(() => parseStartTicks('12 (app) S 1'), {
    ...malformed,
    message: '/proc/PID/stat is malformed: field 22 is missing',
  });
  const ticks = (text: string) => parseStartTicks(`12 (app) ${fields.replace(' 22 ', ` ${text} `)}`);
  assert.equal(ticks('12345678901234567890'), 12_345_678_901_234_567_890n);
  assert.equal(ticks('7'), 7n);
  for (const text of ['-1', 'x', '1x', 'x1', '123456789012345678901'])
    assert.throws(() => ticks(text), malformed, text);
});
