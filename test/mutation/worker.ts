/** Loads test files, and runs their tests as often as it is told, each time with another mutant. */
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, collected } from './collector.ts';
import { SWITCH } from './instrument.ts';
import { mutation } from './switch.ts';
import type { Answer, Order, RecordedTest } from './worker-messages.ts';

let outOfTurn: ((error: unknown) => void) | undefined;
for (const event of ['uncaughtException', 'unhandledRejection'])
  process.on(event, (error) => {
    outOfTurn?.(error);
  });

function answer(message: Answer): void {
  process.send?.(message);
}

function reachedIds(): number[] {
  return [...mutation.reached.keys()].filter((id) => mutation.reached[id] === 1);
}

/** The failure of a test, or undefined. What is thrown out of turn while it runs is its failure too. */
async function failureOf(index: number): Promise<string | undefined> {
  try {
    await new Promise<void>((resolve, reject) => {
      outOfTurn = reject;
      Promise.resolve(collected[index]?.run()).then(() => resolve(), reject);
    });
    return undefined;
  } catch (error) {
    return String(error).slice(0, 300) || 'failed';
  } finally {
    outOfTurn = undefined;
  }
}

async function record(): Promise<Answer> {
  const tests: RecordedTest[] = [];
  for (const [index, { name }] of collected.entries()) {
    mutation.reached.fill(0);
    const before = process.cpuUsage();
    const failure = await failureOf(index);
    const { user, system } = process.cpuUsage(before);
    tests.push({
      name,
      cpuMs: (user + system) / 1000,
      reached: reachedIds(),
      ...(failure !== undefined && { failure }),
    });
  }
  return { kind: 'recorded', tests };
}

async function tryMutant(mutant: number, tests: readonly number[]): Promise<Answer> {
  mutation.active = mutant;
  // From here on nothing is recorded: the question alone is several times as fast.
  Object.defineProperty(globalThis, SWITCH, { configurable: true, value: (id: number) => id === mutation.active });
  for (const index of tests) {
    answer({ kind: 'begins', test: index });
    const failure = await failureOf(index);
    if (failure === undefined) continue;
    mutation.active = 0;
    const poisoned = (await failureOf(index)) !== undefined;
    return { kind: 'tried', killer: collected[index]?.name ?? '', poisoned };
  }
  return { kind: 'tried', poisoned: false };
}

process.on('message', async (order: Order) => {
  answer(order.kind === 'record' ? await record() : await tryMutant(order.mutant, order.tests));
});
process.on('disconnect', async () => {
  for (const run of afterAll) await run();
  process.exit(0);
});
try {
  const tests: number[] = [];
  for (const file of process.argv.slice(2)) {
    const before = collected.length;
    await import(pathToFileURL(file).href);
    tests.push(collected.length - before);
  }
  for (const run of beforeAll) await run();
  answer({ kind: 'loaded', reached: reachedIds(), tests });
} catch (error) {
  answer({ kind: 'broken', error: String(error).slice(0, 300) });
}
