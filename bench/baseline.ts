import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { machineSentence } from './machine.ts';
import type { Results } from './results.ts';
import { figure } from './statistics.ts';

const PATH = fileURLToPath(new URL('baseline.json', import.meta.url));
/** Runs differ by this much without a change of the code. */
const NOISE = 0.3;

/** bench/baseline.json: ratios inside the runs that were last accepted. Lower is better. */
interface Baseline {
  readonly machine: string;
  readonly at: string;
  readonly ratios: Readonly<Record<string, number>>;
}

function ratiosOf(results: Results): Record<string, number> {
  return Object.assign({}, ...results.measures.map(({ outcome }) => outcome?.ratios ?? {}));
}

function readBaseline(): Baseline | undefined {
  return existsSync(PATH) ? (JSON.parse(readFileSync(PATH, 'utf8')) as Baseline) : undefined;
}

/** The run's ratios beside those that were accepted last, a line each; it reports, and judges nothing. */
export function compareText(results: Results): string {
  const accepted = readBaseline();
  const lines = Object.entries(ratiosOf(results)).map(([name, now]) => {
    const before = accepted?.ratios[name];
    if (before === undefined) return `${figure(now).padStart(8)}  ${name} (nothing to compare with)`;
    const change = now / before - 1;
    const sign = change < 0 ? '' : '+';
    const note = change > NOISE ? '  SLOWER?' : change < -NOISE ? '  faster' : '';
    return `${figure(now).padStart(8)}  ${name} (was ${figure(before)}: ${sign}${Math.round(100 * change)} %)${note}`;
  });
  return ['Ratios inside this run, lower is better; beside bench/baseline.json:', ...lines].join('\n');
}

/** Takes this run's ratios into the baseline; others stay. */
export function acceptRatios(results: Results): void {
  const ratios = { ...readBaseline()?.ratios, ...ratiosOf(results) };
  const sorted = Object.fromEntries(
    Object.entries(ratios).map(([name, ratio]) => [name, Number(ratio.toPrecision(3))]),
  );
  const baseline: Baseline = { machine: machineSentence(results.machine), at: results.at.slice(0, 10), ratios: sorted };
  writeFileSync(PATH, `${JSON.stringify(baseline, undefined, 2)}\n`);
}
