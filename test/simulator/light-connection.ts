import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import {
  type ConnectionOptions,
  createSecureContext,
  type SecureContext,
  type TLSSocket,
  connect as tlsConnect,
} from 'node:tls';
import { pem } from '../../src/bytes/pem.ts';
import { EXPORTER_LABEL } from '../../src/tpm/qualifying-data.ts';

/** Where a light connection goes, and from where: each node of a fleet has a loopback address of its own. */
export interface LightPlace {
  readonly port: number;
  readonly localAddress: string;
  readonly trustDomain: string;
  readonly bundlePem: string;
  readonly identity?: { readonly certificate: Uint8Array; readonly privateKeyPem: string };
}

/**
 * The agent's side of a connection at the least cost, so that thousands fit into one process: TLS 1.3, HTTP/2, and gRPC's
 * frames by hand. The server's SVID is held against bundle and name, as an agent does.
 */
export class LightConnection {
  readonly exporter: Uint8Array;
  readonly #http: ClientHttp2Session;

  private constructor(socket: TLSSocket) {
    this.exporter = new Uint8Array(socket.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0)));
    this.#http = connect('http://server', { createConnection: () => socket, settings: { enablePush: false } });
    this.#http.on('error', () => undefined);
  }

  static open(place: LightPlace): Promise<LightConnection> {
    const expected = `URI:spiffe://${place.trustDomain}/spire/server`;
    return new Promise((resolve, reject) => {
      // localAddress: of net.connect, which takes the same object.
      const options: ConnectionOptions & { localAddress: string } = {
        host: '127.0.0.1',
        port: place.port,
        localAddress: place.localAddress,
        ALPNProtocols: ['h2'],
        checkServerIdentity: (_host, { subjectaltname }) =>
          subjectaltname === expected ? undefined : new Error(`the server is ${subjectaltname}`),
        secureContext: contextOf(place),
      };
      const socket = tlsConnect(options);
      socket.setNoDelay(true);
      socket.once('error', reject);
      socket.once('secureConnect', () => {
        socket.off('error', reject);
        socket.on('error', () => socket.destroy());
        resolve(new LightConnection(socket));
      });
    });
  }

  /** Opens a call of lacre.v1.Node; `ended` is told its status and message once. */
  call(method: string, received: (message: Uint8Array) => void, ended: (status: string) => void): LightCall {
    const stream = this.#http.request({
      ':method': 'POST',
      ':path': `/lacre.v1.Node/${method}`,
      'content-type': 'application/grpc+proto',
      te: 'trailers',
    });
    return new LightCall(stream, received, ended);
  }

  close(): void {
    this.#http.destroy();
  }
}

/** One call: messages each way. */
export class LightCall {
  readonly #stream: ClientHttp2Stream;
  #rest: Buffer = Buffer.alloc(0);

  constructor(stream: ClientHttp2Stream, received: (message: Uint8Array) => void, ended: (status: string) => void) {
    this.#stream = stream;
    let status = '';
    const note = (headers: Record<string, unknown>): void => {
      if (headers['grpc-status'] !== undefined) {
        status = `${headers['grpc-status']} ${decodeURIComponent(String(headers['grpc-message'] ?? ''))}`;
      }
    };
    stream.on('response', note);
    stream.on('trailers', note);
    stream.on('data', (bytes: Buffer) => this.#take(bytes, received));
    stream.on('error', (error) => {
      status ||= error.message;
    });
    stream.once('close', () => ended(status || 'the connection ended'));
  }

  send(message: Uint8Array): void {
    const frame = Buffer.allocUnsafe(5 + message.length);
    frame[0] = 0;
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, 5);
    if (!this.#stream.destroyed) this.#stream.write(frame);
  }

  close(): void {
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  #take(bytes: Buffer, received: (message: Uint8Array) => void): void {
    let all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (all.length >= 5) {
      const end = 5 + all.readUInt32BE(1);
      if (all.length < end) break;
      received(all.subarray(5, end));
      all = all.subarray(end);
    }
    this.#rest = all;
  }
}

/** Of connections without identity, by the bundle: to make one costs as much as a handshake. */
const contexts = new Map<string, SecureContext>();

function contextOf({ bundlePem, identity }: LightPlace): SecureContext {
  const options = { ca: bundlePem, minVersion: 'TLSv1.3' } as const;
  if (identity !== undefined) {
    const cert = pem('CERTIFICATE', identity.certificate);
    return createSecureContext({ ...options, cert, key: identity.privateKeyPem });
  }
  const known = contexts.get(bundlePem) ?? createSecureContext(options);
  contexts.set(bundlePem, known);
  return known;
}
