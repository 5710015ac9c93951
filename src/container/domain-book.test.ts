import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { type Container, IdExtentSchema, MountSchema, NodeObservationSchema } from '../proto/lacre/v1/record_pb.ts';
import { type ContainerNews, DomainBook } from './domain-book.ts';
import { ownerOf } from './owner.ts';
import { RangeIndex } from './range-index.ts';
import { type ClaimedContainer, decodeContainer, encodeContainer, makeContainer } from './record.ts';

const BASE = 200_000;
const DENIED = create(NodeObservationSchema, { unprivilegedUsernsClone: 1 });
const ALLOWED = create(NodeObservationSchema, { unprivilegedUsernsClone: 2 });
const image = (n: number) => `sha256:${n.toString(16).padStart(64, '0')}`;
const id = (n: number) => n.toString(16).padStart(64, '0');
const extent = (outside: number, length = 1024) => create(IdExtentSchema, { inside: 0, outside, length });

function container(n: number, base: number, over: Partial<Container> = {}): ClaimedContainer {
  const fields: Partial<Container> = {
    id: id(n),
    engine: 'podman',
    name: `c${n}`,
    manifestDigest: image(n),
    mounts: [create(MountSchema, { target: '/', type: 'overlay', root: '/', sourceKind: 'root', peer: `0:${n}` })],
    uidMap: [extent(base)],
    ...over,
  };
  return decodeContainer(encodeContainer(makeContainer(fields)));
}

function news(changed: ClaimedContainer[], over: Partial<ContainerNews> = {}): ContainerNews {
  return { changed, gone: [], complete: false, observation: DENIED, ...over };
}

function book(...containers: ClaimedContainer[]): DomainBook {
  const made = new DomainBook(BASE);
  made.apply(news(containers, { complete: true }));
  return made;
}

const evm = (iuid: number | undefined) => ({ template: 'evm-sig', iuid });

test('whose an entry is', () => {
  const domains = book(container(1, BASE), container(2, BASE + 1024));
  const owner = (entry: { template: string; iuid: number | undefined }) => ownerOf(entry, domains.ranges, BASE);
  const first = { kind: 'domain', id: `range:${BASE}+1024` };
  assert.deepEqual(owner(evm(BASE)), first);
  assert.deepEqual(owner(evm(BASE + 1023)), first);
  assert.deepEqual(owner(evm(BASE + 1024)), { kind: 'domain', id: `range:${BASE + 1024}+1024` });
  assert.deepEqual(owner(evm(BASE + 2048)), { kind: 'unattributed', alert: true });
  assert.deepEqual(owner(evm(0)), { kind: 'unattributed', alert: false });
  assert.deepEqual(owner(evm(BASE - 1)), { kind: 'unattributed', alert: false });
  assert.deepEqual(owner(evm(undefined)), { kind: 'unattributed', alert: false });
  for (const template of ['ima-sig', 'ima-ng', 'ima-buf', 'ima', 'evm-sig2']) {
    assert.deepEqual(owner({ template, iuid: BASE }), { kind: 'host' }, template);
  }
});

test('extents of a container without one range are everybody’s', () => {
  const several = container(1, 0, { uidMap: [extent(300_000, 10), extent(400_000, 10)] });
  const domains = book(several, container(2, BASE));
  assert.deepEqual(ownerOf(evm(400_009), domains.ranges, BASE), { kind: 'shared' });
  assert.equal(domains.standing(id(1))?.domainId, 'shared');
  assert.equal(domains.standing(id(2))?.attribution, 'shared', 'it can make files of any owner within its extents');
});

test('a miss of the node counts for the epoch, for newcomers too', () => {
  const domains = book(container(1, BASE));
  assert.equal(domains.standing(id(1))?.attribution, 'exact');
  domains.apply(news([], { observation: ALLOWED }));
  assert.equal(domains.standing(id(1))?.attribution, 'shared');
  domains.apply(news([container(2, BASE + 1024)]));
  assert.equal(domains.standing(id(1))?.attribution, 'shared');
  assert.equal(domains.standing(id(2))?.attribution, 'shared');
  assert.equal(domains.domain(`range:${BASE + 1024}+1024`)?.attribution, 'shared');
  domains.apply(news([], { gone: [id(1)] }));
  assert.equal(domains.standing(id(2))?.attribution, 'shared');
});

