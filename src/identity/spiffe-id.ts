import { LacreError } from '../lacre-error.ts';
import { TrustDomain } from './trust-domain.ts';

/** SPIFFE-ID 2.3. */
const MAX_LENGTH = 2048;
const SCHEME = 'spiffe://';
/** SPIFFE-ID 2.2. */
const SEGMENT = /^[a-zA-Z0-9._-]+$/;

/** A SPIFFE ID: well-formed by SPIFFE-ID 2, made by its parsers only. Who carries it is another question. */
export class SpiffeId {
  readonly trustDomain: TrustDomain;
  /** Empty for the trust domain itself, else "/a/b". */
  readonly path: string;

  private constructor(trustDomain: TrustDomain, path: string) {
    this.trustDomain = trustDomain;
    this.path = path;
  }

  /**
   * From "spiffe://trust-domain/path". No query, fragment, port, user, percent-encoding, empty or dot segment.
   * Codes: identity.spiffe-id.malformed, identity.trust-domain.malformed.
   */
  static parse(uri: string): SpiffeId {
    if (uri.length > MAX_LENGTH) throw malformed(`a SPIFFE ID has at most ${MAX_LENGTH} bytes`);
    if (!uri.startsWith(SCHEME)) throw malformed('a SPIFFE ID begins with spiffe://');
    const slash = uri.indexOf('/', SCHEME.length);
    const end = slash === -1 ? uri.length : slash;
    return SpiffeId.of(TrustDomain.parse(uri.slice(SCHEME.length, end)), uri.slice(end));
  }

  /** Of a trust domain and a path, which is empty or begins with "/". Codes as parse. */
  static of(trustDomain: TrustDomain, path: string): SpiffeId {
    if (path !== '') checkPath(path);
    if (trustDomain.uri.length + path.length > MAX_LENGTH)
      throw malformed(`a SPIFFE ID has at most ${MAX_LENGTH} bytes`);
    return new SpiffeId(trustDomain, path);
  }

  get uri(): string {
    return this.trustDomain.uri + this.path;
  }

  isMemberOf(trustDomain: TrustDomain): boolean {
    return this.trustDomain.equals(trustDomain);
  }

  equals(other: SpiffeId): boolean {
    return this.uri === other.uri;
  }

  toString(): string {
    return this.uri;
  }
}

/** SPIRE's form of an agent's path, so that parent IDs look familiar: the first 32 digits of the EK's hash. */
export function agentSpiffeId(trustDomain: TrustDomain, ekSha256Hex: string): SpiffeId {
  return SpiffeId.of(trustDomain, `/spire/agent/lacre_tpm/${ekSha256Hex.slice(0, 32)}`);
}

/** The server's own name, as SPIRE's: agents ask for exactly this one. */
export function serverSpiffeId(trustDomain: TrustDomain): SpiffeId {
  return SpiffeId.of(trustDomain, '/spire/server');
}

/** SPIRE keeps everything below /spire for itself: no workload gets such an ID. */
export function isReserved(id: SpiffeId): boolean {
  return id.path === '/spire' || id.path.startsWith('/spire/');
}

function checkPath(path: string): void {
  if (!path.startsWith('/')) throw malformed('the path of a SPIFFE ID begins with a slash');
  for (const segment of path.slice(1).split('/')) {
    if (segment === '') throw malformed('the path of a SPIFFE ID has no empty segment and no slash at its end');
    if (segment === '.' || segment === '..') throw malformed('the path of a SPIFFE ID has no segment . or ..');
    if (!SEGMENT.test(segment))
      throw malformed('the path of a SPIFFE ID holds only letters, digits, dots, dashes and underscores');
  }
}

function malformed(sentence: string): LacreError {
  return new LacreError('identity.spiffe-id.malformed', sentence);
}
