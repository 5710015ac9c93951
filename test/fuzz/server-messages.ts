import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { decodeContainer } from '../../src/container/record.ts';
import { AttestRequestSchema, EnrolRequestSchema } from '../../src/proto/lacre/v1/node_pb.ts';
import { parseBatch, parseRequests } from '../../src/server/batch.ts';
import { parsePublicArea } from '../../src/tpm/public-area.ts';
import { bytesOf, type FuzzTarget } from './engine/target.ts';

/** What Connect hands on; undefined: it refuses the bytes itself. */
function message<Desc extends DescMessage>(schema: Desc, bytes: Uint8Array): MessageShape<Desc> | undefined {
  try {
    return fromBinary(schema, bytes);
  } catch {
    return undefined;
  }
}

async function attest(bytes: Uint8Array): Promise<unknown> {
  const request = message(AttestRequestSchema, bytes)?.message;
  if (request?.case === 'requests') return parseRequests(request.value.requests, 1024);
  if (request?.case === 'containers') return request.value.containers.map((one) => decodeContainer(one));
  if (request?.case !== 'evidence') return undefined;
  return parseBatch(request.value, 1024, (id) => (id < 4n ? new Uint8Array(32).fill(Number(id)) : undefined));
}

function enrol(bytes: Uint8Array): unknown {
  const step = message(EnrolRequestSchema, bytes)?.step;
  return step?.case === 'hello' ? parsePublicArea(step.value.ekPublic) : step?.case;
}

const request = { id: 1n, kind: 1, record: new Uint8Array(10), subject: new Uint8Array(10) };
const sent = (body: object) => toBinary(AttestRequestSchema, create(AttestRequestSchema, { message: body as never }));

/** What a node's messages hold, as the server takes it apart. The first byte: Attest or Enrol. */
export const target: FuzzTarget = {
  parsers: ['src/server/batch.ts#parseRequests', 'src/server/batch.ts#parseBatch'],
  seeds: () => [
    Uint8Array.of(
      0,
      ...sent({
        case: 'evidence',
        value: { nonce: new Uint8Array(32), attest: new Uint8Array(9), confirms: [1n, 2n] },
      }),
    ),
    Uint8Array.of(0, ...sent({ case: 'requests', value: { requests: [request] } })),
    Uint8Array.of(
      0,
      ...sent({
        case: 'evidence',
        value: {
          nonce: new Uint8Array(32),
          attest: new Uint8Array(9),
          requests: [request, { ...request, id: 2n }],
          confirms: [3n],
        },
      }),
    ),
    Uint8Array.of(0, ...sent({ case: 'containers', value: { containers: [bytesOf('x')], complete: true } })),
    Uint8Array.of(1, 0x0a, 4, 0x0a, 2, 1, 1),
  ],
  words: [
    Uint8Array.of(0x0a),
    Uint8Array.of(0x22),
    Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
    Uint8Array.of(0x80, 0x80, 4),
  ],
  maxBytes: 1 << 20,
  fastMs: 300,
  run: (bytes) => (bytes[0] === 1 ? enrol(bytes.subarray(1)) : attest(bytes.subarray(1))),
};
