import { isLacreError } from '../../../src/lacre-error.ts';
import type { FuzzTarget } from './target.ts';

/** What became of an input: the code of the typed error, `accepted`, or an error that must not escape. */
export type Outcome = { readonly verdict: string } | { readonly escaped: unknown };

/** Runs a target once. */
export async function outcomeOf(target: FuzzTarget, bytes: Uint8Array): Promise<Outcome> {
  try {
    const result = target.run(bytes);
    if (result instanceof Promise) await result;
    return { verdict: 'accepted' };
  } catch (error) {
    return isLacreError(error) ? { verdict: error.code } : { escaped: error };
  }
}

/** User and system CPU time of this process in milliseconds. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
