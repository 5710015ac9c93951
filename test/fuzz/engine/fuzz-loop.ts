import type { Coverage } from './coverage.ts';
import { Mutator } from './mutator.ts';
import { cpuMs, outcomeOf } from './outcome.ts';
import { Random } from './random.ts';
import type { FuzzTarget } from './target.ts';

/** An input that broke a rule. */
export interface Finding {
  readonly rule: 'only the typed error escapes' | 'no input takes long';
  readonly bytes: Uint8Array;
  readonly what: string;
}

export interface FuzzOptions {
  /** CPU time to spend. */
  readonly cpuMs: number;
  /** Same seed, same inputs, as far as the time reaches. */
  readonly seed: number;
  readonly coverage: Coverage;
  /** Inputs of earlier runs. */
  readonly corpus?: readonly Uint8Array[];
  /** Told of each input that reached something new. */
  readonly onNew?: (bytes: Uint8Array) => void;
  /** Told of each input before it is run. */
  readonly onRun?: (bytes: Uint8Array) => void;
}

export interface FuzzReport {
  readonly runs: number;
  /** Inputs that reached something that none before did, seeds among them. */
  readonly corpus: readonly Uint8Array[];
  readonly findings: readonly Finding[];
}

const BATCH = 64;
const MAX_CORPUS = 4000;
const MAX_FINDINGS = 8;
const MAX_INPUT_BYTES = 32 * 1024;
/** CPU time of one input of at most 32 KiB. */
const MAX_RUN_MS = 1000;

/**
 * Coverage-guided fuzzing: changes inputs, and keeps those which reach new blocks or counts of blocks, for further
 * changes. Coverage is asked for once in 64 runs; only where something is new are they run again one by one.
 */
export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzReport> {
  const { coverage } = options;
  const mutator = new Mutator(new Random(options.seed), target.words ?? [], Math.min(target.maxBytes, MAX_INPUT_BYTES));
  const until = cpuMs() + options.cpuMs;
  const corpus: Uint8Array[] = [];
  const findings = new Map<string, Finding>();
  let runs = 0;
  const run = async (bytes: Uint8Array) => {
    runs++;
    options.onRun?.(bytes);
    const finding = await tryInput(target, bytes);
    if (finding !== undefined && findings.size < MAX_FINDINGS) findings.set(kindOf(finding), finding);
  };
  const keepNew = async (batch: readonly Uint8Array[]) => {
    for (const bytes of batch) {
      await run(bytes);
      if (!coverage.hasNewCounts() || corpus.length >= MAX_CORPUS) continue;
      corpus.push(bytes);
      options.onNew?.(bytes);
    }
  };
  coverage.hasNewBlocks();
  const seeds = [...target.seeds(), ...(options.corpus ?? []), new Uint8Array()];
  await keepNew(seeds.map((seed) => seed.slice(0, MAX_INPUT_BYTES)));
  if (corpus.length === 0) corpus.push(...seeds);
  for (let round = 1; cpuMs() < until; round++) {
    const batch = Array.from({ length: BATCH }, () => mutator.next(corpus));
    if (round % 16 === 0) await keepNew(batch);
    else {
      for (const bytes of batch) await run(bytes);
      if (coverage.hasNewBlocks()) await keepNew(batch);
    }
  }
  return { runs, corpus, findings: [...findings.values()] };
}

async function tryInput(target: FuzzTarget, bytes: Uint8Array): Promise<Finding | undefined> {
  const before = cpuMs();
  const outcome = await outcomeOf(target, bytes);
  const spentMs = cpuMs() - before;
  if ('escaped' in outcome) return { rule: 'only the typed error escapes', bytes, what: stackOf(outcome.escaped) };
  if (spentMs > MAX_RUN_MS) return { rule: 'no input takes long', bytes, what: `${Math.round(spentMs)} ms of CPU` };
  return undefined;
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Findings of one cause count once: by the error's first line and the place that threw it. */
function kindOf({ rule, what }: Finding): string {
  const [first = '', second = ''] = what.split('\n');
  return [rule, first.replace(/\d+/g, 'N').slice(0, 80), second].join('\n');
}

/** The shortest input that removing parts of `bytes` leads to, and that still breaks a rule. */
export async function shrink(target: FuzzTarget, finding: Finding): Promise<Finding> {
  let best = finding;
  for (let part = Math.ceil(best.bytes.length / 2); part >= 1; part = Math.floor(part / 2)) {
    for (let at = 0; at + part <= best.bytes.length; ) {
      const bytes = new Uint8Array([...best.bytes.subarray(0, at), ...best.bytes.subarray(at + part)]);
      const shorter = await tryInput(target, bytes);
      if (shorter !== undefined && kindOf(shorter) === kindOf(finding)) best = shorter;
      else at += part;
    }
  }
  return best;
}
