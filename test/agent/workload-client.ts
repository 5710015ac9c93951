import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { fromBinary } from '@bufbuild/protobuf';
import { type X509SVIDResponse, X509SVIDResponseSchema } from '../../src/proto/spiffe/workload_pb.ts';

export interface Ended {
  /** gRPC status, a number as text. */
  readonly code: string;
  readonly message: string;
}

/** One process's FetchX509SVID on a connection of its own: what came, and how it ended. */
export class WorkloadClient implements Disposable {
  readonly responses: X509SVIDResponse[] = [];
  /** Rejects where the connection is lost without a status. */
  readonly ended: Promise<Ended>;
  readonly #session: ClientHttp2Session;
  readonly #waiters = new Set<() => void>();

  constructor(path: string) {
    this.#session = connectHttp2('http://localhost', { createConnection: () => connect(path) });
    this.#session.on('error', () => undefined);
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': '/SpiffeWorkloadAPI/FetchX509SVID',
      'content-type': 'application/grpc',
      te: 'trailers',
      'workload.spiffe.io': 'true',
    });
    let buffered = Buffer.alloc(0);
    stream.on('data', (bytes: Buffer) => {
      buffered = Buffer.concat([buffered, bytes]);
      while (buffered.length >= 5 && buffered.length >= 5 + buffered.readUInt32BE(1)) {
        const end = 5 + buffered.readUInt32BE(1);
        this.responses.push(fromBinary(X509SVIDResponseSchema, new Uint8Array(buffered.subarray(5, end))));
        buffered = buffered.subarray(end);
        for (const wake of this.#waiters) wake();
      }
    });
    this.ended = new Promise((resolve, reject) => {
      const read = (fields: { readonly [name: string]: unknown }) => {
        if (fields['grpc-status'] === undefined) return;
        resolve({ code: String(fields['grpc-status']), message: decodeURIComponent(String(fields['grpc-message'])) });
      };
      stream.on('response', read);
      stream.on('trailers', read);
      stream.on('close', () => reject(new Error('the stream ended without a status')));
      stream.on('error', () => undefined);
    });
    this.ended.catch(() => undefined);
    stream.end(Buffer.alloc(5));
  }

  /** The response with this number, from 0. Rejects where the stream ends first, or nothing comes in time. */
  async response(number: number, timeoutMs = 10_000): Promise<X509SVIDResponse> {
    const came = new Promise<X509SVIDResponse>((resolve, reject) => {
      const look = () => {
        const found = this.responses[number];
        if (found === undefined) return;
        clearTimeout(timer);
        this.#waiters.delete(look);
        resolve(found);
      };
      const timer = setTimeout(() => reject(new Error(`no response ${number} within ${timeoutMs} ms`)), timeoutMs);
      timer.unref();
      this.#waiters.add(look);
      look();
    });
    came.catch(() => undefined);
    const ended = this.ended.then(({ code, message }) => {
      throw new Error(`the stream ended with ${code}: ${message}`);
    });
    return Promise.race([came, ended]);
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}
