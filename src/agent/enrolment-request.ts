import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type EnrolRequest, EnrolRequestSchema } from '../proto/lacre/v1/node_pb.ts';
import { VERSION } from '../version.ts';
import type { NodeKeys } from './enrolment.ts';

/** A step of an enrolment, or of a node's attestation to SPIRE, which takes the same ones. */
export function enrolRequest(step: NonNullable<MessageInitShape<typeof EnrolRequestSchema>['step']>): EnrolRequest {
  return create(EnrolRequestSchema, { step });
}

/**
 * What begins either: keys and certificates, nothing that is proven yet.
 * @param csr left out for SPIRE, which has a request of its own
 */
export function helloOf(keys: NodeKeys, csr: Uint8Array = new Uint8Array()): EnrolRequest {
  return enrolRequest({
    case: 'hello',
    value: {
      ekCertificate: keys.ekCertificate ?? new Uint8Array(),
      ekIntermediates: [...keys.ekIntermediates],
      ekPublic: keys.ekPublic,
      akPublic: keys.akPublic,
      csr,
      agentVersion: VERSION,
    },
  });
}
