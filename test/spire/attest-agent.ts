import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { createKeyAndRequest } from '../../src/agent/enrolment-csr.ts';

/** What ended an attestation other than its result. */
export interface Refused {
  /** gRPC status, a number in digits. */
  readonly status: string;
  readonly message: string;
}

export type Answer = { readonly challenge: Uint8Array } | { readonly isAttested: true } | Refused;

const PREFIX_BYTES = 5;

/**
 * One call of spire.api.server.agent.v1.Agent/AttestAgent to a real spire-server: what anybody who reaches its port may
 * send, whatever agent or plugin he has.
 */
export class AttestAgentCall implements AsyncDisposable {
  readonly #session: ClientHttp2Session;
  readonly #stream: ClientHttp2Stream;
  readonly #ended: Promise<Refused>;
  #received: Buffer = Buffer.alloc(0);

  private constructor(session: ClientHttp2Session) {
    this.#session = session;
    this.#stream = session.request({
      ':method': 'POST',
      ':path': '/spire.api.server.agent.v1.Agent/AttestAgent',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    this.#stream.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    this.#ended = endOf(this.#stream);
  }

  /** The port's certificate is not looked at: it is not the server that is under test here. */
  static async open(port: number): Promise<AttestAgentCall> {
    const session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    session.on('error', () => undefined);
    await once(session, 'connect');
    return new AttestAgentCall(session);
  }

  /** Params: type and payload of the attestation, and a certificate request. */
  begin(payload: Uint8Array, type = 'lacre_tpm'): Promise<Answer> {
    const data = new BinaryWriter().tag(1, 2).string(type).tag(2, 2).bytes(payload).finish();
    const csr = new BinaryWriter().tag(1, 2).bytes(createKeyAndRequest().csr).finish();
    const params = new BinaryWriter().tag(1, 2).bytes(data).tag(2, 2).bytes(csr).finish();
    return this.#send(new BinaryWriter().tag(1, 2).bytes(params).finish());
  }

  respond(response: Uint8Array): Promise<Answer> {
    return this.#send(new BinaryWriter().tag(2, 2).bytes(response).finish());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stream.destroy();
    this.#session.destroy();
  }

  async #send(message: Uint8Array): Promise<Answer> {
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32BE(message.length, 1);
    this.#stream.write(Buffer.concat([prefix, message]));
    for (;;) {
      const answer = this.#next();
      if (answer !== undefined) return answer;
      const ended = await Promise.race([this.#ended, once(this.#stream, 'data').then(() => undefined)]);
      if (ended !== undefined) return this.#next() ?? ended;
    }
  }

  #next(): Answer | undefined {
    if (this.#received.length < PREFIX_BYTES) return undefined;
    const length = PREFIX_BYTES + this.#received.readUInt32BE(1);
    if (this.#received.length < length) return undefined;
    const reader = new BinaryReader(this.#received.subarray(PREFIX_BYTES, length));
    this.#received = this.#received.subarray(length);
    const [field] = reader.tag();
    return field === 2 ? { challenge: reader.bytes() } : { isAttested: true };
  }
}

/** Status and message as they stand in the trailers, or in the headers where there is nothing else. */
function endOf(stream: ClientHttp2Stream): Promise<Refused> {
  return new Promise((resolve) => {
    const told = (fields: Record<string, unknown>): void => {
      if (fields['grpc-status'] === undefined) return;
      const message = decodeURIComponent(String(fields['grpc-message'] ?? ''));
      resolve({ status: String(fields['grpc-status']), message });
    };
    stream.on('response', told);
    stream.on('trailers', told);
    stream.on('close', () => resolve({ status: 'none', message: 'the connection was lost' }));
    stream.on('error', () => undefined);
  });
}
