import { parseCsr, type VerifiedCsr } from '../identity/csr.ts';
import { agentSpiffeId } from '../identity/spiffe-id.ts';
import { LacreError } from '../lacre-error.ts';
import type { EnrolHello } from '../proto/lacre/v1/node_pb.ts';
import { type VerifiedAttestationKey, verifyAttestationKey } from '../tpm/attestation-key.ts';
import { type EndorsementRoot, ekSha256Hex, type VerifiedEndorsement, verifyEndorsement } from '../tpm/endorsement.ts';
import { parsePublicArea } from '../tpm/public-area.ts';
import type { EnrolmentGate } from './enrolment-gate.ts';
import { tell } from './events.ts';
import { LIMITS } from './limits.ts';
import type { ServerDeps } from './server-deps.ts';
import type { NodeRow } from './store-nodes.ts';

/** What a hello says, after everything that can be checked without the TPM's answer. */
export interface EnrolmentClaim {
  readonly node: NodeRow;
  /** A configured root vouches for the EK. */
  readonly endorsement: VerifiedEndorsement;
  /** Has the attributes of an attestation key; that it lives beside the EK is proven by the quote over the secret. */
  readonly key: VerifiedAttestationKey;
  readonly csr: VerifiedCsr;
}

/**
 * Looks the EK up before any certificate or signature is looked at. An unknown EK is parked (bounded), so that people
 * can see it, and refused.
 * Codes: server.node.unknown, server.node.banned, server.limit, tpm.malformed, tpm.unsupported.
 */
export function requireInventory(deps: ServerDeps, gate: EnrolmentGate, hello: EnrolHello): NodeRow {
  checkSizes(hello);
  const ek = ekSha256Hex(parsePublicArea(hello.ekPublic).spki);
  const node = deps.store.nodes.get(ek);
  if (node?.banned === true) throw new LacreError('server.node.banned', `the node with EK ${ek} is banned`);
  if (node !== undefined && node.state !== 'parked') return node;
  const now = deps.clock.now();
  const limit = Math.min(deps.config.limits.parkedNodes, LIMITS.parkedNodes);
  if (node === undefined && limit > 0 && gate.mayPark(now)) {
    const spiffeId = agentSpiffeId(deps.config.trustDomain, ek).uri;
    deps.store.nodes.park({ ekSha256Hex: ek, spiffeId }, now, limit);
    tell(deps, { kind: 'alert', node: spiffeId, sentence: `an EK that is in no inventory asked to enrol: ${ek}` });
  }
  throw new LacreError('server.node.unknown', `no node with EK ${ek} is in the inventory: lacre node add ${ek}`, {
    ek,
  });
}

/**
 * Verifies certificate, keys and request of a known node.
 * Codes: tpm.endorsement.*, tpm.ek.attributes, tpm.ak.attributes, tpm.malformed, tpm.unsupported, identity.*.
 */
export function verifyClaim(
  deps: ServerDeps,
  roots: readonly EndorsementRoot[],
  node: NodeRow,
  hello: EnrolHello,
): EnrolmentClaim {
  return { ...verifyNodeKeys(deps, roots, node, hello), csr: parseCsr(hello.csr) };
}

/** As verifyClaim, without the certificate request: SPIRE's nodes send theirs to SPIRE. */
export function verifyNodeKeys(
  deps: ServerDeps,
  roots: readonly EndorsementRoot[],
  node: NodeRow,
  hello: EnrolHello,
): Omit<EnrolmentClaim, 'csr'> {
  const endorsement = verifyEndorsement({
    certificate: hello.ekCertificate,
    intermediates: hello.ekIntermediates,
    roots,
    ek: parsePublicArea(hello.ekPublic),
    now: deps.clock.now(),
    policy: deps.config.endorsement,
  });
  const key = verifyAttestationKey(parsePublicArea(hello.akPublic));
  return { node: { ...node, rootOfTrust: endorsement.rootOfTrust }, endorsement, key };
}

function checkSizes(hello: EnrolHello): void {
  const sizes: readonly [string, number, number][] = [
    ['EK certificate', hello.ekCertificate.length, LIMITS.certificateBytes],
    ['number of intermediate certificates', hello.ekIntermediates.length, LIMITS.intermediates],
    ...hello.ekIntermediates
      .map((der) => ['intermediate certificate', der.length, LIMITS.certificateBytes] as const)
      .map((each): [string, number, number] => [...each]),
    ['EK public area', hello.ekPublic.length, LIMITS.publicAreaBytes],
    ['AK public area', hello.akPublic.length, LIMITS.publicAreaBytes],
    ['certificate request', hello.csr.length, LIMITS.csrBytes],
    ['agent version', hello.agentVersion.length, LIMITS.textBytes],
  ];
  const wrong = sizes.find(([, size, bound]) => size > bound);
  if (wrong !== undefined)
    throw new LacreError('server.limit', `${wrong[0]} of the hello is over its bound of ${wrong[2]}`);
}
