import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { LacreError } from '../lacre-error.ts';
import type { EndorsementRoot, RootOfTrust } from '../tpm/certificate-chain.ts';

const PEM = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;
const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_ROOTS = 4096;

/**
 * Reads the certificates that vouch for endorsement keys: each path is a PEM or DER file, or a folder of such files.
 * Throws server.config.invalid with the file's name: a root that cannot be read is never left out silently.
 */
export function readEndorsementRoots(
  paths: readonly { readonly path: string; readonly tier: RootOfTrust }[],
): EndorsementRoot[] {
  const roots = paths.flatMap(({ path, tier }) =>
    filesOf(path).flatMap((file) => certificatesOf(file).map((certificate) => ({ certificate, tier }))),
  );
  if (roots.length > MAX_ROOTS) throw invalid('endorsement.roots', `holds more than ${MAX_ROOTS} certificates`);
  return roots;
}

function filesOf(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path)
      .filter((name) => /\.(pem|crt|cer|der)$/i.test(name))
      .sort()
      .map((name) => join(path, name));
  } catch (cause) {
    throw invalid(path, 'cannot be read', cause);
  }
}

function certificatesOf(path: string): X509Certificate[] {
  try {
    if (statSync(path).size > MAX_FILE_BYTES) throw new Error('the file is longer than 4 MiB');
    const bytes = readFileSync(path);
    const blocks = bytes.toString('latin1').match(PEM);
    return blocks === null ? [new X509Certificate(bytes)] : blocks.map((block) => new X509Certificate(block));
  } catch (cause) {
    throw invalid(path, 'holds no certificate in PEM or DER', cause);
  }
}

function invalid(path: string, fault: string, cause?: unknown): LacreError {
  return new LacreError('server.config.invalid', `endorsement root ${path} ${fault}`, { path }, { cause });
}
