import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import {
  type Container,
  IdExtentSchema,
  type Mount,
  MountSchema,
  NodeObservationSchema,
} from '../proto/lacre/v1/record_pb.ts';
import { type Classification, classifyContainers } from './attribution.ts';
import { CAP } from './capability.ts';
import { type ClaimedContainer, decodeContainer, encodeContainer, makeContainer } from './record.ts';

const DENIED = create(NodeObservationSchema, { unprivilegedUsernsClone: 1 });
const NO_SYSCTL = create(NodeObservationSchema, {});
const BASE = 200_000;
const PODMAN_CAPS = 0x800405fbn;
let devices = 50;

function mount(over: MessageInitShape<typeof MountSchema>): Mount {
  return create(MountSchema, { target: '/', type: 'overlay', root: '/', sourceKind: 'bind', peer: '0:1', ...over });
}

const root = (over: MessageInitShape<typeof MountSchema> = {}) =>
  mount({ sourceKind: 'root', peer: `0:${devices++}`, ...over });
const extent = (outside: number, length: number, inside = 0) => create(IdExtentSchema, { inside, outside, length });

/** A container of podman --userns=auto, number `n` of its node. */
function container(n: number, over: Partial<Container> = {}): ClaimedContainer {
  const fields: Partial<Container> = {
    id: n.toString(16).padStart(64, '0'),
    engine: 'podman',
    name: `c${n}`,
    mounts: [root()],
    capabilities: PODMAN_CAPS,
    boundingCapabilities: PODMAN_CAPS,
    seccompMode: 2,
    uidMap: [extent(BASE + n * 1024, 1024)],
    ...over,
  };
  return decodeContainer(encodeContainer(makeContainer(fields)));
}

const host = (n: number, over: Partial<Container> = {}) =>
  container(n, { uidMap: [extent(0, 0xffff_ffff)], hostNamespaces: ['user'], ...over });

function classify(one: ClaimedContainer, others: ClaimedContainer[] = [], observation = DENIED): Classification {
  const found = classifyContainers({ containers: [one, ...others], observation, uidPoolBase: BASE }).get(one.claim.id);
  assert.ok(found);
  return found;
}

function codes(found: Classification): string[] {
  return found.reasons.map(({ code }) => code);
}

function is(found: Classification, attribution: string, ...reasons: string[]): void {
  assert.deepEqual([found.attribution, codes(found)], [attribution, reasons]);
}

test('a range of its own, on a node that denies nested namespaces, is exact', () => {
  is(classify(container(1), [container(2)]), 'exact');
});

test('what makes a container the host’s', () => {
  is(classify(container(1, { privileged: true })), 'host', 'privileged');
  is(classify(container(1, { hostNamespaces: ['pid'] })), 'host', 'host-namespace');
  is(classify(container(1, { hostNamespaces: ['mnt'] })), 'host', 'host-namespace');
  const ptrace = host(1, { capabilities: CAP.SYS_PTRACE, boundingCapabilities: CAP.SYS_PTRACE });
  is(classify(ptrace), 'host', 'host-powers', 'no-range');
  is(classify(container(1, { uidMap: [] })), 'host', 'uid-map-unknown');
});

test('an engine’s socket makes it the host’s, however it got in', () => {
  const sockets = [
    mount({ target: '/x', root: '/podman/podman.sock', type: 'tmpfs', noexec: true }),
    mount({ target: '/var/run/docker.sock', root: '/d', type: 'tmpfs', noexec: true }),
    mount({ target: '/host', type: 'ext4', sourceKind: 'engine-socket', noexec: true }),
  ];
  for (const socket of sockets) is(classify(container(1, { mounts: [root(), socket] })), 'host', 'engine-socket');
  for (const target of ['/my-podman.socket', '/my-podman.sock', '/podman.sock.d', '/podman-sock'])
    is(classify(container(1, { mounts: [root(), mount({ target, noexec: true })] })), 'exact');
});

test('FUSE counts where it can be mounted', () => {
  is(classify(container(1, { hasFuseDevice: true })), 'exact');
  const admin = { capabilities: CAP.SYS_ADMIN, boundingCapabilities: CAP.SYS_ADMIN };
  is(classify(container(1, { hasFuseDevice: true, ...admin })), 'host', 'fuse');
  is(classify(container(1, { devices: ['/dev/fuse'], boundingCapabilities: CAP.SYS_ADMIN })), 'host', 'fuse');
  const whole = mount({ target: '/dev', type: 'devtmpfs', root: '/', noexec: true });
  is(classify(container(1, { mounts: [root(), whole], ...admin })), 'host', 'fuse');
  const bound = mount({ target: '/f', type: 'devtmpfs', root: '/fuse', noexec: true });
  is(classify(container(1, { mounts: [root(), bound], ...admin })), 'host', 'fuse');
  is(classify(container(1, { hasFuseDevice: true }), [], NO_SYSCTL), 'host', 'fuse', 'nested-namespaces');
});

