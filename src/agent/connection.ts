import { type DetailedPeerCertificate, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { pem } from '../bytes/pem.ts';
import { verifyX509Svid } from '../identity/x509-svid.ts';
import { LacreError } from '../lacre-error.ts';
import { Node } from '../proto/lacre/v1/node_pb.ts';
import { EXPORTER_LABEL } from '../tpm/qualifying-data.ts';

/** The agent's own certificate and key, for mTLS. The key lives in memory alone. */
export interface AgentIdentity {
  readonly spiffeId: string;
  /** DER, leaf first. */
  readonly certificateChain: readonly Uint8Array[];
  readonly privateKeyPem: string;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
}

export interface ConnectionOptions {
  readonly server: { readonly host: string; readonly port: number };
  readonly trustDomain: string;
  /** Certificates that the server's chain must end in, DER. */
  readonly bundle: readonly Uint8Array[];
  /** Left out for enrolment. */
  readonly identity?: AgentIdentity;
  readonly timeoutMs?: number;
}

/** One TLS 1.3 connection to the verified server: HTTP/2 on a socket of our own, so that evidence can be bound to it. */
export interface Connection {
  readonly client: Client<typeof Node>;
  /** RFC 9266, tls-exporter: 32 bytes that only the two ends of this connection know. */
  readonly exporter: Uint8Array;
  /** Ends the connection and every call on it. */
  close(): void;
}

const EXPORTER_BYTES = 32;
const CONNECT_TIMEOUT_MS = 10_000;
const MAX_CHAIN = 3;
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/**
 * Connects to the server, and returns once it has proven to be spiffe://TRUST-DOMAIN/spire/server by a chain that ends
 * in the bundle (SPIFFE X.509-SVID, section 5). Its DNS name is not looked at. Nothing is retried.
 * Codes: agent.server.unreachable, agent.server.untrusted.
 */
export async function connectServer(options: ConnectionOptions): Promise<Connection> {
  const socket = await openSocket(options);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, 15_000);
  const exporter = new Uint8Array(socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0)));
  const manager = sessionManager(socket);
  const transport = createGrpcTransport({
    baseUrl: BASE_URL,
    sessionManager: manager,
    readMaxBytes: MAX_MESSAGE_BYTES,
    acceptCompression: [],
  });
  const close = () => {
    manager.abort();
    socket.destroy();
  };
  return { client: createClient(Node, transport), exporter, close };
}

/** Only a name for HTTP/2's :authority; TLS is ours. */
const BASE_URL = 'http://server.lacre.internal';

/** HTTP/2 over this one socket: an exporter belongs to one connection, so there is never a second. */
function sessionManager(socket: TLSSocket): Http2SessionManager {
  let used = false;
  const createConnection = () => {
    if (used) throw new LacreError('agent.session.lost', 'the connection to the server ended');
    used = true;
    return socket;
  };
  return new Http2SessionManager(
    BASE_URL,
    { pingIntervalMs: 10_000, pingTimeoutMs: 10_000 },
    { createConnection, settings: { enablePush: false, initialWindowSize: 1 << 20 }, maxSessionMemory: 32 },
  );
}

function openSocket(options: ConnectionOptions): Promise<TLSSocket> {
  const { server, identity } = options;
  const place = `${server.host}:${server.port}`;
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      host: server.host,
      port: server.port,
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
      ca: options.bundle.map((der) => pem('CERTIFICATE', der)),
      rejectUnauthorized: true,
      checkServerIdentity: (_host, certificate) => serverFault(certificate as DetailedPeerCertificate, options),
      ...(identity && {
        cert: identity.certificateChain.map((der) => pem('CERTIFICATE', der)).join(''),
        key: identity.privateKeyPem,
      }),
    });
    const fail = (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      socket.destroy();
      reject(connectFault(place, error));
    };
    const timeoutMs = options.timeoutMs ?? CONNECT_TIMEOUT_MS;
    const timer = setTimeout(() => fail(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })), timeoutMs);
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('error', fail);
      // Whoever uses the connection learns of its end by its calls.
      socket.on('error', () => socket.destroy());
      if (socket.authorized && socket.alpnProtocol === 'h2' && socket.getProtocol() === 'TLSv1.3') resolve(socket);
      else fail(new Error('no HTTP/2 over TLS 1.3'));
    });
  });
}

/** What is wrong with the server's certificate beyond its signature, which TLS checked; undefined: it is the server. */
function serverFault(certificate: DetailedPeerCertificate, options: ConnectionOptions): Error | undefined {
  const expected = `spiffe://${options.trustDomain}/spire/server`;
  try {
    const svid = verifyX509Svid({ chain: chainOf(certificate), bundle: options.bundle, now: new Date() });
    if (svid.spiffeId.uri === expected) return undefined;
    return Object.assign(new Error(`its SVID is for ${svid.spiffeId.uri}, not for ${expected}`), {
      code: 'ERR_LACRE_NAME',
    });
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Leaf and intermediates as the server sent them; a self-signed end is the bundle's to know. */
function chainOf(leaf: DetailedPeerCertificate): Uint8Array[] {
  const chain = [new Uint8Array(leaf.raw)];
  for (let at = leaf; chain.length < MAX_CHAIN; at = at.issuerCertificate) {
    const issuer: DetailedPeerCertificate | undefined = at.issuerCertificate;
    if (issuer === undefined || issuer.issuerCertificate === undefined || issuer.issuerCertificate === issuer) break;
    chain.push(new Uint8Array(issuer.raw));
  }
  return chain;
}

function connectFault(place: string, error: NodeJS.ErrnoException): LacreError {
  const code = error.code ?? '';
  const network = /^(E[A-Z]+|EAI_[A-Z]+)$/.test(code) && !code.startsWith('ERR');
  if (network) {
    return new LacreError(
      'agent.server.unreachable',
      `${place} does not answer: ${code}`,
      { server: place },
      { cause: error },
    );
  }
  const sentence = `what answers at ${place} is not the server of the trust domain: ${error.message}`;
  return new LacreError('agent.server.untrusted', sentence, { server: place, reason: code }, { cause: error });
}
