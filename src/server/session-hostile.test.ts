import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ConnectError } from '@connectrpc/connect';
import fc from 'fast-check';
import { codeOf, containerOf, Fixture, requestOf, type ScriptedSession } from '../../test/simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../../test/simulator/software-tpm.ts';
import { encodeContainer } from '../container/record.ts';

type Sent = Parameters<ScriptedSession['send']>[0];

const skip = skipWithoutSoftwareTpm();
const bytes = (maxLength = 300) => fc.uint8Array({ maxLength });
const known = containerOf(1);
const id = fc.bigInt({ min: 0n, max: 20n });
const container = fc.oneof(fc.constant(encodeContainer(known)), bytes());
const request = fc.record({
  id,
  kind: fc.constantFrom(0, 1, 2, 3, 77),
  record: fc.oneof(fc.constant(requestOf(known).record), bytes()),
  subject: fc.oneof(fc.constant(requestOf(known).subject), bytes()),
});
const observation = fc.record({
  unprivilegedUsernsClone: fc.nat(),
  lockdown: fc.string({ maxLength: 2000 }),
  kernel: fc.string({ maxLength: 2000 }),
  kexecLoadDisabled: fc.nat(),
  ptraceScope: fc.nat(),
});

/** Any message that the wire allows, with values near to those that mean something. */
const message = fc.oneof(
  fc.record({
    case: fc.constant('hello' as const),
    value: fc.record({ agentVersion: fc.string(), eventLog: bytes() }),
  }),
  fc.record({
    case: fc.constant('list' as const),
    value: fc.record({ offset: fc.constantFrom(0n, 1n, 1n << 63n), data: bytes(2000) }),
  }),
  fc.record({
    case: fc.constant('containers' as const),
    value: fc.record({
      containers: fc.array(container, { maxLength: 4 }),
      gone: fc.array(fc.constantFrom(known.id, '', 'x'.repeat(300)), { maxLength: 4 }),
      complete: fc.boolean(),
    }),
  }),
  fc.record({
    case: fc.constant('evidence' as const),
    value: fc.record({
      nonce: fc.oneof(bytes(), fc.uint8Array({ minLength: 32, maxLength: 32 })),
      attest: bytes(3000),
      signature: bytes(3000),
      listLength: fc.constantFrom(0n, 1n, (1n << 64n) - 1n),
      requests: fc.array(request, { maxLength: 5 }),
      confirms: fc.array(id, { maxLength: 5 }),
    }),
  }),
  request.map((value) => ({ case: 'request' as const, value })),
  fc.record({ case: fc.constant('release' as const), value: fc.record({ ids: fc.array(id, { maxLength: 9 }) }) }),
  observation.map((value) => ({ case: 'observation' as const, value })),
  fc.constant({ case: undefined }),
);

describe('an agent that sends anything', { skip }, () => {
  let fixture: Fixture;
  before(async () => {
    fixture = await Fixture.start();
    await fixture.run(known);
  });
  after(() => fixture[Symbol.asyncDispose]());

  test('gets nothing issued, and no fault of the server', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 12 }), async (messages) => {
        const session = await fixture.node.attest(fixture.server, fixture.identity);
        for (const one of messages) session.send(one as Sent);
        for (let turns = 0; turns < 10 && session.ended === undefined; turns++) await delay(2);
        const answers = session.received.flatMap((got) => (got.case === 'answer' ? [got.value.outcome.case] : []));
        assert.ok(!answers.includes('identities'));
        if (session.ended instanceof ConnectError) {
          assert.notEqual(codeOf(session.ended), '', `${session.ended.message} has no code`);
          assert.doesNotMatch(session.ended.message, /its log says why/);
        }
        session.close();
      }),
      { numRuns: 60 },
    );
  });

  test('keeps nobody from an honest session afterwards', async () => {
    const session = await fixture.session(known);
    assert.equal((await session.ask(requestOf(known))).case, 'identities');
    session.close();
  });
});
