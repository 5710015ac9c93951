/** Many Workload API clients in one process that does nothing else: HTTP/2 by hand, so that what is measured is the agent. */
import { connect, type Socket } from 'node:net';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const [DATA, HEADERS, SETTINGS, PING] = [0, 1, 4, 6];
const [ACK, END_STREAM, END_HEADERS] = [1, 1, 4];
const HEAD_BYTES = 9;

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** HPACK (RFC 7541, 6.2.2): literals with new names, not indexed. */
function headers(fields: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.of(value.length), Buffer.from(value, 'latin1')]);
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]));
}

const REQUEST = Buffer.concat([
  PREFACE,
  frame(SETTINGS, 0, 0, Buffer.alloc(0)),
  frame(
    HEADERS,
    END_HEADERS,
    1,
    headers([
      [':method', 'POST'],
      [':scheme', 'http'],
      [':path', '/SpiffeWorkloadAPI/FetchX509SVID'],
      [':authority', 'localhost'],
      ['content-type', 'application/grpc'],
      ['te', 'trailers'],
      ['workload.spiffe.io', 'true'],
    ]),
  ),
  frame(DATA, END_STREAM, 1, Buffer.alloc(5)),
]);
const SETTINGS_ACK = frame(SETTINGS, ACK, 0, Buffer.alloc(0));

/** One first X.509-SVID: milliseconds until the whole message has come. The connection stays open. */
export function firstSvid(path: string): Promise<{ readonly ms: number; readonly socket: Socket }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ ms: number; socket: Socket }>();
  const started = performance.now();
  const socket = connect(path);
  let held: Buffer = Buffer.alloc(0);
  let message = 0;
  socket.write(REQUEST);
  socket.on('error', reject).on('close', () => reject(new Error('the connection was closed')));
  socket.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    for (;;) {
      if (held.length < HEAD_BYTES) return;
      const [length, type, flags] = [held.readUIntBE(0, 3), held[3], held[4] ?? 0];
      if (held.length < HEAD_BYTES + length) return;
      if (type === SETTINGS && (flags & ACK) === 0) socket.write(SETTINGS_ACK);
      if (type === PING && (flags & ACK) === 0)
        socket.write(frame(PING, ACK, 0, held.subarray(HEAD_BYTES, HEAD_BYTES + 8)));
      if (type === DATA) message += length;
      if (type === HEADERS && (flags & END_STREAM) !== 0) reject(new Error('no SVID came'));
      held = held.subarray(HEAD_BYTES + length);
      if (message > 5) resolve({ ms: performance.now() - started, socket });
    }
  });
  return promise;
}

/** So many at once. */
export async function firstSvids(path: string, count: number): Promise<number[]> {
  const got = await Promise.allSettled(Array.from({ length: count }, () => firstSvid(path)));
  return got.flatMap((one) => {
    if (one.status === 'rejected') return [];
    one.value.socket.destroy();
    return one.value.ms;
  });
}
