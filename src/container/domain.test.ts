import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Attribution, AttributionReason, ReasonCode } from './attribution.ts';
import { DomainHistory, type DomainMemory } from './domain.ts';
import { decodeContainer, encodeContainer, makeContainer } from './record.ts';

const RANGE = { base: 200_000, length: 1024 };
const id = (n: number) => n.toString(16).padStart(64, '0');
const image = (n: number) => `sha256:${id(n)}`;
const ids = (count: number) => Array.from({ length: count }, (_, n) => id(n));
const reason = (code: ReasonCode, n = 1, detail = ''): AttributionReason => ({ code, containerId: id(n), detail });

function history(over: Partial<DomainMemory> = {}): DomainHistory {
  return new DomainHistory({ range: RANGE, occupants: [], manifestDigests: [], reasons: [], ...over });
}

function container(n: number, manifestDigest = image(n)) {
  return decodeContainer(encodeContainer(makeContainer({ id: id(n), engine: 'podman', manifestDigest })));
}

function running(n: number, attribution: Attribution, ...reasons: AttributionReason[]) {
  return { id: id(n), classification: { attribution, closed: attribution === 'exact', reasons } };
}

test('a range is reused where another than the sandbox had it, or where not all can be remembered', () => {
  const used = (occupants: string[], sandbox: string[]) => history({ occupants }).isReused(new Set(sandbox));
  assert.equal(used([], []), false);
  assert.equal(used([id(1), id(2)], [id(1), id(2), id(3)]), false);
  assert.equal(used([id(1), id(2)], [id(1)]), true);
  assert.equal(used(ids(4095), ids(4095)), false);
  assert.equal(used(ids(4096), ids(4096)), true);
});

test('4096 containers and images are remembered, each once; no image is none', () => {
  const full = history({ occupants: ids(4095), manifestDigests: ids(4095).map((hex) => `sha256:${hex}`) });
  const sizes = () => [full.memory().occupants.length, full.memory().manifestDigests.length];
  full.record(container(7000, ''), []);
  assert.deepEqual(sizes(), [4096, 4095]);
  full.record(container(7000), []);
  assert.deepEqual(sizes(), [4096, 4096]);
  full.record(container(7001), []);
  assert.deepEqual(sizes(), [4096, 4096]);
});

test('the first reason of each kind stays', () => {
  const one = history();
  assert.equal(one.remember([reason('fuse', 1, 'first'), reason('no-range')]), true);
  assert.equal(one.remember([reason('fuse', 2, 'second')]), false);
  assert.equal(one.record(container(1), [reason('privileged')]), true);
  assert.deepEqual(one.reasons, [reason('fuse', 1, 'first'), reason('no-range'), reason('privileged')]);
  assert.deepEqual(one.memory().reasons, one.reasons);
});

test('a domain is as good as the weakest that runs in it, and no better than its past', () => {
  const attribution = (past: ReasonCode[], ...now: Attribution[]) =>
    history({ reasons: past.map((code) => reason(code)) }).view(now.map((kind, n) => running(n, kind))).attribution;
  assert.equal(attribution([]), 'exact');
  assert.equal(attribution([], 'exact', 'exact'), 'exact');
  assert.equal(attribution([], 'exact', 'shared'), 'shared');
  assert.equal(attribution([], 'shared', 'host', 'exact'), 'host');
  for (const past of ['shared-mount', 'privileged'] as const) {
    assert.equal(attribution([past]), 'shared');
    assert.equal(attribution([past], 'exact'), 'shared');
    assert.equal(attribution([past], 'host'), 'host');
  }
});

test('those without a range are shared, whatever one of them is', () => {
  for (const kind of ['exact', 'shared', 'host'] as const)
    assert.equal(history({ range: undefined }).view([running(1, kind)]).attribution, 'shared', kind);
});

test('a domain is closed where all that run in it are', () => {
  const closed = (...kinds: Attribution[]) => history().view(kinds.map((kind, n) => running(n, kind))).closed;
  assert.equal(closed(), true);
  assert.equal(closed('exact', 'exact'), true);
  assert.equal(closed('exact', 'host'), false);
});

test('a domain tells its past, then what is of another kind or of another container', () => {
  const past = [reason('fuse', 1, 'past'), reason('host-ipc', 1)];
  const now = [reason('fuse', 1, 'now'), reason('fuse', 2), reason('no-range', 1)];
  const { reasons, containers, id: name, range } = history({ reasons: past }).view([running(1, 'host', ...now)]);
  assert.deepEqual(reasons, [reason('fuse', 1, 'now'), past[1], now[1], now[2]]);
  assert.deepEqual([containers, name, range], [[id(1)], 'range:200000+1024', RANGE]);
  assert.deepEqual(history().view([running(1, 'host', reason('fuse'))]).reasons, [reason('fuse')]);
  assert.deepEqual(history({ reasons: [reason('fuse')] }).view([]).reasons, [reason('fuse')]);
  assert.deepEqual(history().view([]).reasons, []);
});
