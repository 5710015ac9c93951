import { isSea } from 'node:sea';
import { LacreError } from './lacre-error.ts';

/** Variables by which Node, OpenSSL, libuv or the dynamic linker would run or trust something else. */
const BANNED = /^(NODE_|OPENSSL_|SSL_|UV_|LD_|GLIBC_TUNABLES$|GCONV_PATH$)/;

/** The variables of an environment that a closed program does not take. */
export function bannedVariables(environment: Readonly<Record<string, string | undefined>>): string[] {
  return Object.keys(environment).filter((name) => BANNED.test(name));
}

/** As process.execve: it does not return where it succeeds, and Node ends the process where it fails. */
type Replace = (file: string, args: readonly string[], environment: Readonly<Record<string, string>>) => void;

/**
 * First step of the executable: where a variable is set that could change what runs or whom TLS believes, the program
 * starts itself once more without it. Returns only in a clean environment; run from sources it does nothing.
 * Codes: agent.environment.
 */
export function harden(): void {
  if (isSea()) startClean(process.env, process.execve?.bind(process));
}

/**
 * Replaces this process by itself without the banned variables; nothing where none is set. Where a platform cannot
 * replace a process, or it went on nevertheless, nothing more is run. Codes: agent.environment.
 */
export function startClean(
  environment: Readonly<Record<string, string | undefined>>,
  replace: Replace | undefined,
): void {
  const banned = bannedVariables(environment);
  if (banned.length === 0) return;
  const kept = Object.entries(environment).filter(([name]) => !BANNED.test(name));
  const clean = Object.fromEntries(kept.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
  replace?.(process.execPath, [process.execPath, ...process.argv.slice(2)], clean);
  throw new LacreError('agent.environment', `these variables must not be set: ${banned.join(', ')}`);
}
