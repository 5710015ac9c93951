import { create, toBinary } from '@bufbuild/protobuf';
import { SpireChallengeSchema, SpireStepsSchema } from '../../src/proto/lacre/v1/spire_pb.ts';
import { parseChallenge } from '../../src/spire/node-evidence.ts';
import { parseSteps } from '../../src/spire/node-relay.ts';
import { type FuzzTarget, tiled } from './engine/target.ts';

const steps = (...list: object[]) =>
  toBinary(
    SpireStepsSchema,
    create(SpireStepsSchema, { steps: list.map((step) => ({ step })) as never, more: true, trustDomain: 'lacre.test' }),
  );
const challenge = (step: object) =>
  toBinary(SpireChallengeSchema, create(SpireChallengeSchema, { step: step as never }));
const bytes = new Uint8Array(40).fill(7);

/** What the halves of NodeAttestor "lacre_tpm" are sent through SPIRE. The first byte: payload, response, or challenge. */
export const target: FuzzTarget = {
  parsers: ['src/spire/node-relay.ts#parseSteps', 'src/spire/node-evidence.ts#parseChallenge'],
  seeds: () => [
    Uint8Array.of(0, ...steps({ case: 'hello', value: { ekPublic: bytes, ekIntermediates: [bytes, bytes] } })),
    Uint8Array.of(
      1,
      ...steps(
        { case: 'eventLog', value: bytes },
        { case: 'list', value: bytes },
        { case: 'evidence', value: { attest: bytes, signature: bytes } },
      ),
    ),
    Uint8Array.of(2, ...challenge({ case: 'challenge', value: { challenge: { nonce: bytes }, resumeOffset: 9n } })),
    Uint8Array.of(2, ...challenge({ case: 'more', value: {} })),
  ],
  words: [Uint8Array.of(0x0a, 0), Uint8Array.of(0x12), Uint8Array.of(0x80, 0x80, 4), new Uint8Array(9).fill(0xff)],
  // Empty steps, and a hello with empty issuers.
  shapes: [tiled('\n\0', '\x01'), tiled('\n\x04\n\x02\x12\0', '\x01'), tiled('\x12\0', '\0\n\x7f\n\x7d')],
  maxBytes: 1 << 22,
  fastMs: 500,
  run: (input) => {
    const body = input.subarray(1);
    if (input[0] === 2) return parseChallenge(body);
    return parseSteps(body, input[0] === 1 ? 'challengeResponse' : 'payload');
  },
};
