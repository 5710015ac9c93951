import type { Context, Outcome, Row } from '../measure.ts';
import { meanOf } from '../pairs.ts';
import { FRESH_ENOUGH, FRESHER, type Round } from '../round.ts';
import { figure } from '../statistics.ts';
import { AT_ONCE, CHIPS_MS } from './first-svid.ts';

export const name = 'one-quote-each';
export const about = 'the same with a quote for each request instead of one for all that wait: what sharing is worth';

/** Longer than all quotes of a round one after the other: 150 of 195 ms are 29 s, and the agent gives a request 30 s. */
const TIMEOUT_SECONDS = 90;

export async function run({ quick, bed: bedOf, say }: Context): Promise<Outcome> {
  const bed = await bedOf(AT_ONCE);
  const chips = quick ? [25] : CHIPS_MS;
  const shared = new Map<number, readonly Round[]>();
  const single = new Map<number, Round>();
  const ask = { count: AT_ONCE, client: 'light', timeoutSeconds: TIMEOUT_SECONDS } as const;
  await bed.turn('agent', { underQuote: FRESHER, watchDelay: false });
  for (const quoteMs of chips) {
    bed.node.proxy.quoteMs = quoteMs;
    shared.set(quoteMs, [await bed.round('lacre', ask), await bed.round('lacre', ask), await bed.round('lacre', ask)]);
  }
  await bed.restartServer('limits: { requests_per_evidence: 1 }');
  await bed.turn('agent', { underQuote: FRESHER, watchDelay: false });
  for (const quoteMs of chips) {
    say(`a quote each, quotes of ${quoteMs} ms`);
    bed.node.proxy.quoteMs = quoteMs;
    single.set(quoteMs, await bed.tryRound('lacre', ask));
  }
  await bed.restartServer();
  await bed.turn('agent', { underQuote: FRESH_ENOUGH, watchDelay: false });
  const rows = chips.map((quoteMs): Row => {
    const one = single.get(quoteMs);
    const missing = AT_ONCE - (one?.got ?? 0);
    const lost = missing > 0 ? `; ${missing} gave up after 30 s` : '';
    return {
      measure: `one quote each beside shared quotes, one light client, Q = ${quoteMs} ms: mean`,
      goal: '',
      seen: `${figure(one?.ms.mean ?? Number.NaN)} ms with ${one?.quotes} quotes${lost}; shared ${figure(meanOf(shared.get(quoteMs) ?? []))} ms`,
    };
  });
  return { rows };
}
