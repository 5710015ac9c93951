import { dirname, join } from 'node:path';
import type { Mutant } from './mutant.ts';
import { ROOT } from './test-files.ts';
import type { RecordedTest } from './worker-messages.ts';
import { type Outcome, WorkerProcess } from './worker-process.ts';

export type Status =
  /** A test fails. */
  | 'killed'
  /** The tests no longer end: a loop without one. */
  | 'timeout'
  /** The file no longer loads, or the process ends. */
  | 'crash'
  /** Tests reach the place, and none notices. */
  | 'survived'
  /** No test reaches it. */
  | 'unreached';

export interface Result {
  readonly mutant: Mutant;
  status: Status | undefined;
  /** Test file and test that failed. */
  killer?: string;
}

/** A test file as it ran with no mutant on. */
export interface RecordedFile {
  readonly file: string;
  readonly tests: readonly RecordedTest[];
  /** Mutants whose place is reached when it is loaded. */
  readonly loads: ReadonlySet<number>;
}

const START_BOUND_MS = 5000;
const RECORD_BOUND_MS = 300_000;

/** Runs a test file once with no mutant on. Throws where a test fails: nothing can be told from it then. */
export async function recordFile(file: string, manifestPath: string): Promise<RecordedFile> {
  const { worker, outcome } = await WorkerProcess.start([join(ROOT, file)], manifestPath, 0, START_BOUND_MS);
  using _ = worker;
  if (outcome.kind !== 'loaded') throw new Error(`${file} does not load: ${JSON.stringify(outcome)}`);
  const loads = new Set(outcome.reached);
  const recorded = await worker.run({ kind: 'record' }, RECORD_BOUND_MS);
  if (recorded.kind !== 'recorded') throw new Error(`${file}: ${recorded.kind}`);
  const failed = recorded.tests.find((test) => test.failure !== undefined);
  if (failed !== undefined) throw new Error(`${file}: "${failed.name}" fails with no mutant on: ${failed.failure}`);
  return { file, tests: recorded.tests, loads };
}

/** Twice what a test took while it was recorded, which is slower, and a second. */
function boundCpuMs(recordedMs = 0): number {
  return 1000 + 2 * recordedMs;
}

/**
 * First, one process a test file: each undecided mutant with the tests that reach it, quickest first. A kill counts
 * when the same test passes again with the mutant off; else the process is started anew and the mutant tried again.
 */
export async function tryInOneProcess(
  recorded: RecordedFile,
  results: readonly Result[],
  manifestPath: string,
  slowestCpuMs = Number.POSITIVE_INFINITY,
): Promise<void> {
  let worker: WorkerProcess | undefined;
  const renew = async (): Promise<WorkerProcess> => {
    worker?.[Symbol.dispose]();
    const started = await WorkerProcess.start([join(ROOT, recorded.file)], manifestPath, 0, START_BOUND_MS);
    if (started.outcome.kind !== 'loaded') throw new Error(`${recorded.file} loads no more: ${started.outcome.kind}`);
    worker = started.worker;
    return worker;
  };
  for (const result of results.filter((candidate) => candidate.status === undefined)) {
    const tests = testsFor(recorded, result.mutant.id).filter(
      (index) => (recorded.tests[index]?.cpuMs ?? 0) <= slowestCpuMs,
    );
    if (tests.length === 0) continue;
    const order = { kind: 'try', mutant: result.mutant.id, tests } as const;
    const attempt = async (one: WorkerProcess) =>
      one.run(order, START_BOUND_MS, (test) => boundCpuMs(recorded.tests[test]?.cpuMs));
    let outcome = await attempt(worker ?? (await renew()));
    if (outcome.kind === 'tried' && outcome.poisoned) outcome = await attempt(await renew());
    if (outcome.kind !== 'tried' || outcome.poisoned) await renew();
    decide(result, outcome, recorded.file);
  }
  worker?.[Symbol.dispose]();
}

function testsFor(recorded: RecordedFile, id: number): number[] {
  return [...recorded.tests.keys()]
    .filter((index) => recorded.tests[index]?.reached.includes(id))
    .toSorted((a, b) => (recorded.tests[a]?.cpuMs ?? 0) - (recorded.tests[b]?.cpuMs ?? 0));
}

