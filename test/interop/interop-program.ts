import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** A program of the interop tests, or why it is not there. */
export type InteropProgram = { readonly path: string } | { readonly absent: string };

const VARIABLES = {
  'spire-server': 'LACRE_SPIRE_SERVER',
  'spire-agent': 'LACRE_SPIRE_AGENT',
  firstsvid: 'LACRE_FIRSTSVID',
} as const;

/**
 * Finds or builds one of the Go programs: the path in its environment variable, else scripts/build-spire.mjs. Where there is
 * no Go a test may be skipped with the reason given; with CI=true it is an error, so that CI never passes over it.
 */
export function interopProgram(name: keyof typeof VARIABLES): InteropProgram {
  const given = process.env[VARIABLES[name]];
  if (given !== undefined && given !== '') {
    if (existsSync(given)) return { path: given };
    throw new Error(`${VARIABLES[name]} names ${given}, which does not exist`);
  }
  const script = join(import.meta.dirname, '..', '..', 'scripts', 'build-spire.mjs');
  const { status, stdout } = spawnSync(process.execPath, [script, name], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status === 0) return { path: stdout.trim() };
  if (status === 5 && process.env['CI'] !== 'true')
    return { absent: `${name} is not built: there is no Go on this machine` };
  throw new Error(`${name} could not be built`);
}
