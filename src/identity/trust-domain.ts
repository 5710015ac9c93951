import { LacreError } from '../lacre-error.ts';

/** SPIFFE-ID 2.1: the name is at most 255 bytes of lower-case letters, digits, dots, dashes and underscores. */
const MAX_LENGTH = 255;
const NAME = /^[a-z0-9._-]+$/;

/** Name of a trust domain: well-formed by SPIFFE-ID 2.1, made by `parse` only. */
export class TrustDomain {
  /** As "example.org". */
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Code: identity.trust-domain.malformed. */
  static parse(name: string): TrustDomain {
    if (name === '') throw malformed('a trust domain has a name of at least one character');
    if (name.length > MAX_LENGTH) throw malformed(`a trust domain has at most ${MAX_LENGTH} characters`);
    if (!NAME.test(name))
      throw malformed('a trust domain holds only lower-case letters, digits, dots, dashes and underscores');
    return new TrustDomain(name);
  }

  /** The SPIFFE ID of the trust domain itself, as its authority carries it: "spiffe://example.org". */
  get uri(): string {
    return `spiffe://${this.name}`;
  }

  equals(other: TrustDomain): boolean {
    return this.name === other.name;
  }

  toString(): string {
    return this.name;
  }
}

function malformed(sentence: string): LacreError {
  return new LacreError('identity.trust-domain.malformed', sentence);
}
