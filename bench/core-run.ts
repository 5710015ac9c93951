import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { SEA } from '../scripts/build-executable.ts';

/** Runs a script of bench/core on one core, with the flags of the shipped executable; gives the JSON that it prints. */
export function runCore<T>(script: string, ...args: (string | number)[]): Promise<T> {
  const flags = SEA.execArgv.filter((flag) => flag !== '--disable-sigusr1');
  return runOnOneCore(process.execPath, [...flags, path(script), ...args.map(String)]);
}

export async function runOnOneCore<T>(command: string, args: readonly string[]): Promise<T> {
  const { stdout } = await promisify(execFile)('taskset', ['-c', '0', command, ...args], { timeout: 300_000 });
  return JSON.parse(stdout) as T;
}

export function path(script: string): string {
  return fileURLToPath(new URL(`core/${script}`, import.meta.url));
}
