import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { pem } from '../bytes/pem.ts';
import type { TrustDomain } from '../identity/trust-domain.ts';
import { SigningAuthority } from '../issuance/signing-authority.ts';
import { issueServerSvid } from '../issuance/x509-svid.ts';
import { LacreError } from '../lacre-error.ts';
import { AuthorityFolder, type AuthorityIndex, type KeptAuthority, MAX_AUTHORITIES } from './authority-folder.ts';

export interface AuthorityOptions {
  readonly trustDomain: TrustDomain;
  readonly dataDir: string;
  readonly key: 'disk' | 'memory';
  readonly ttlMs: number;
  readonly subject: { readonly organization: string; readonly commonName: string };
}

/** What a TLS server needs. */
export interface ServerIdentity {
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
}

/**
 * Keeps the trust domain's authorities and rotates them: the next one is prepared at half of the active one's life and
 * in the bundle from then on, becomes active at three quarters, and the old one stays in the bundle until it ends. So
 * a peer has a quarter of the life to learn of a new authority before it meets it.
 */
export class AuthorityKeeper {
  readonly #options: AuthorityOptions;
  readonly #folder: AuthorityFolder;
  readonly #listeners = new Set<() => void>();
  #index: AuthorityIndex;
  #rotatedAt: Date;
  #server: { readonly authority: SigningAuthority; readonly identity: ServerIdentity } | undefined;

  private constructor(options: AuthorityOptions, folder: AuthorityFolder, index: AuthorityIndex, now: Date) {
    this.#options = options;
    this.#folder = folder;
    this.#index = index;
    this.#rotatedAt = now;
  }

  /**
   * Reads the authorities kept in `dataDir`/authority, and makes the first one where there is none that can sign.
   * Code: server.authority.failed.
   */
  static open(options: AuthorityOptions, now: Date): AuthorityKeeper {
    const folder = new AuthorityFolder(join(options.dataDir, 'authority'), options.key === 'disk');
    const index = folder.read();
    for (const { signer } of index.authorities) {
      if (signer === undefined || signer.trustDomain.equals(options.trustDomain)) continue;
      const sentence = `data_dir holds authorities of ${signer.trustDomain}, not of ${options.trustDomain}: use another data_dir`;
      throw new LacreError('server.authority.failed', sentence);
    }
    const keeper = new AuthorityKeeper(options, folder, index, now);
    keeper.rotate(now);
    return keeper;
  }

  /** The authority that signs at this moment. Code: server.authority.failed where `rotate` was not called in time. */
  current(): SigningAuthority {
    const active = this.#index.authorities.find(({ state }) => state === 'active');
    if (active?.signer !== undefined) return active.signer;
    throw new LacreError('server.authority.failed', 'there is no authority that can sign');
  }