test('the closure of a range keeps the images of those who are gone; who comes later finds it reused', () => {
  const domains = book(container(1, BASE));
  assert.equal(domains.standing(id(1))?.rangeUse, 'fresh');
  domains.apply(news([container(2, BASE)], { gone: [id(1)] }));
  const domain = domains.domain(`range:${BASE}+1024`);
  assert.deepEqual([...(domain?.manifestDigests ?? [])], [image(1), image(2)]);
  assert.deepEqual(domain?.containers, [id(2)]);
  assert.equal(domains.standing(id(2))?.rangeUse, 'reused');
  assert.equal(domains.standing(id(1)), undefined);
});

test('containers of no sandbox in one range reuse each other’s', () => {
  const domains = book(container(1, BASE), container(2, BASE), container(3, BASE + 1024));
  const uses = [1, 2, 3].map((n) => domains.standing(id(n))?.rangeUse);
  assert.deepEqual(uses, ['reused', 'reused', 'fresh']);
  assert.deepEqual(domains.domain(`range:${BASE}+1024`)?.containers, [id(1), id(2)]);
});

test('the host’s uids and a range below the pool are nobody’s in the index', () => {
  const host = container(1, 0, { uidMap: [extent(0, 0xffff_ffff)] });
  const domains = book(host, container(2, BASE - 5000), container(3, BASE));
  assert.deepEqual(
    [1, 2, 3].map((n) => domains.standing(id(n))?.domainId),
    ['shared', 'shared', `range:${BASE}+1024`],
  );
  assert.equal(domains.ranges.size, 1);
  assert.deepEqual(
    domains.standing(id(2))?.reasons.map(({ code }) => code),
    ['below-pool', 'no-range'],
    'its own, then those of its domain',
  );
});

test('containers of one sandbox in one range are one domain, and fresh together', () => {
  const sandboxId = 'e'.repeat(64);
  const domains = book(container(1, BASE, { sandboxId }), container(2, BASE, { sandboxId }));
  assert.equal(domains.domains().length, 1);
  assert.deepEqual(domains.domains()[0]?.containers, [id(1), id(2)]);
  assert.equal(domains.domains()[0]?.attribution, 'exact');
  assert.equal(domains.standing(id(1))?.rangeUse, 'fresh');
});

test('a range that overlaps an earlier one of another length stays the earlier one’s', () => {
  const domains = book(container(1, BASE));
  domains.apply(news([container(2, BASE, { uidMap: [extent(BASE, 4096)] })], { gone: [id(1)] }));
  const standing = domains.standing(id(2));
  assert.equal(standing?.attribution, 'host');
  assert.deepEqual(
    standing?.reasons.map(({ code }) => code),
    ['range-overlap'],
  );
  assert.deepEqual(ownerOf(evm(BASE + 2000), domains.ranges, BASE), { kind: 'unattributed', alert: true });
  domains.apply(news([container(3, BASE)], { gone: [id(2)] }));
  assert.equal(domains.standing(id(3))?.attribution, 'shared', 'another had these uids for a while');
});

test('once open, a container is not closed again', () => {
  const admin = { capabilities: 1n << 21n, boundingCapabilities: 1n << 21n };
  const domains = book(container(1, BASE, admin));
  assert.equal(domains.standing(id(1))?.closed, false);
  domains.apply(news([container(1, BASE)]));
  assert.equal(domains.standing(id(1))?.closed, false);
  assert.equal(domains.domain(`range:${BASE}+1024`)?.closed, false);
  const again = new DomainBook(BASE, domains.memory());
  again.apply(news([container(1, BASE), container(2, BASE + 1024)], { complete: true }));
  assert.deepEqual([again.standing(id(1))?.closed, again.standing(id(2))?.closed], [false, true]);
  again.apply(news([], { gone: [id(1)] }));
  again.apply(news([container(1, BASE)]));
  assert.equal(again.standing(id(1))?.closed, true, 'none of its processes is left');
});

