import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceLine } from '../lab-node.ts';
import type { Expectation } from './attack.ts';
import { type AttackOutcome, judgeAttack } from './attack-outcome.ts';
import type { ContainerSight, Sight } from './attack-scene.ts';

const said = (...events: readonly string[]): ServiceLine[] =>
  events.map((text, at) => {
    const [event = '', grpcStatus] = text.split(' ');
    return { timeUnixMs: at, event, ...(grpcStatus !== undefined && { grpcStatus }) };
  });
const finding = (code: string, path: string | null = null, fatal = true) => ({
  ...{ link: 'appraisal', code, path, fatal, expectedSha256: [], seenSha256: null, logIndex: null },
});
const GOOD: ContainerSight = { lines: said('started', 'identity'), hasIdentity: true, findings: [] };
const WITHDRAWN: ContainerSight = {
  lines: said('identity', 'ended 7', 'refused 7'),
  hasIdentity: false,
  findings: [finding('appraisal.file.unknown', '/x'), finding('container.open', null, false)],
};
const sight = (container: ContainerSight, more: Partial<Sight> = {}): Sight => ({
  ...{ container, neighbour: GOOD, host: [] },
  ...more,
});

function judge(expected: Partial<Expectation>, seen: Sight, errno?: number): AttackOutcome {
  return judgeAttack('attack', expected, seen, { errno, ms: 1 });
}

test('an identity is lost when a new request was refused, and the server holds none', () => {
  const outcome = judge(
    { identity: 'lost', code: 'appraisal.file.unknown', path: '/x', neighbour: 'keeps' },
    sight(WITHDRAWN),
  );
  assert.deepEqual(outcome.faults, []);
  assert.deepEqual(outcome.refusedBy, ['appraisal.file.unknown']);
  for (const lines of [said('identity', 'ended 7'), said('identity', 'ended 14', 'refused 14'), said('refused 7')])
    assert.notEqual(judge({ identity: 'lost' }, sight({ ...WITHDRAWN, lines })).faults.length, 0);
  assert.notEqual(judge({ identity: 'lost' }, sight({ ...WITHDRAWN, hasIdentity: true })).faults.length, 0);
});

test('an identity was never there when the service was refused, and the server has none', () => {
  assert.deepEqual(judge({ identity: 'never' }, sight({ ...WITHDRAWN, lines: said('refused 7') })).faults, []);
  for (const lines of [said('refused 14'), said('started'), said('identity', 'ended 7', 'refused 7')])
    assert.notEqual(judge({ identity: 'never' }, sight({ ...WITHDRAWN, lines })).faults.length, 0);
});

test('an identity is kept where it was never refused since the first', () => {
  assert.deepEqual(judge({ identity: 'kept' }, sight(GOOD)).faults, []);
  const broken = { ...GOOD, lines: said('refused 7', 'identity', 'ended 14', 'refused 14', 'identity', 'asked 7') };
  assert.deepEqual(judge({ identity: 'kept' }, sight(broken)).faults, []);
  const again = { ...GOOD, lines: said('identity', 'ended 7', 'identity') };
  assert.notEqual(judge({ identity: 'kept' }, sight(again)).faults.length, 0);
  assert.equal(judge({}, sight(GOOD, { neighbour: again })).neighbour, 'loses');
});

test('a finding counts with its own path, and the told ones count too', () => {
  const other = judge({ code: 'appraisal.file.unknown', path: '/y', identity: 'lost' }, sight(WITHDRAWN));
  assert.deepEqual([other.code, other.faults.length], [null, 2]);
  const told = judge({ code: 'container.open', identity: 'lost' }, sight(WITHDRAWN));
  assert.deepEqual([told.fatal, told.faults], [false, []]);
});

test("without an identity of its own an attack is the host's", () => {
  const seen = sight(GOOD, { host: [finding('ima.module.unknown', 'init_module')], neighbour: WITHDRAWN });
  const expected = { code: 'ima.module.unknown', errno: 0, neighbour: 'loses' } as const;
  assert.deepEqual(judge(expected, seen, 0).faults, []);
  assert.deepEqual(judge(expected, seen, 1).faults, ['attack: errno 1, where 0 is expected']);
  assert.equal(judge(expected, seen, undefined).faults.length, 1);
});

test("an attacker's own request tells its status, or that it got an identity", () => {
  const asked = (...events: readonly string[]) =>
    judge({}, sight({ ...GOOD, lines: said('identity', ...events) })).asked;
  assert.equal(asked(), null);
  assert.equal(asked('asked 7'), '7');
  assert.equal(asked('askedAndGot', 'asked -1'), 'identity');
  const either = (event: string) =>
    judge({ asked: ['-1', '14'] }, sight({ ...GOOD, lines: said('identity', event) })).faults;
  assert.deepEqual([...either('asked -1'), ...either('asked 14')], []);
  assert.deepEqual(either('asked 7'), ['attack: own request 7, where -1 or 14 is expected']);
});

test('an order that the kernel refused is a fault, unless it should', () => {
  const did = (errno: string) => sight({ ...GOOD, lines: [...GOOD.lines, { timeUnixMs: 9, event: 'did', errno }] });
  assert.deepEqual(judge({}, did('0')).faults, []);
  assert.deepEqual(judge({ orderErrno: 1 }, did('1')).faults, []);
  assert.deepEqual(judge({}, did('1')).faults, ['attack: errno of its order 1, where 0 is expected']);
});

test("a neighbour's finding is looked for where one is expected", () => {
  const seen = sight(WITHDRAWN, { neighbour: { ...WITHDRAWN, findings: [finding('appraisal.file.unknown', '/z')] } });
  const expected = { neighbour: 'loses', neighbourCode: 'appraisal.file.unknown' } as const;
  assert.deepEqual(judge({ ...expected, neighbourPath: '/z' }, seen).faults, []);
  assert.equal(judge({ ...expected, neighbourPath: '/x' }, seen).faults.length, 1);
});