test('maps that are no range', () => {
  const harmless = { capabilities: 0n, boundingCapabilities: 0n };
  is(classify(host(1, harmless)), 'shared', 'no-range');
  is(classify(container(1, { uidMap: [extent(BASE, 10), extent(BASE + 100, 10, 10)] })), 'shared', 'several-extents');
  is(classify(container(1, { uidMap: [extent(BASE - 1, 10)] })), 'shared', 'below-pool');
  is(classify(container(1, { uidMap: [extent(BASE, BASE + 1)] })), 'shared', 'inside-reach');
  is(classify(container(1, { uidMap: [extent(BASE, 10, BASE)] })), 'shared', 'inside-reach');
  is(classify(container(1, { uidMap: [extent(BASE, BASE)] })), 'exact');
});

test('a root that is not kernel overlay, and the host’s ipc namespace', () => {
  is(classify(container(1, { mounts: [root({ type: 'fuse.fuse-overlayfs' })] })), 'shared', 'storage-driver');
  is(classify(container(1, { mounts: [root(), root({ type: 'ext4' })] })), 'shared', 'storage-driver');
  is(classify(container(1, { mounts: [] })), 'shared', 'storage-driver');
  is(classify(container(1, { hostNamespaces: ['ipc'] })), 'shared', 'host-ipc');
});

test('nested namespaces: each denial alone is enough, and one container without it ends it for all', () => {
  const profile = { seccompSha256: new Uint8Array(32), seccompDeniesUserns: true };
  is(classify(container(1, profile), [], NO_SYSCTL), 'exact');
  is(classify(container(1, { maxUserNamespaces: 1n }), [], NO_SYSCTL), 'exact');
  is(classify(container(1), [], NO_SYSCTL), 'shared', 'nested-namespaces');
  is(
    classify(container(1), [], create(NodeObservationSchema, { unprivilegedUsernsClone: 2 })),
    'shared',
    'nested-namespaces',
  );
  is(classify(container(1, profile), [container(2)], NO_SYSCTL), 'shared', 'neighbour-nested-namespaces');
});

test('a denial that can be undone, or that does not hold for every process, is none', () => {
  const profile = { seccompSha256: new Uint8Array(32), seccompDeniesUserns: true };
  is(classify(container(1, { ...profile, seccompMode: 0 }), [], NO_SYSCTL), 'shared', 'nested-namespaces');
  for (const over of [{ boundingCapabilities: CAP.SYS_RESOURCE }, { privileged: true }]) {
    const codesFound = codes(classify(container(1, { maxUserNamespaces: 1n, ...over }), [], NO_SYSCTL));
    assert.ok(codesFound.includes('nested-namespaces'), codesFound.join());
  }
  assert.ok(codes(classify(container(1, { maxUserNamespaces: 2n }), [], NO_SYSCTL)).includes('nested-namespaces'));
  const admin = { capabilities: CAP.SYS_ADMIN, boundingCapabilities: CAP.SYS_ADMIN };
  assert.ok(
    codes(classify(host(1, admin))).includes('nested-namespaces'),
    'root of the host is not bound by the sysctl',
  );
  is(classify(container(1, admin)), 'exact');
});

test('a neighbour that can give files any owner ends exactness', () => {
  is(classify(container(1), [host(2)]), 'shared', 'neighbour-gives-owners');
  is(classify(container(1), [host(2, { capabilities: 0n, boundingCapabilities: 0n })]), 'exact');
  is(
    classify(container(1), [container(2, { uidMap: [extent(500_000, 300_000)] })]),
    'shared',
    'neighbour-gives-owners',
  );
});

test('ranges that overlap belong to nobody', () => {
  const one = container(1, { uidMap: [extent(BASE, 1024)] });
  const two = container(2, { uidMap: [extent(BASE + 1023, 1024)] });
  const three = container(3, { uidMap: [extent(BASE, 1024)] });
  is(classify(one, [two]), 'host', 'range-overlap');
  is(classify(two, [one]), 'host', 'range-overlap');
  is(classify(three, [two, one]), 'host', 'range-overlap');
  is(classify(one, [three]), 'exact');
  is(classify(container(7, { uidMap: [extent(0, 10)] })), 'shared', 'below-pool');
  const within = [container(4, { uidMap: [extent(BASE, 5000)] }), container(5, { uidMap: [extent(BASE + 100, 10)] })];
  is(classify(container(6, { uidMap: [extent(BASE + 200, 10)] }), within), 'host', 'range-overlap');
});

