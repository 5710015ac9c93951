import { CommanderError } from 'commander';
import { isLacreError } from '../lacre-error.ts';

/** Says on stderr what went wrong, as JSON where the results are JSON, and returns the exit status. */
export function reportError(error: unknown, asJson: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const code = isLacreError(error) ? error.code : 'cli.unexpected';
  const message = error instanceof Error ? error.message : String(error);
  const body = asJson ? JSON.stringify({ error: { code, message } }) : `lacre: ${message} (${code})`;
  process.stderr.write(`${body}\n`);
  if (!isLacreError(error) && process.env['LACRE_DEBUG'] && error instanceof Error)
    process.stderr.write(`${error.stack}\n`);
  return isLacreError(error) ? error.exitCode : 1;
}