test('open containers that a complete list no longer has are forgotten', () => {
  const admin = { capabilities: 1n << 21n, boundingCapabilities: 1n << 21n };
  const domains = book(container(1, BASE, admin), container(2, BASE + 1024, admin));
  domains.apply(news([container(2, BASE + 1024), container(3, BASE + 2048)], { complete: true }));
  assert.deepEqual(domains.memory().opened, [id(2)]);
  assert.equal(domains.standing(id(2))?.closed, false, 'it runs still');
});

test('where no more open containers can be remembered, nobody counts as closed', () => {
  const opened = Array.from({ length: 65_535 }, (_, n) => id(n + 1000));
  const domains = new DomainBook(BASE, { domains: [], nodeWide: [], opened });
  domains.apply(news([container(1, BASE)]));
  assert.equal(domains.standing(id(1))?.closed, true);
  const admin = { capabilities: 1n << 21n, boundingCapabilities: 1n << 21n };
  for (const n of [2, 3]) {
    domains.apply(news([container(n, BASE + n * 1024, admin)]));
    assert.deepEqual(
      [1, n].map((one) => domains.standing(id(one))?.closed),
      [false, false],
    );
    assert.equal(domains.memory().opened.length, 65_536);
  }
});

test('a domain outlives its containers, and is told among all', () => {
  const domains = book(container(1, BASE), container(2, BASE + 1024));
  assert.deepEqual(
    [...domains.standings()].map((standing) => standing.container.claim.id),
    [id(1), id(2)],
  );
  domains.apply(news([], { gone: [id(1)] }));
  assert.deepEqual(
    domains.domains().map((domain) => [domain.id, domain.containers]),
    [
      [`range:${BASE}+1024`, []],
      [`range:${BASE + 1024}+1024`, [id(2)]],
    ],
  );
  assert.equal(domains.domain('range:1+1'), undefined);
  assert.equal([...domains.standings()].length, 1);
});

test('the version grows with every news, the misses only with what is held against somebody', () => {
  const domains = book(container(1, BASE));
  const counts = () => [domains.version, domains.misses];
  assert.deepEqual(counts(), [1, 0]);
  domains.apply(news([]));
  assert.deepEqual(counts(), [2, 0]);
  domains.apply(news([], { observation: ALLOWED }));
  assert.deepEqual(counts(), [3, 3], 'nested namespaces: of the domain, of the node, and it is open');
  domains.apply(news([], { observation: ALLOWED }));
  assert.deepEqual(counts(), [4, 3], 'nothing is counted twice');
});

test('a range that meets another one’s counts against both', () => {
  const domains = book(container(1, BASE));
  const over = container(2, BASE, { uidMap: [extent(BASE, 4096)] });
  domains.apply(news([over], { gone: [id(1)] }));
  assert.equal(domains.misses, 2);
  domains.apply(news([over]));
  assert.equal(domains.misses, 2);
  assert.deepEqual(
    domains.memory().domains.map(({ reasons }) => reasons.map(({ code, containerId }) => [code, containerId])),
    [[['range-overlap', id(2)]], [['range-overlap', id(2)]]],
  );
});

test('what one can do to all others is not held against itself', () => {
  const domains = book();
  domains.apply(news([container(1, BASE)], { observation: ALLOWED }));
  const told = () => domains.standing(id(1))?.reasons.map(({ code }) => code);
  assert.deepEqual(told(), ['nested-namespaces']);
  domains.apply(news([container(2, BASE + 1024)], { gone: [id(1)] }));
  assert.deepEqual(
    domains.standing(id(2))?.reasons.map(({ code, containerId }) => [code, containerId]),
    [['neighbour-nested-namespaces', id(2)]],
  );
});

test('what lies in one container and ends exactness for all is remembered of the node, not of their domains', () => {
  const giver = container(2, 0, {
    uidMap: [extent(0, 0xffff_ffff)],
    capabilities: 1n,
    hostNamespaces: ['user'],
  });
  const { domains, nodeWide } = book(container(1, BASE), giver).memory();
  assert.deepEqual(
    domains.map(({ reasons }) => reasons.map(({ code }) => code)),
    [[], ['no-range']],
  );
  assert.deepEqual(
    nodeWide.map(({ code, containerId }) => [code, containerId]),
    [['neighbour-gives-owners', id(2)]],
  );
});

