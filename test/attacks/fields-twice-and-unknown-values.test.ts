import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { encodeContainer } from '../../src/container/record.ts';
import {
  AttestRequestSchema,
  EvidenceSchema,
  type WorkloadRequest_Kind,
  WorkloadRequestSchema,
} from '../../src/proto/lacre/v1/node_pb.ts';
import { codeOf, containerOf, Fixture, requestOf, type ScriptedSession } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A liar of an agent (A2) sends messages in which a field stands twice, or two members of a choice, or a value that an enumeration
// has not: so that what is verified is not what is used. One reader reads each message once: of a field that stands twice the last
// counts, for the check as for the use.

const skip = skipWithoutSoftwareTpm();
const JUNK = new Uint8Array(100).fill(0xff);

/** The same message with a field of bytes once more, at its end. */
function withAlso<T extends Message>(message: T, field: number, bytes: Uint8Array): T {
  const data = new BinaryWriter().bytes(bytes).finish();
  return { ...message, $unknown: [...(message.$unknown ?? []), { no: field, wireType: 2, data }] };
}

/** The field's number, as the protocol has it. */
const fieldOf = (schema: { readonly fields: readonly { localName: string; number: number }[] }, name: string): number =>
  schema.fields.find(({ localName }) => localName === name)?.number ?? assert.fail(name);

const ATTEST = fieldOf(EvidenceSchema, 'attest');
const SUBJECT = fieldOf(WorkloadRequestSchema, 'subject');

/** Evidence of one request, whose message is changed on its way. */
async function sendEvidence(
  session: ScriptedSession,
  request: ReturnType<typeof requestOf>,
  change: {
    readonly evidence?: (evidence: Message) => Message;
    readonly request?: (request: Message) => Message;
    readonly attest?: Uint8Array;
  },
): Promise<void> {
  const nonce = await session.nonce();
  const { attest, signature } = await session.quoteFor([request], nonce);
  await session.sendList();
  const asked = create(WorkloadRequestSchema, request);
  const evidence = create(EvidenceSchema, {
    nonce,
    attest: change.attest ?? attest,
    signature,
    listLength: BigInt(session.sentBytes),
    requests: [(change.request?.(asked) ?? asked) as typeof asked],
  });
  const genuine = change.attest === undefined ? evidence : withAlso(evidence, ATTEST, attest);
  session.send({ case: 'evidence', value: (change.evidence?.(genuine) ?? genuine) as typeof evidence });
}

test('such a message can be made', () => {
  const twice = withAlso(create(EvidenceSchema, { attest: Uint8Array.of(1) }), ATTEST, Uint8Array.of(2));
  assert.deepEqual(fromBinary(EvidenceSchema, toBinary(EvidenceSchema, twice)).attest, Uint8Array.of(2));
});

test('a quote that stands twice: the last is verified, and no other', { skip }, async () => {
  await using fixture = await Fixture.start();
  const container = containerOf(1);
  const session = await fixture.session(container);
  const request = requestOf(container);
  await sendEvidence(session, request, { attest: JUNK });
  assert.equal((await session.next('answer')).outcome.case, 'identities', 'junk first, the genuine one last');
  await sendEvidence(session, requestOf(container), { evidence: (message) => withAlso(message, ATTEST, JUNK) });
  assert.equal(codeOf(await session.end()), 'tpm.quote.signature', 'the genuine one first, junk last');
  session.close();
});

test('a key that stands twice: the one that gets the identity is the one in the quoted tree', { skip }, async () => {
  await using fixture = await Fixture.start();
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  const own = requestOf(container);
  const { subject } = requestOf(container);
  await sendEvidence(session, own, { request: (message) => withAlso(message, SUBJECT, subject) });
  assert.equal(codeOf(await session.end()), 'tpm.quote.extra-data');
  session.close();
});

test('two members of a choice: the last is the message', { skip }, async () => {
  await using fixture = await Fixture.start();
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  const hello = create(AttestRequestSchema, { message: { case: 'hello', value: { agentVersion: 'x' } } });
  const evidence = fieldOf(AttestRequestSchema, 'evidence');
  const both = withAlso(hello, evidence, new Uint8Array());
  const read = fromBinary(AttestRequestSchema, toBinary(AttestRequestSchema, both));
  assert.equal(read.message.case, 'evidence');
  session.sendRaw(both);
  session.send({ case: 'request', value: requestOf(container) });
  await session.next('answer');
  assert.deepEqual(fixture.server.loggedCodes, ['server.nonce.unknown'], 'evidence without a nonce, and no hello');
  session.close();
});

test('values that no enumeration has', { skip }, async () => {
  await using fixture = await Fixture.start();
  const container = containerOf(1);
  for (const kind of [0, 2, 5, 99, -1, 0x7fff_ffff] as WorkloadRequest_Kind[]) {
    const session = await fixture.session(container);
    assert.equal((await session.ask(requestOf(container))).case, 'identities');
    session.send({ case: 'request', value: { ...requestOf(container), kind } });
    assert.equal(codeOf(await session.end()), 'server.protocol', `a request of kind ${kind}`);
    session.close();
  }
  const session = await fixture.session(container);
  // environment = 14: one name, with relation 9.
  const relation = Buffer.concat([
    encodeContainer(containerOf(2)),
    Buffer.from([(14 << 3) | 2, 5, 10, 1, 0x41, 16, 9]),
  ]);
  session.send({ case: 'containers', value: { containers: [new Uint8Array(relation)], gone: [], complete: false } });
  assert.match(codeOf(await session.end()), /^container\.(malformed|not-canonical)$/);
  session.close();
});
