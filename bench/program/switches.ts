/**
 * What the bench can change in a running program, and nothing else can: this file is in no executable that is shipped.
 * LACRE_BENCH_SWITCHES names a file of JSON that is read at every SIGUSR2; the answer goes to the file's name with ".done".
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Batcher } from '../../src/agent/batcher.ts';

/** What is asked of the program. */
export interface Switches {
  /** Of this order: told back in the answer. */
  readonly order: number;
  /** Requests take no evidence that is older than they are. */
  readonly underQuote: boolean;
  /** The delay of the event loop is watched from now on; false: no more. */
  readonly watchDelay: boolean;
  /** A CPU profile is written here of the time from now until the next order. */
  readonly profile?: string;
}

/** What the program answers: what was seen since it was asked to watch, in milliseconds; CPU time since its start. */
export interface SwitchesDone {
  readonly order: number;
  readonly delayMs?: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly cpuMs: number;
}

const RESOLUTION_MS = 10;
const path = process.env['LACRE_BENCH_SWITCHES'];
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
let underQuote = false;
let watching = false;
let profiling: { readonly session: Session; readonly path: string } | undefined;

function turn(file: string): void {
  const asked = JSON.parse(readFileSync(file, 'utf8')) as Switches;
  underQuote = asked.underQuote;
  const delayMs = watching ? seen() : undefined;
  if (asked.watchDelay) {
    delay.reset();
    delay.enable();
  } else delay.disable();
  watching = asked.watchDelay;
  endProfile();
  if (asked.profile !== undefined) beginProfile(asked.profile);
  const { user, system } = process.cpuUsage();
  const done: SwitchesDone = { order: asked.order, cpuMs: (user + system) / 1000, ...(delayMs && { delayMs }) };
  writeFileSync(`${file}.new`, JSON.stringify(done));
  renameSync(`${file}.new`, `${file}.done`);
}

/** The histogram holds the time between two of its own timers: what is over their period is delay. */
function seen() {
  const over = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
  return { p50: over(delay.percentile(50)), p99: over(delay.percentile(99)), max: over(delay.max) };
}

function beginProfile(to: string): void {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: 250 });
  session.post('Profiler.start');
  profiling = { session, path: to };
}

/** The callback comes before post returns. */
function endProfile(): void {
  const ended = profiling;
  profiling = undefined;
  ended?.session.post('Profiler.stop', (error, result) => {
    if (error === null) writeFileSync(ended.path, JSON.stringify(result.profile));
  });
  ended?.session.disconnect();
}

if (path !== undefined) {
  const ask = Batcher.prototype.ask;
  Batcher.prototype.ask = function (what, options = {}) {
    return ask.call(this, what, underQuote ? { ...options, underQuote } : options);
  };
  process.on('SIGUSR2', () => turn(path));
}