  /** Certificates of all authorities that have not ended, DER; the one that signs first. */
  bundle(): Uint8Array[] {
    const rank = { active: 0, prepared: 1, old: 2 };
    const ordered = [...this.#index.authorities].sort((a, b) => rank[a.state] - rank[b.state]);
    return ordered.map(({ certificate }) => certificate);
  }

  /**
   * The server's own TLS identity below the signing authority, for as long as that lives; another key after each
   * rotation. PEM. The key is never on disk.
   */
  serverIdentity(): ServerIdentity {
    const authority = this.current();
    if (this.#server?.authority === authority) return this.#server.identity;
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
    const now = this.#rotatedAt;
    const ttlSeconds = Math.max(1, Math.floor((authority.notAfter.getTime() - now.getTime()) / 1000));
    const svid = issueServerSvid({ authority, now, ttlSeconds, serial: randomBytes(16), publicKey: spki });
    const identity = {
      certificateChainPem: pem('CERTIFICATE', svid.certificate),
      privateKeyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    };
    this.#server = { authority, identity };
    return identity;
  }

  /** Rises with every change of the bundle. */
  get sequence(): number {
    return this.#index.sequence;
  }

  /** Called after every change of the bundle or of the signing authority; returns a function that ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** When `rotate` has something to do next. */
  nextRotation(): Date {
    const times = this.#index.authorities.map(({ notAfter }) => notAfter.getTime());
    const active = this.#index.authorities.find(({ state }) => state === 'active');
    const prepared = this.#index.authorities.some(({ state }) => state === 'prepared');
    if (active !== undefined) times.push(lifePart(active, prepared ? 0.75 : 0.5));
    return new Date(Math.min(...times));
  }

  /** Does what is due at `now`; true where anything changed, which is on disk then. Code: server.authority.failed. */
  rotate(now: Date): boolean {
    this.#rotatedAt = now;
    const before = this.#index.authorities;
    const after = this.#due(before, now);
    if (after === undefined) return false;
    const removed = before.filter(({ keyIdHex }) => !after.some((kept) => kept.keyIdHex === keyIdHex));
    const index = { sequence: this.#index.sequence + 1, authorities: after };
    this.#folder.write(index, removed);
    this.#index = index;
    for (const listener of [...this.#listeners]) listener();
    return true;
  }

  /** What the authorities should be at `now`; undefined where they are so. */
  #due(before: readonly KeptAuthority[], now: Date): KeptAuthority[] | undefined {
    let changed = false;
    let kept = withRoom(before.filter(({ notAfter }) => notAfter > now));
    changed = kept.length !== before.length;
    const mark = (authority: KeptAuthority, state: KeptAuthority['state']): void => {
      kept = kept.map((other) => (other.keyIdHex === authority.keyIdHex ? { ...other, state } : other));
      changed = true;
    };
    const find = (state: KeptAuthority['state']): KeptAuthority | undefined => kept.find((one) => one.state === state);
    for (const authority of kept)
      if (authority.signer === undefined && authority.state !== 'old') mark(authority, 'old');
    const active = find('active');
    const prepared = find('prepared');
    if (prepared !== undefined && (active === undefined || now.getTime() >= lifePart(active, 0.75))) {
      if (active !== undefined) mark(active, 'old');
      mark(prepared, 'active');
    }
    if (find('active') === undefined) {
      kept = [...kept, this.#make('active', now)];
      changed = true;
    }
    const signing = find('active');
    if (signing !== undefined && find('prepared') === undefined && now.getTime() >= lifePart(signing, 0.5)) {
      kept = [...kept, this.#make('prepared', now)];
      changed = true;
    }
    return changed ? kept : undefined;
  }

  #make(state: KeptAuthority['state'], now: Date): KeptAuthority {
    const { trustDomain, ttlMs, subject } = this.#options;
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const signer = SigningAuthority.create({
      trustDomain,
      key: privateKey,
      serial: randomBytes(16),
      now,
      ttlMs,
      subject,
    });
    const { keyIdHex, certificate, notBefore, notAfter } = signer;
    return { keyIdHex, state, certificate, notBefore, notAfter, signer };
  }
}

/**
 * Leaves room for one that signs and one that is prepared, by giving up the old ones that end first: a server with its
 * keys in memory makes one at every start, and nothing that many starts ago signed is still of use.
 */
function withRoom(authorities: readonly KeptAuthority[]): KeptAuthority[] {
  const old = authorities
    .filter(({ state }) => state === 'old')
    .sort((a, b) => a.notAfter.getTime() - b.notAfter.getTime());
  const given = new Set(old.slice(0, Math.max(0, authorities.length - (MAX_AUTHORITIES - 2))));
  return authorities.filter((authority) => !given.has(authority));
}

/** The time at which this part of an authority's life is over, Unix milliseconds. */
function lifePart(authority: KeptAuthority, part: number): number {
  const from = authority.notBefore.getTime();
  return from + (authority.notAfter.getTime() - from) * part;
}
