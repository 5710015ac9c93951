import { path, runCore, runOnOneCore } from '../core-run.ts';
import { keylimePython } from '../keylime.ts';
import type { Context, Outcome, Row } from '../measure.ts';
import { figure } from '../statistics.ts';

export const name = 'list-replay';
export const about =
  'entries of a measurement list verified a second on one core, beside Keylime 7.14.3 on the same list';

const [LEAST, TIMES] = [500_000, 4];
const [LONG_LIST, MOST_MS] = [1_000_000, 20];

interface Rates {
  /** Entries a second that were replayed to a quote's PCRs. */
  readonly proven: number;
  /** The same, and each held against reference values. */
  readonly matched: number;
}

interface Turns {
  /** CPU of the thread between two turns of the event loop, at most; in which part that was; and all of it. */
  readonly longestMs: number;
  readonly in: string;
  readonly totalMs: number;
  readonly rssMb: number;
}

export async function run({ quick, say }: Context): Promise<Outcome> {
  const count = 100_000;
  const rounds = quick ? 3 : 6;
  const own = await runCore<Rates>('list-entries.ts', count, rounds);
  const turns = await runCore<Turns>('list-turns.ts', LONG_LIST);
  const found = keylimePython(say);
  const keylime =
    'absent' in found
      ? undefined
      : await runOnOneCore<Pick<Rates, 'matched'>>(found.python, [
          path('keylime_entries.py'),
          String(count),
          String(quick ? 1 : 3),
        ]);
  const ratio = own.matched / (keylime?.matched ?? Number.NaN);
  const beside: Row = {
    measure: `list of ${count.toLocaleString('en')} entries, proven and held against reference values, beside Keylime: entries a second, one core`,
    goal: `≥ ${TIMES} × Keylime, ≥ ${figure(LEAST)}`,
    seen: `${figure(own.matched)}, ${keylime === undefined && 'absent' in found ? found.absent : `${figure(ratio)} × Keylime's ${figure(keylime?.matched ?? Number.NaN)}`}`,
    ...(keylime !== undefined && { met: ratio >= TIMES && own.matched >= LEAST }),
  };
  return {
    rows: [
      {
        measure: 'list entries proven by a quote a second, one core',
        goal: `≥ ${figure(LEAST)}`,
        seen: figure(own.proven),
        met: own.proven >= LEAST,
      },
      beside,
      {
        measure: `list of ${LONG_LIST.toLocaleString('en')} entries, one quote over all, in a session's turns: the longest turn`,
        goal: `≤ ${MOST_MS} ms`,
        seen: `${figure(turns.longestMs)} ms of CPU (${turns.in}), ${figure(turns.totalMs / 1000)} s in all`,
        met: turns.longestMs <= MOST_MS,
      },
    ],
    ratios: keylime === undefined ? {} : { 'Keylime / list entries a second': 1 / ratio },
    details: { own, keylime, turns },
  };
}
