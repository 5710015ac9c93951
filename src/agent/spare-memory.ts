import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Native } from './native.ts';

const EVERY_MS = 10_000;
/** Less CPU than this in an interval is rest. */
const REST_CPU_MS = 120;
/** Intervals of rest after which, once, memory is given back: the next of several crowds would wait for what that costs. */
const RESTS = 3;

/**
 * Keeps the agent's memory small until it ends. It does little and often: what the optimizing compiler would take of
 * memory is worth more than what it would save of time; what the start or a crowd left behind goes when it is over:
 * garbage, free memory of malloc, pages of Node that nothing uses any more.
 */
export function spareMemory(native: Pick<Native, 'releaseMemory'>): void {
  setFlagsFromString('--no-opt');
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let rests = 0;
  let before = cpuMs();
  setInterval(() => {
    const now = cpuMs();
    rests = now - before > REST_CPU_MS ? 0 : rests + 1;
    if (rests === RESTS) {
      collect();
      native.releaseMemory();
    }
    before = cpuMs();
  }, EVERY_MS).unref();
}

/** Of this process, since it began, in milliseconds. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
