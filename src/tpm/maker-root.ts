import { sha256Hex } from '../bytes/sha256.ts';
import { isLacreError } from '../lacre-error.ts';
import { parseEndorsementCertificate } from './certificate.ts';

/** A certificate of a collection, and why it can vouch for endorsement keys or not. */
export interface MakerCertificate {
  readonly der: Uint8Array;
  readonly sha256Hex: string;
  /** One line. */
  readonly subject: string;
  /** True: its own issuer. */
  readonly isRoot: boolean;
  readonly notAfter: Date;
  /** Empty: it can be a configured root. */
  readonly fault: string;
}

/**
 * Looks at a certificate of a collection of TPM makers' CAs (a folder, or Microsoft's cabinet file). That a maker made it
 * is the collection's claim. Throws tpm.endorsement.certificate.
 */
export function readMakerCertificate(der: Uint8Array): MakerCertificate {
  const { x509, isCa, keyUsage, unknownCritical } = parseEndorsementCertificate(der);
  const faults = [
    ...(isCa ? [] : ['it is no CA']),
    ...(keyUsage?.includes('keyCertSign') === false ? ['it may not sign certificates'] : []),
    ...(unknownCritical.length === 0 ? [] : [`critical extensions ${unknownCritical.join()}`]),
    ...(x509.issuer === x509.subject && !isSelfSigned(x509) ? ['its own signature does not verify'] : []),
  ];
  return {
    der,
    sha256Hex: sha256Hex(der),
    subject: x509.subject.replaceAll('\n', ', '),
    isRoot: x509.issuer === x509.subject,
    notAfter: x509.validToDate,
    fault: faults.join(', '),
  };
}

/** As readMakerCertificate; undefined where the bytes are no certificate. */
export function tryMakerCertificate(der: Uint8Array): MakerCertificate | undefined {
  try {
    return readMakerCertificate(der);
  } catch (error) {
    if (isLacreError(error, 'tpm.endorsement.certificate')) return undefined;
    throw error;
  }
}

function isSelfSigned(certificate: ReturnType<typeof parseEndorsementCertificate>['x509']): boolean {
  try {
    return certificate.verify(certificate.publicKey);
  } catch {
    return false;
  }
}
