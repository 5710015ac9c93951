import { InvalidArgumentError } from 'commander';
import type { SPIFFEID } from '../proto/spire/api/types/spiffeid_pb.ts';

/** "spiffe://td/path" as the API's message; the server checks it by the standard. */
export function spiffeIdArgument(text: string): { trustDomain: string; path: string } {
  const match = /^spiffe:\/\/([^/]+)(\/.*)?$/.exec(text);
  if (!match?.[1]) throw new InvalidArgumentError('a SPIFFE ID looks like spiffe://example.org/orders');
  return { trustDomain: match[1], path: match[2] ?? '' };
}

export function spiffeIdText(id: SPIFFEID | undefined): string {
  return id ? `spiffe://${id.trustDomain}${id.path}` : '';
}

/** "type:value", split at the first colon. */
export function selectorArgument(text: string): { type: string; value: string } {
  const colon = text.indexOf(':');
  if (colon < 1 || colon === text.length - 1)
    throw new InvalidArgumentError('a selector looks like lacre:attribution:exact');
  return { type: text.slice(0, colon), value: text.slice(colon + 1) };
}

/** For options that may be given several times. */
export function collect<T>(parse: (text: string) => T): (text: string, before: T[] | undefined) => T[] {
  return (text, before) => [...(before ?? []), parse(text)];
}
