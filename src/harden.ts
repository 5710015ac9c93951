import { isSea } from 'node:sea';
import { LacreError } from './lacre-error.ts';

/** Variables by which Node, OpenSSL, libuv or the dynamic linker would run or trust something else. */
const BANNED = /^(NODE_|OPENSSL_|SSL_|UV_|LD_|GLIBC_TUNABLES$|GCONV_PATH$)/;

/** The variables of an environment that a closed program does not take. */
export function bannedVariables(environment: Readonly<Record<string, string | undefined>>): string[] {
  return Object.keys(environment).filter((name) => BANNED.test(name));
}

/**
 * First step of the executable: where a variable is set that could change what runs or whom TLS believes, the program
 * starts itself once more without it. Returns only in a clean environment; run from sources it does nothing.
 * Codes: agent.environment.
 */
export function harden(): void {
  if (!isSea() || bannedVariables(process.env).length === 0) return;
  const banned = bannedVariables(process.env);
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !BANNED.test(name)));
  const replace = process.execve;
  if (replace !== undefined)
    replace.call(process, process.execPath, [process.execPath, ...process.argv.slice(2)], clean);
  throw new LacreError('agent.environment', `these variables must not be set: ${banned.join(', ')}`);
}
