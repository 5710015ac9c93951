import { toHex } from '../bytes/hex.ts';
import { sha256Hex } from '../bytes/sha256.ts';
import type { X509Svid } from '../issuance/x509-svid.ts';
import type { PreparedAnswer } from './answer.ts';
import type { SessionContext } from './session-context.ts';

/**
 * The ledger's leaf of one issued SVID: JSON in UTF-8 with keys in this order, so that anybody can recompute it. It
 * names what was issued, to what, on which evidence; it holds no key and no raw evidence.
 */
export function ledgerLeaf(
  context: SessionContext,
  { request, containerId }: Pick<PreparedAnswer, 'request' | 'containerId'>,
  svid: X509Svid,
  evidenceAt: Date,
): Uint8Array {
  const leaf = {
    version: 1,
    kind: 'x509-svid',
    serial: svid.serialHex,
    spiffeId: svid.spiffeId.uri,
    certificateSha256: sha256Hex(svid.certificate),
    notAfter: svid.notAfter.toISOString(),
    evidenceAt: evidenceAt.toISOString(),
    node: context.node.ekSha256Hex,
    container: containerId,
    leaf: toHex(request.leaf),
  };
  return new Uint8Array(Buffer.from(JSON.stringify(leaf), 'utf8'));
}
