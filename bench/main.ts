/** `npm run bench [-- --only NAME[,NAME]] [--quick] [--output json] [--list] [--profile FOLDER] [--accept]`: docs/performance.md. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { VERSION } from '../src/version.ts';
import { acceptRatios, compareText } from './baseline.ts';
import { Bed } from './bed.ts';
import { watchInterrupts } from './interrupt.ts';
import { describeMachine, machineSentence } from './machine.ts';
import type { Context, Measure } from './measure.ts';
import { MEASURES } from './measures.ts';
import { reportHtml } from './report.ts';
import type { Ran, Results } from './results.ts';
import { tableText } from './table.ts';

const started = performance.now();
const root = dirname(dirname(fileURLToPath(import.meta.url)));

function say(text: string): void {
  process.stderr.write(`[${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s] ${text}\n`);
}

function chosen(only: string | undefined): readonly Measure[] {
  if (only === undefined) return MEASURES.filter(({ onRequest }) => onRequest !== true);
  const names = only.split(',');
  const unknown = names.filter((name) => !MEASURES.some((measure) => measure.name === name));
  if (unknown.length > 0) throw new Error(`there is no measure ${unknown.join(', ')}: see --list`);
  return MEASURES.filter(({ name }) => names.includes(name));
}

/** The shared node: made when it is first asked for, and anew after a measure that spoils it. */
class SharedBed {
  readonly #profiles: string | undefined;
  #bed: Promise<Bed> | undefined;

  constructor(profiles: string | undefined) {
    this.#profiles = profiles;
  }

  async with(containers: number): Promise<Bed> {
    this.#bed ??= Bed.create(say, { profiles: this.#profiles });
    const bed = await this.#bed;
    await bed.grow(containers);
    return bed;
  }

  async end(): Promise<void> {
    const bed = this.#bed;
    this.#bed = undefined;
    await (await bed?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }
}

async function runAll(measures: readonly Measure[], quick: boolean, profiles: string | undefined): Promise<Ran[]> {
  const shared = new SharedBed(profiles);
  const context: Context = { quick, say, bed: (containers) => shared.with(containers) };
  const ran: Ran[] = [];
  for (const { name, about, endsBed, run } of measures) {
    say(`${name}: ${about}`);
    const began = performance.now();
    const seconds = () => Math.round((performance.now() - began) / 100) / 10;
    try {
      const outcome = await run(context);
      ran.push({ name, about, seconds: seconds(), outcome });
    } catch (error) {
      const failure = error instanceof Error ? error.message : String(error);
      say(`${name} failed: ${error instanceof Error ? error.stack : failure}`);
      ran.push({ name, about, seconds: seconds(), failure: failure.split('\n')[0] ?? failure });
      await shared.end();
    }
    if (endsBed === true) await shared.end();
  }
  await shared.end();
  return ran;
}

/** CPU profiles of the shared node's programs are for development: sampling slows them. */
async function profilesFolder(folder: string | undefined): Promise<string | undefined> {
  if (folder === undefined) return undefined;
  await mkdir(folder, { recursive: true });
  return resolve(folder);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      output: { type: 'string', default: 'table' },
      accept: { type: 'boolean', default: false },
      profile: { type: 'string' },
      list: { type: 'boolean', default: false },
    },
  });
  if (values.list) {
    for (const { name, about } of MEASURES) process.stdout.write(`${name.padEnd(18)} ${about}\n`);
    return;
  }
  watchInterrupts();
  const machine = describeMachine();
  say(machineSentence(machine));
  const measures = await runAll(chosen(values.only), values.quick, await profilesFolder(values.profile));
  const results: Results = { at: new Date().toISOString(), version: VERSION, quick: values.quick, machine, measures };
  const folder = join(root, 'build/bench');
  await mkdir(folder, { recursive: true });
  const json = `${JSON.stringify(results, undefined, 1)}\n`;
  await writeFile(join(folder, 'results.json'), json);
  await writeFile(join(folder, 'report.html'), reportHtml(results));
  process.stdout.write(values.output === 'json' ? json : `${machineSentence(machine)}\n\n${tableText(results)}\n`);
  process.stderr.write(`\n${compareText(results)}\n\n`);
  if (values.accept) acceptRatios(results);
  say('build/bench/results.json, build/bench/report.html');
  if (measures.some(({ failure }) => failure !== undefined)) process.exitCode = 1;
}

await main().catch((error: unknown) => {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
});