/** Whether all tests pass in one process that has loaded all files, so that one can try a mutant with all of them. */
export async function passTogether(recorded: readonly RecordedFile[], manifestPath: string): Promise<boolean> {
  const whole = recorded.map((file) => ({ file, tests: [...file.tests.keys()] }));
  const outcome = await tryTogether(whole, 0, manifestPath);
  return outcome.kind === 'tried' && outcome.killer === undefined;
}

/**
 * Then, a process of its own for a mutant that is left, on from the start: what runs while files are loaded, and what
 * was computed once and kept. A place reached on loading is tried with all tests of the files that use its file.
 * @param together whether one process may load all files (passTogether); else each has one.
 */
export async function tryFromTheStart(
  result: Result,
  recorded: readonly RecordedFile[],
  idsOfFile: ReadonlySet<number>,
  manifestPath: string,
  together: boolean,
): Promise<void> {
  const { id, file } = result.mutant;
  const onLoad = recorded.some((candidate) => candidate.loads.has(id));
  const uses = (candidate: RecordedFile): boolean =>
    candidate.tests.some((test) => test.reached.some((reached) => idsOfFile.has(reached)));
  const sameLink = (candidate: RecordedFile): boolean => candidate.file.startsWith(dirname(file));
  const users = recorded.filter((candidate) => candidate.loads.has(id) && uses(candidate));
  const whole =
    users.length > 0 ? users : recorded.filter((candidate) => candidate.loads.has(id) && sameLink(candidate));
  const reaching = recorded.filter((candidate) => testsFor(candidate, id).length > 0);
  const parts = (onLoad ? whole : reaching).map((candidate): Part => {
    const tests = onLoad ? [...candidate.tests.keys()] : testsFor(candidate, id);
    return { file: candidate, tests };
  });
  // A file's own tests notice most of what is changed in it, and are loaded in a moment.
  const own = parts.filter((part) => part.file.file === file.replace(/\.ts$/, '.test.ts'));
  const others = parts.filter((part) => !own.includes(part));
  for (const some of together ? [own, others] : parts.map((part) => [part])) {
    if (some.length === 0) continue;
    const outcome = await tryTogether(some, id, manifestPath);
    const killer = outcome.kind === 'tried' ? outcome.killer : undefined;
    const killing = some.find((part) => part.file.tests.some(({ name }) => name === killer));
    decide(result, outcome, killing?.file.file ?? '');
    if (result.status !== undefined) return;
  }
  result.status = onLoad || reaching.length > 0 ? 'survived' : 'unreached';
}

/** Tests of a file, by their place in it. */
interface Part {
  readonly file: RecordedFile;
  readonly tests: readonly number[];
}

/** All these tests, quickest first, in a process in which the mutant is on from the start. */
async function tryTogether(parts: readonly Part[], mutant: number, manifestPath: string): Promise<Outcome> {
  const paths = parts.map(({ file }) => join(ROOT, file.file));
  const start = await WorkerProcess.start(paths, manifestPath, mutant, START_BOUND_MS);
  using worker = start.worker;
  if (start.outcome.kind !== 'loaded') return start.outcome;
  const counts = start.outcome.tests;
  const cpuMs = new Map<number, number>();
  for (const [index, { file, tests }] of parts.entries()) {
    const before = counts.slice(0, index).reduce((sum, count) => sum + count, 0);
    for (const test of tests) cpuMs.set(before + test, file.tests[test]?.cpuMs ?? 0);
  }
  const tests = [...cpuMs.keys()].toSorted((a, b) => (cpuMs.get(a) ?? 0) - (cpuMs.get(b) ?? 0));
  return await worker.run({ kind: 'try', mutant, tests }, START_BOUND_MS, (test) => boundCpuMs(cpuMs.get(test)));
}

function decide(result: Result, outcome: Outcome, file: string): void {
  if (outcome.kind === 'timeout') result.status = 'timeout';
  else if (outcome.kind === 'crashed' || outcome.kind === 'broken') result.status = 'crash';
  else if (outcome.kind === 'tried' && outcome.killer !== undefined) {
    result.status = 'killed';
    result.killer = `${file}: ${outcome.killer}`;
  }
}