test('of what ends exactness for the node 64 reasons are kept, and one is told to a container', () => {
  const many = Array.from({ length: 66 }, (_, n) => container(n + 1, BASE + n * 1024));
  const domains = book();
  domains.apply(news(many, { observation: ALLOWED }));
  const { nodeWide } = domains.memory();
  assert.equal(nodeWide.length, 64);
  const told = domains.standing(id(1))?.reasons.filter(({ code }) => code === 'neighbour-nested-namespaces');
  assert.deepEqual(
    told?.map(({ containerId }) => containerId),
    [id(1)],
  );
});

test('a complete list says who is gone', () => {
  const domains = book(container(1, BASE), container(2, BASE + 1024));
  domains.apply(news([container(2, BASE + 1024)], { complete: true }));
  assert.equal(domains.standing(id(1)), undefined);
  assert.equal(ownerOf(evm(BASE), domains.ranges, BASE).kind, 'domain', 'its entries stay its own');
});

test('what is remembered outlasts the server', () => {
  const domains = book(container(1, BASE), container(2, BASE + 1024), container(5, 0, { uidMap: [] }));
  domains.apply(news([], { observation: ALLOWED }));
  const again = new DomainBook(BASE, JSON.parse(JSON.stringify(domains.memory())));
  assert.deepEqual(ownerOf(evm(BASE), again.ranges, BASE), { kind: 'domain', id: `range:${BASE}+1024` });
  again.apply(news([container(3, BASE), container(4, BASE + 4096)], { complete: true }));
  assert.equal(again.standing(id(4))?.attribution, 'shared', 'for the epoch, for all of the node');
  assert.equal(again.standing(id(3))?.attribution, 'shared');
  assert.equal(again.standing(id(3))?.rangeUse, 'reused');
  assert.equal(again.domain(`range:${BASE}+1024`)?.manifestDigests.has(image(1)), true);
});

test('a node that makes up ranges without end is stopped', () => {
  const domains = Array.from({ length: 65_536 }, (_, n) => ({
    range: { base: BASE + n, length: 1 },
    occupants: [],
    manifestDigests: [],
    reasons: [],
  }));
  const full = new DomainBook(BASE, { domains, nodeWide: [], opened: [] });
  full.apply(news([container(1, BASE, { uidMap: [extent(BASE, 1)] })]));
  assert.throws(() => full.apply(news([container(2, 900_000)])), { code: 'container.oversized' });
});

test('extents of containers without one range are counted to the same bound', () => {
  const domains = Array.from({ length: 65_536 - 3 }, (_, n) => ({
    range: { base: BASE + n, length: 1 },
    occupants: [],
    manifestDigests: [],
    reasons: [],
  }));
  const full = new DomainBook(BASE, { domains, nodeWide: [], opened: [] });
  assert.equal(full.ranges.size, 65_533);
  full.apply(news([container(1, 0, { uidMap: [extent(900_000, 1), extent(900_001, 1)] })]));
  assert.equal(full.ranges.size, 65_535);
  const more = container(2, 0, { uidMap: [extent(900_002, 1), extent(900_003, 1)] });
  assert.throws(() => full.apply(news([more])), { code: 'container.oversized' });
});

test('the index finds what a search through all ranges finds', () => {
  const ranges = fc.array(fc.record({ base: fc.nat(500), length: fc.integer({ min: 1, max: 40 }) }), { maxLength: 40 });
  fc.assert(
    fc.property(ranges, fc.nat(600), (all, uid) => {
      const index = new RangeIndex();
      const kept: typeof all = [];
      for (const range of all) {
        const clear = kept.every(
          (other) => other.base + other.length <= range.base || range.base + range.length <= other.base,
        );
        assert.equal(index.add({ range, domainId: `${range.base}` }), clear);
        if (clear) kept.push(range);
      }
      assert.equal(index.size, kept.length);
      const owner = kept.find((range) => uid >= range.base && uid < range.base + range.length);
      assert.deepEqual(index.find(uid)?.range, owner);
      const probe = { base: uid, length: 30 };
      const hit = kept.filter(
        (r) => r.base < uid + 30 && uid < r.base + r.length && !(r.base === uid && r.length === 30),
      );
      assert.deepEqual(
        index.conflicts(probe).map(({ range }) => range),
        hit.toSorted((a, b) => a.base - b.base),
      );
    }),
    { numRuns: 2000 },
  );
});
