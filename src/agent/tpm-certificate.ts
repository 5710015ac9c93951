import { readFile, stat } from 'node:fs/promises';
import { equalBytes } from '../bytes/equal.ts';
import { sha256Hex } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { certificateSpki } from '../tpm/certificate.ts';
import { parsePublicArea } from '../tpm/public-area.ts';

/** Where the certificate of an endorsement key lies that the TPM itself does not hold. */
export interface CertificateSource {
  /** PEM or DER. */
  readonly file?: string | undefined;
  /** Folder on a server: the certificate is at `<url>/<SHA-256 of the EK's SubjectPublicKeyInfo>.der`. */
  readonly url?: string | undefined;
}

const MAX_BYTES = 16_384;
const TIMEOUT_MS = 10_000;
const PEM = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/;

/**
 * The certificate for an endorsement key, DER: from the file, else what the TPM holds, else from the URL. Undefined where
 * there is none. What comes from outside is for this very key; whether anybody vouches for it is for the server to find.
 *
 * @param ek TPMT_PUBLIC; `held`: the certificate in the TPM's NV
 *
 * Throws agent.tpm.certificate.
 */
export async function endorsementCertificate(
  source: CertificateSource,
  ek: Uint8Array,
  held: Uint8Array | undefined,
): Promise<Uint8Array | undefined> {
  if (source.file !== undefined) return requireKey(await fromFile(source.file), ek, source.file);
  if (held !== undefined || source.url === undefined) return held;
  const url = `${source.url.replace(/\/$/, '')}/${sha256Hex(parsePublicArea(ek).spki)}.der`;
  return requireKey(await fromUrl(url), ek, url);
}

async function fromFile(path: string): Promise<Uint8Array> {
  try {
    if ((await stat(path)).size > MAX_BYTES) throw new Error(`it is longer than ${MAX_BYTES} bytes`);
    return derOf(await readFile(path));
  } catch (cause) {
    throw missing(path, cause);
  }
}

/** No redirects, and no more than a certificate's bytes. */
async function fromUrl(url: string): Promise<Uint8Array> {
  try {
    const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (response.status !== 200 || response.body === null) throw new Error(`the answer is ${response.status}`);
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const part of response.body) {
      length += part.length;
      if (length > MAX_BYTES) throw new Error(`it is longer than ${MAX_BYTES} bytes`);
      parts.push(part);
    }
    return derOf(Buffer.concat(parts));
  } catch (cause) {
    throw missing(url, cause);
  }
}

function derOf(content: Buffer): Uint8Array {
  const [, body] = PEM.exec(content.toString('latin1')) ?? [];
  return new Uint8Array(body === undefined ? content : Buffer.from(body, 'base64'));
}

function requireKey(certificate: Uint8Array, ek: Uint8Array, place: string): Uint8Array {
  let isItsKey: boolean;
  try {
    isItsKey = equalBytes(certificateSpki(certificate), parsePublicArea(ek).spki);
  } catch (cause) {
    throw missing(place, cause);
  }
  if (isItsKey) return certificate;
  throw missing(place, new Error('it is for another key; ek_template says which one the TPM makes'));
}

function missing(place: string, cause: unknown): LacreError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const sentence = `no certificate of the endorsement key can be had from ${place}: ${reason}`;
  return new LacreError('agent.tpm.certificate', sentence, { place }, { cause });
}
