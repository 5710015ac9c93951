import { X509Certificate } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fromHex, toHex } from '../bytes/hex.ts';
import { sha256Hex } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';

/** An attestation key as the TPM wrapped it: of no use outside that TPM. */
export interface SavedKey {
  readonly private: Uint8Array;
  readonly public: Uint8Array;
}

const MAX_BYTES = 1024 * 1024;

/**
 * What outlives a restart of the agent: the wrapped attestation key, and the trust bundle as the server last sent it.
 * Nothing here is secret to root, and nothing is believed that evidence doesn't prove anew; a damaged file is made again.
 */
export class StateDir {
  readonly #path: string;
  readonly #pinned: readonly Uint8Array[];
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(path: string, pinned: readonly Uint8Array[]) {
    this.#path = path;
    this.#pinned = pinned;
  }

  /** @param pinned certificates of the configuration, DER. Codes: agent.state.invalid. */
  static async open(path: string, pinned: readonly Uint8Array[]): Promise<StateDir> {
    try {
      await mkdir(path, { recursive: true, mode: 0o700 });
      await chmod(path, 0o700);
      const state = new StateDir(path, pinned);
      await state.#write('probe', '{}');
      await rm(join(path, 'probe'), { force: true });
      return state;
    } catch (cause) {
      const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
      throw new LacreError('agent.state.invalid', `data_dir ${path} can't be used: ${reason}`, { path }, { cause });
    }
  }

  /** The attestation key of the last run, if a well-formed one is there. */
  async attestationKey(): Promise<SavedKey | undefined> {
    const saved = await this.#read('attestation-key.json');
    try {
      return { private: fromHex(String(saved?.['privateHex'])), public: fromHex(String(saved?.['publicHex'])) };
    } catch {
      return undefined;
    }
  }

  async saveAttestationKey(key: SavedKey): Promise<void> {
    const text = JSON.stringify({ privateHex: toHex(key.private), publicHex: toHex(key.public) });
    await this.#write('attestation-key.json', text);
  }

  /**
   * Certificates by which the server is verified, DER: those that it last sent on a verified connection, as long as
   * they began from the bundle that is pinned now; else the pinned ones.
   */
  async bundle(): Promise<readonly Uint8Array[]> {
    const saved = await this.#read('bundle.json');
    const certificates = saved?.['certificates'];
    if (saved?.['pinnedSha256'] !== this.#pinnedSha256() || !Array.isArray(certificates)) return this.#pinned;
    try {
      const bundle = certificates.map((text) => new Uint8Array(new X509Certificate(Buffer.from(text, 'base64')).raw));
      return bundle.length > 0 ? bundle : this.#pinned;
    } catch {
      return this.#pinned;
    }
  }

  /** Keeps the bundle that a verified server sent. An empty one is refused. Codes: agent.protocol. */
  async saveBundle(bundle: readonly Uint8Array[]): Promise<void> {
    if (bundle.length === 0)
      throw new LacreError('agent.protocol', 'the server sent a trust bundle without certificates');
    const certificates = bundle.map((der) => Buffer.from(der).toString('base64'));
    await this.#write('bundle.json', JSON.stringify({ pinnedSha256: this.#pinnedSha256(), certificates }));
  }

  #pinnedSha256(): string {
    return sha256Hex(Buffer.concat(this.#pinned));
  }

  async #read(name: string): Promise<Record<string, unknown> | undefined> {
    try {
      const bytes = await readFile(join(this.#path, name));
      if (bytes.length > MAX_BYTES) return undefined;
      const value: unknown = JSON.parse(bytes.toString('utf8'));
      return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
    } catch {
      return undefined;
    }
  }

  #write(name: string, text: string): Promise<void> {
    const written = this.#writing.then(() => this.#replace(name, text));
    this.#writing = written.catch(() => undefined);
    return written;
  }

  /** All or nothing: a kill at any moment leaves the old file or the new one. */
  async #replace(name: string, text: string): Promise<void> {
    const path = join(this.#path, name);
    const file = await open(`${path}.new`, 'w', 0o600);
    try {
      await file.chmod(0o600);
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${path}.new`, path);
  }
}
