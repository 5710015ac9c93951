import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { pem } from '../bytes/pem.ts';
import { SigningAuthority } from '../issuance/signing-authority.ts';
import { LacreError } from '../lacre-error.ts';
import { makeSecretFolder, readSecretFile, removeSecretFile, writeSecretFile } from './secret-file.ts';

/** `prepared`: in the bundle, signs nothing yet. `old`: in the bundle until it ends, signs nothing any more. */
export type AuthorityState = 'active' | 'prepared' | 'old';

/** One authority of the trust domain. Without `signer` its key is gone, and its certificate only verifies. */
export interface KeptAuthority {
  readonly keyIdHex: string;
  readonly state: AuthorityState;
  /** DER. */
  readonly certificate: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly signer: SigningAuthority | undefined;
}

export interface AuthorityIndex {
  /** Rises with every change of the bundle. */
  readonly sequence: number;
  readonly authorities: readonly KeptAuthority[];
}

/** Authorities that are kept at most. */
export const MAX_AUTHORITIES = 64;
const MAX_BYTES = 64 * 1024;
const IndexSchema = z.strictObject({
  version: z.literal(1),
  sequence: z.int().min(0),
  authorities: z
    .array(z.strictObject({ keyId: z.string().regex(/^[0-9a-f]{40}$/), state: z.enum(['active', 'prepared', 'old']) }))
    .max(MAX_AUTHORITIES),
});

/**
 * Authorities as files: `index.json` says which there are, `KEYID.pem` holds certificate and, where keys are kept on
 * disk, private key (PKCS #8). Not in the database: who can write that can neither sign nor add an authority.
 */
export class AuthorityFolder {
  readonly #path: string;
  readonly #keepKeys: boolean;

  constructor(path: string, keepKeys: boolean) {
    makeSecretFolder(path);
    this.#path = path;
    this.#keepKeys = keepKeys;
  }

  /** Empty where nothing was written yet. Code: server.authority.failed for anything that does not fit together. */
  read(): AuthorityIndex {
    const text = readSecretFile(join(this.#path, 'index.json'), MAX_BYTES);
    const index = text === undefined ? { sequence: 0, authorities: [] } : parseIndex(text, this.#path);
    this.#removeUnnamed(index.authorities.map(({ keyId }) => keyId));
    const authorities = index.authorities.map(({ keyId, state }) => this.#readAuthority(keyId, state));
    return { sequence: index.sequence, authorities };
  }

  /** Writes new authorities first, then the index as the one step that counts, then removes what it no longer names. */
  write(index: AuthorityIndex, removed: readonly KeptAuthority[]): void {
    for (const authority of index.authorities) this.#writeAuthority(authority);
    const authorities = index.authorities.map(({ keyIdHex, state }) => ({ keyId: keyIdHex, state }));
    const text = JSON.stringify({ version: 1, sequence: index.sequence, authorities }, undefined, 2);
    writeSecretFile(join(this.#path, 'index.json'), `${text}\n`);
    for (const { keyIdHex } of removed) removeSecretFile(this.#file(keyIdHex));
  }

  /** Keys that a killed server wrote and never named: nothing was signed with them. */
  #removeUnnamed(keyIds: readonly string[]): void {
    for (const name of readdirSync(this.#path)) {
      const ours = /^([0-9a-f]{40})\.pem$|^\.[0-9a-f]{16}\.new$/.exec(name);
      if (ours !== null && !keyIds.includes(ours[1] ?? '')) removeSecretFile(join(this.#path, name));
    }
  }

  #file(keyIdHex: string): string {
    return join(this.#path, `${keyIdHex}.pem`);
  }

  #readAuthority(keyId: string, state: AuthorityState): KeptAuthority {
    const path = this.#file(keyId);
    const text = readSecretFile(path, MAX_BYTES);
    if (text === undefined) throw failed(path, 'it is missing');
    try {
      const parsed = new X509Certificate(text);
      const certificate = new Uint8Array(parsed.raw);
      const key = text.includes('PRIVATE KEY')
        ? createPrivateKey(text.slice(text.indexOf('-----BEGIN PRIVATE KEY')))
        : undefined;
      const signer = key === undefined ? undefined : SigningAuthority.open(certificate, key);
      if (signer !== undefined && signer.keyIdHex !== keyId)
        throw new Error('its key is not the one that its name says');
      return {
        keyIdHex: keyId,
        state,
        certificate,
        notBefore: parsed.validFromDate,
        notAfter: parsed.validToDate,
        signer,
      };
    } catch (error) {
      throw failed(path, error instanceof Error ? error.message : String(error), error);
    }
  }

  #writeAuthority(authority: KeptAuthority): void {
    const path = this.#file(authority.keyIdHex);
    if (readSecretFile(path, MAX_BYTES) !== undefined) return;
    const certificate = pem('CERTIFICATE', authority.certificate);
    const key =
      this.#keepKeys && authority.signer !== undefined ? pem('PRIVATE KEY', authority.signer.exportKey()) : '';
    writeSecretFile(path, certificate + key);
  }
}

function parseIndex(text: string, folder: string): z.output<typeof IndexSchema> {
  try {
    return IndexSchema.parse(JSON.parse(text));
  } catch (error) {
    throw failed(join(folder, 'index.json'), 'it is not as this program writes it', error);
  }
}

function failed(path: string, why: string, cause?: unknown): LacreError {
  return new LacreError('server.authority.failed', `${path} cannot be used: ${why}`, { path }, { cause });
}
