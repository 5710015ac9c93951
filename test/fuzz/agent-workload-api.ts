import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { SessionLink } from '../../src/agent/session-link.ts';
import { serveWorkloadApi } from '../../src/agent/workload-api.ts';
import { type FuzzTarget, tiled } from './engine/target.ts';

const folder = mkdtempSync(join(tmpdir(), 'lacre-fuzz-'));
const path = join(folder, 'api.sock');
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const ANSWER_MS = 4;
/** What the server logs as its own fault. */
const faults: string[] = [];
const log = pino({ level: 'error' }, { write: (line: string) => faults.push(line) });
let started: Promise<unknown> | undefined;

function start(): Promise<unknown> {
  started ??= serveWorkloadApi({
    path,
    trustDomain: 'lab.example',
    link: new SessionLink({ bundle: () => undefined, verdict: () => undefined }),
    log,
    pinCaller: () => ({
      uid: 0,
      record: async () => ({
        bytes: Uint8Array.of(1),
        containerId: 'c'.repeat(64),
        containerSha256Hex: 'd'.repeat(64),
      }),
      close: () => undefined,
    }),
  });
  return started;
}

function frame(type: number, flags: number, stream: number, body: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

/** HPACK: literals without indexing, new names (RFC 7541, 6.2.2). */
function headers(fields: Record<string, string>): Buffer {
  const literal = (text: string) => [text.length, ...Buffer.from(text)];
  return Buffer.from(Object.entries(fields).flatMap(([name, value]) => [0, ...literal(name), ...literal(value)]));
}

function call(fields: Record<string, string>, message: Uint8Array): Uint8Array {
  const all = {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': '/SpiffeWorkloadAPI/FetchX509SVID',
    te: 'trailers',
    ...fields,
  };
  return new Uint8Array(
    Buffer.concat([
      Buffer.from(PREFACE),
      frame(4, 0, 0, Buffer.alloc(0)),
      frame(1, 4, 1, headers(all)),
      frame(0, 1, 1, message),
    ]),
  );
}

const SECURE = { ':authority': 'x', 'content-type': 'application/grpc', 'workload.spiffe.io': 'true' };

/** Bytes of a client, from the first on; the server must neither fall nor log a fault of its own. */
export const target: FuzzTarget = {
  parsers: ['src/agent/workload-api.ts#serveWorkloadApi', 'src/agent/grpc-frame.ts#push'],
  seeds: () => [
    call(SECURE, new Uint8Array(5)),
    call({ ...SECURE, ':path': '/SpiffeWorkloadAPI/FetchX509Bundles' }, Uint8Array.of(0, 0, 0, 0, 2, 8, 1)),
    call({ ...SECURE, ':path': '/SpiffeWorkloadAPI/FetchJWTSVID' }, new Uint8Array(5)),
    call({ 'content-type': 'application/grpc' }, new Uint8Array(5)),
  ],
  words: [
    PREFACE,
    'workload.spiffe.io',
    'application/grpc',
    'grpc-timeout',
    new Uint8Array(9),
    frame(8, 0, 0, Buffer.alloc(4)),
    frame(3, 0, 1, Buffer.alloc(4)),
  ],
  shapes: [tiled('\0\0\0\x04\0\0\0\0\0', PREFACE)],
  maxBytes: 256 * 1024,
  fastMs: 200,
  run: async (bytes) => {
    await start();
    const socket = connect(path);
    socket.on('error', () => undefined);
    socket.on('data', () => undefined);
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.once('close', resolve);
    socket.end(bytes);
    const timer = setTimeout(() => socket.destroy(), ANSWER_MS);
    await promise;
    clearTimeout(timer);
    await new Promise(setImmediate);
    const [fault] = faults.splice(0);
    if (fault !== undefined) throw new Error(fault);
  },
};
