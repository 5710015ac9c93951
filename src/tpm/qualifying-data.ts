import { at } from '../bytes/at.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { toHex } from '../bytes/hex.ts';
import { sha256, ZERO_SHA256 } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { label } from './key-derivation.ts';
import { requireLength } from './structure.ts';

/** What a request asks for: 1 an X.509-SVID, 2 a JWT-SVID, 3 a bundle, 4 a verdict (lacre.v1.WorkloadRequest.Kind). */
export type SubjectKind = 1 | 2 | 3 | 4;

/** Label of the TLS exporter (RFC 9266, 4): 32 bytes, empty context. */
export const EXPORTER_LABEL = 'EXPORTER-Channel-Binding';

/** Bytes of nonces, secrets, exporter values and digests. */
const LENGTH = 32;
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/**
 * Leaf of one request in a batch (DESIGN section 8):
 * SHA256(0x00 ‖ "lacre/workload/v1\0" ‖ kind ‖ SHA256(record) ‖ SHA256(subject)), 32 bytes.
 *
 * @param recordSha256 32 bytes, of the canonical Record
 * @param subjectSha256 32 bytes, of the SubjectPublicKeyInfo, the audiences, or nothing
 */
export function workloadLeaf(kind: SubjectKind, recordSha256: Uint8Array, subjectSha256: Uint8Array): Uint8Array {
  return sha256(
    LEAF,
    label('lacre/workload/v1'),
    Uint8Array.of(kind),
    requireLength('SHA-256 of the record', recordSha256, LENGTH),
    requireLength('SHA-256 of the subject', subjectSha256, LENGTH),
  );
}

/**
 * Root of a batch: nodes are SHA256(0x01 ‖ left ‖ right), a node without a right neighbour moves up as it is; no leaf at
 * all gives 32 zero bytes. Equal leaves are refused, so that a count and a root name one sequence of requests.
 *
 * @param leaves 32 bytes each, in the order of the requests
 *
 * Throws tpm.batch.duplicate.
 */
export function batchRoot(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return ZERO_SHA256.slice();
  const seen = new Set(leaves.map((leaf) => toHex(requireLength('a leaf', leaf, LENGTH))));
  if (seen.size !== leaves.length) {
    throw new LacreError('tpm.batch.duplicate', 'two requests of one batch have the same leaf', {
      count: leaves.length,
    });
  }
  let level = [...leaves];
  while (level.length > 1) level = parents(level);
  return at(level, 0).slice();
}

function parents(level: readonly Uint8Array[]): Uint8Array[] {
  const above: Uint8Array[] = [];
  for (let index = 0; index + 1 < level.length; index += 2) {
    above.push(sha256(NODE, at(level, index), at(level, index + 1)));
  }
  return level.length % 2 === 0 ? above : [...above, at(level, level.length - 1)];
}

/**
 * Extra data of a session's quote (DESIGN section 8):
 * SHA256("lacre/quote/v1\0" ‖ SHA256(Name(AK)) ‖ exporter ‖ nonce ‖ root ‖ count as u64, big-endian), 32 bytes.
 *
 * @param input `exporter`, `nonce`, `root`: 32 bytes each; `count` leaves of the root
 */
export function quoteExtraData(input: {
  readonly akName: Uint8Array;
  readonly exporter: Uint8Array;
  readonly nonce: Uint8Array;
  readonly root: Uint8Array;
  readonly count: number;
}): Uint8Array {
  return sha256(
    label('lacre/quote/v1'),
    sha256(input.akName),
    requireLength('the exporter value', input.exporter, LENGTH),
    requireLength('the nonce', input.nonce, LENGTH),
    requireLength('the root', input.root, LENGTH),
    new ByteWriter().u64(BigInt(input.count)).finish(),
  );
}

/**
 * What stands for the TLS exporter where evidence travels through SPIRE, whose plugins see no connection (docs/spire.md):
 * SHA256("lacre/spire-node/v1\0" ‖ nonce), 32 bytes. No exporter of ours is ever this.
 *
 * @param nonce 32 bytes
 */
export function spireExporter(nonce: Uint8Array): Uint8Array {
  return sha256(label('lacre/spire-node/v1'), requireLength('the nonce', nonce, LENGTH));
}

/**
 * Extra data of the enrolment's quote (DESIGN section 8): SHA256("lacre/enrol/v1\0" ‖ SHA256(trust domain) ‖ nonce ‖
 * secret ‖ SHA256(EK public) ‖ SHA256(Name(AK)) ‖ SHA256(CSR) ‖ exporter), 32 bytes.
 *
 * @param input `trustDomain` its name, without scheme; `ekPublic` the TPMT_PUBLIC; `csr` PKCS #10, DER; `nonce`, `secret`
 *   and `exporter` 32 bytes each
 */
export function enrolmentExtraData(input: {
  readonly trustDomain: string;
  readonly nonce: Uint8Array;
  readonly secret: Uint8Array;
  readonly ekPublic: Uint8Array;
  readonly akName: Uint8Array;
  readonly csr: Uint8Array;
  readonly exporter: Uint8Array;
}): Uint8Array {
  return sha256(
    label('lacre/enrol/v1'),
    sha256(new Uint8Array(Buffer.from(input.trustDomain))),
    requireLength('the nonce', input.nonce, LENGTH),
    requireLength('the secret', input.secret, LENGTH),
    sha256(input.ekPublic),
    sha256(input.akName),
    sha256(input.csr),
    requireLength('the exporter value', input.exporter, LENGTH),
  );
}