test('overlaps are found as a look at every pair finds them, in any order', () => {
  const range = fc.record({ base: fc.nat(60), length: fc.integer({ min: 1, max: 30 }) });
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 8 }), (ranges) => {
      const all = ranges.map(({ base, length }, n) => container(n, { uidMap: [extent(BASE + base, length)] }));
      const found = classifyContainers({ containers: all, observation: DENIED, uidPoolBase: BASE });
      const meet = (a: (typeof ranges)[0], b: (typeof ranges)[0]) =>
        a.base < b.base + b.length && b.base < a.base + a.length;
      const same = (a: (typeof ranges)[0], b: (typeof ranges)[0]) => a.base === b.base && a.length === b.length;
      const hit = ranges.filter((one) => ranges.some((other) => meet(one, other) && !same(one, other)));
      for (const [n, one] of ranges.entries()) {
        const id = n.toString(16).padStart(64, '0');
        const overlaps = found.get(id)?.reasons.some(({ code }) => code === 'range-overlap');
        assert.equal(overlaps, hit.includes(one) || hit.some((other) => meet(one, other)));
      }
    }),
    { numRuns: 300 },
  );
});

test('one extent that reaches the pool inside is enough, and so is one more extent', () => {
  const extents = (...map: ReturnType<typeof extent>[]) => codes(classify(container(1, { uidMap: map })));
  assert.ok(extents(extent(BASE, 10), extent(BASE + 100, 10, BASE)).includes('inside-reach'));
  assert.ok(!extents(extent(BASE, 10), extent(BASE + 100, 10, 10)).includes('inside-reach'));
  const two = container(2, { uidMap: [extent(500_000, 10), extent(600_000, 10, 10)] });
  is(classify(container(1), [two]), 'shared', 'neighbour-gives-owners');
});

test('powers of the host’s root count only in the host’s own user namespace', () => {
  const powers = { capabilities: CAP.SYS_PTRACE, boundingCapabilities: CAP.SYS_PTRACE };
  is(classify(container(1, powers)), 'exact');
  is(classify(container(1, { ...powers, hostNamespaces: ['user'] })), 'exact');
  is(
    classify(container(1, { ...powers, uidMap: [extent(BASE, 10), extent(BASE + 10, 10, 10)] })),
    'shared',
    'several-extents',
  );
});

test('what mount namespaces show twice is judged by what lies on top', () => {
  is(classify(container(1, { mounts: [root({ type: 'ext4' }), root()] })), 'exact');
});

test('what one can write and another execute is nobody’s alone', () => {
  const volume = (over: MessageInitShape<typeof MountSchema> = {}) =>
    mount({ target: '/data', type: 'ext4', root: '/v/a', peer: '8:1', ...over });
  const pair = (a: Mount, b: Mount) =>
    classify(container(1, { mounts: [root(), a] }), [container(2, { mounts: [root(), b] })]);
  is(pair(volume(), volume()), 'shared', 'shared-mount');
  is(pair(volume({ noexec: true }), volume({ readOnly: true })), 'shared', 'shared-mount');
  is(pair(volume({ readOnly: true }), volume({ noexec: true })), 'shared', 'shared-mount');
  is(pair(volume(), volume({ root: '/v/a/deep', target: '/other' })), 'shared', 'shared-mount');
  is(pair(volume({ root: '/' }), volume()), 'shared', 'shared-mount');
  is(pair(volume({ root: '/v/a/deep' }), volume()), 'shared', 'shared-mount');
  is(pair(volume(), volume({ root: '/' })), 'shared', 'shared-mount');
  is(pair(volume({ root: '/v/b' }), volume({ root: '/v/a' })), 'exact');
  for (const type of ['proc', 'sysfs', 'cgroup', 'cgroup2', 'devpts', 'securityfs'])
    is(pair(volume({ type }), volume({ type })), 'exact');
  is(pair(volume({ readOnly: true }), volume({ readOnly: true })), 'exact');
  is(pair(volume({ noexec: true }), volume({ noexec: true })), 'exact');
  is(pair(volume(), volume({ peer: '8:2' })), 'exact');
  is(pair(volume(), volume({ root: '/v/ab' })), 'exact');
  const node = (target: string, readOnly: boolean) =>
    mount({ target, type: 'devtmpfs', root: '/null', peer: '0:6', readOnly });
  is(pair(node('/dev/null', false), node('/proc/kcore', true)), 'exact');
  const whole = mount({ target: '/d', type: 'devtmpfs', root: '/', peer: '0:6', readOnly: true });
  is(pair(node('/dev/null', false), whole), 'exact');
});

