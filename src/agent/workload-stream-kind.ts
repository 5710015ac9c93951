import { create, toBinary } from '@bufbuild/protobuf';
import { random16 } from '../bytes/random-16.ts';
import { LacreError } from '../lacre-error.ts';
import type { Identities } from '../proto/lacre/v1/node_pb.ts';
import { X509BundlesResponseSchema, X509SVIDResponseSchema } from '../proto/spiffe/workload_pb.ts';
import type { SubjectKind } from '../tpm/qualifying-data.ts';
import { generateP256Key } from './p256-key.ts';

/** One answer of the Workload API. */
export interface WorkloadMessage {
  readonly bytes: Uint8Array;
  /** When what it holds ends; undefined: it doesn't by itself. */
  readonly expiresAt: Date | undefined;
}

/** What is asked of the server for one message, and how its answer becomes that message. */
export interface WorkloadAsk {
  readonly kind: SubjectKind;
  readonly subject: Uint8Array;
  /** Codes: agent.workload.refused where the server gave nothing. */
  finish(identities: Identities, bundle: readonly Uint8Array[], trustDomain: string): WorkloadMessage;
}

/** A new P-256 key for each SVID; it is held until the message is written, and nowhere else. */
export function askX509Svid(): WorkloadAsk {
  const { spki, pkcs8 } = generateP256Key();
  return {
    kind: 1,
    subject: spki,
    finish: ({ x509 }, bundle) => {
      if (x509.length === 0) throw new LacreError('agent.workload.refused', 'no identity issued: the server gave none');
      const joinedBundle = concat(bundle);
      const svids = x509.map(({ spiffeId, certificateChain, hint }) => ({
        spiffeId,
        x509Svid: concat(certificateChain),
        x509SvidKey: pkcs8,
        bundle: joinedBundle,
        hint,
      }));
      const bytes = toBinary(X509SVIDResponseSchema, create(X509SVIDResponseSchema, { svids }));
      const endsMs = Math.min(...x509.map(({ expiresAtUnixMs }) => Number(expiresAtUnixMs)));
      return { bytes, expiresAt: new Date(endsMs) };
    },
  };
}

/** The bundle alone: what makes one request differ from the next is 16 random bytes. */
export function askBundle(): WorkloadAsk {
  return {
    kind: 3,
    subject: random16(),
    finish: (_identities, bundle, trustDomain) => {
      const bundles = { [`spiffe://${trustDomain}`]: concat(bundle) };
      const bytes = toBinary(X509BundlesResponseSchema, create(X509BundlesResponseSchema, { bundles }));
      return { bytes, expiresAt: undefined };
    },
  };
}

/** DER certificates one after another, without padding (Workload API, 5.2.1). */
function concat(certificates: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(certificates));
}
