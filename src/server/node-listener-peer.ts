import type { ServerHttp2Session } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { createContextKey } from '@connectrpc/connect';
import { LacreError } from '../lacre-error.ts';
import { EXPORTER_LABEL } from '../tpm/qualifying-data.ts';
import { LIMITS } from './limits.ts';

const EXPORTER_BYTES = 32;

/**
 * The TLS connection that a call came in by. `exporter` is the connection's own secret-derived value (RFC 9266,
 * tls-exporter, 32 bytes): evidence that is bound to it can't be replayed on another connection. `certificate` is
 * whatever the peer presented and proved to hold the key of (TLS 1.3 CertificateVerify); nobody has verified its chain.
 */
export interface NodePeer {
  readonly exporter: Uint8Array;
  readonly certificate: Uint8Array | undefined;
  readonly address: string;
  /** From now on it may send more ahead (LIMITS.wideWindowBytes). */
  widen(): void;
  /** Ends the whole connection. */
  close(): void;
}

/** Set for every call by the listener. */
export const PEER = createContextKey<NodePeer | undefined>(undefined, { description: 'TLS connection of the node' });

/**
 * Reads the facts of a fresh connection.
 * Codes: server.protocol where it is not TLS 1.3, is a resumed session, or exports nothing.
 */
export function peerOf(session: ServerHttp2Session): NodePeer {
  // http2 lends its socket through a proxy that still reaches the TLSSocket's own methods.
  const socket = session.socket as TLSSocket;
  if (socket.getProtocol() !== 'TLSv1.3') throw new LacreError('server.protocol', 'nodes speak TLS 1.3');
  if (socket.isSessionReused()) throw new LacreError('server.protocol', 'a resumed TLS session proves no fresh key');
  const exporter = new Uint8Array(socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0)));
  const raw = socket.getPeerCertificate(false).raw as Buffer | undefined;
  let isWide = false;
  const widen = () => {
    if (isWide || session.destroyed) return;
    isWide = true;
    session.settings({ initialWindowSize: LIMITS.wideWindowBytes });
  };
  return {
    exporter,
    certificate: raw === undefined ? undefined : new Uint8Array(raw),
    address: socket.remoteAddress ?? '',
    widen,
    close: () => session.destroy(),
  };
}