test('who can neither write nor execute what others share loses nothing by it', () => {
  const volume = (over: MessageInitShape<typeof MountSchema> = {}) =>
    mount({ target: '/data', type: 'ext4', root: '/v/a', peer: '8:1', ...over });
  const reader = container(1, { mounts: [root(), volume({ readOnly: true, noexec: true })] });
  const pair = [2, 3].map((n) => container(n, { mounts: [root(), volume()] }));
  is(classify(reader, pair), 'exact');
  const [two, three] = pair;
  assert.ok(two && three);
  is(classify(two, [reader, three]), 'shared', 'shared-mount');
  const apart = container(3, { mounts: [root(), volume({ root: '/v/b' })] });
  const above = container(1, { mounts: [root(), volume({ root: '/v', readOnly: true, noexec: true })] });
  is(classify(two, [above, apart]), 'exact');
});

test('containers of one range may share what they like', () => {
  const shared = () => [root(), mount({ target: '/data', type: 'ext4', root: '/v', peer: '8:1' })];
  const uidMap = [extent(BASE, 1024)];
  is(classify(container(1, { mounts: shared(), uidMap }), [container(2, { mounts: shared(), uidMap })]), 'exact');
});

test('a sandbox with different ranges is not one domain', () => {
  const sandboxId = 'e'.repeat(64);
  is(classify(container(1, { sandboxId }), [container(2, { sandboxId })]), 'shared', 'sandbox-ranges');
  is(classify(container(1, { sandboxId }), [container(2)]), 'exact');
});

test('closed: nothing but the root executes, and nobody can change that', () => {
  const closed = (over: Partial<Container>, observation = DENIED) =>
    classify(container(1, over), [], observation).closed;
  const and = (over: MessageInitShape<typeof MountSchema>) => ({
    mounts: [root(), mount({ target: '/m', peer: '0:7', ...over })],
  });
  assert.equal(closed({}), true);
  assert.equal(closed(and({ type: 'ext4' })), false);
  assert.equal(closed(and({ type: 'ext4', noexec: true })), true);
  assert.equal(closed(and({ type: 'ext4', readOnly: true })), false);
  assert.equal(closed(and({ type: 'tmpfs', readOnly: true, superOptions: 'rw,size=0k,uid=200000' })), true);
  assert.equal(closed(and({ type: 'tmpfs', readOnly: true, superOptions: 'rw,size=10k' })), false);
  assert.equal(closed(and({ type: 'tmpfs', superOptions: 'rw,size=0k' })), false);
  for (const type of ['proc', 'sysfs']) assert.equal(closed(and({ type, readOnly: true })), true, type);
  assert.equal(closed(and({ type: 'ext4', root: '/null' })), false, 'a file of that name is no device');
  assert.equal(closed({ privileged: true, maxUserNamespaces: 0n }), false);
  assert.equal(closed(and({ type: 'proc' })), false);
  for (const node of ['null', 'zero', 'full', 'tty', 'random', 'urandom'])
    assert.equal(closed(and({ type: 'devtmpfs', root: `/${node}` })), true, node);
  assert.equal(closed(and({ type: 'devtmpfs', root: '/' })), false);
  assert.equal(closed(and({ type: 'devtmpfs', root: '/loop0' })), false);
  assert.equal(closed({ capabilities: CAP.SYS_ADMIN }), false);
  assert.equal(closed({ boundingCapabilities: CAP.SYS_ADMIN }), false);
  assert.equal(closed({ hasFuseDevice: true }), false);
  assert.equal(closed({}, NO_SYSCTL), false);
});

test('thousands of containers with a shared volume are classified in time', () => {
  const many = Array.from({ length: 2000 }, (_, n) =>
    container(n, { mounts: [root(), mount({ target: '/data', type: 'ext4', root: '/v', peer: '8:1' })] }),
  );
  const before = process.threadCpuUsage();
  const found = classifyContainers({ containers: many, observation: DENIED, uidPoolBase: BASE });
  assert.ok([...found.values()].every(({ attribution }) => attribution === 'shared'));
  const { user, system } = process.threadCpuUsage(before);
  assert.ok(user + system < 2_000_000, `it took ${user + system} µs of CPU`);
});
