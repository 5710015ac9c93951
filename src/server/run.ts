import { readFile } from 'node:fs/promises';
import { isSea } from 'node:sea';
import { flagValues } from '../config-file.ts';
import { LacreError } from '../lacre-error.ts';
import { comeFirst } from '../priority.ts';
import { stopSignal } from '../stop-signal.ts';
import { parseConfig, type ServerConfig } from './config.ts';
import { startServer } from './server.ts';

/**
 * Runs the server until SIGTERM or SIGINT. The environment (LACRE_SERVER_…) goes over the file, flags over both.
 * @param flags further arguments: "--ca-svid-ttl", "5m", …
 * Codes: server.config.invalid, and those of startServer.
 */
export async function runServer(file: string, flags: readonly string[]): Promise<void> {
  if (isSea()) comeFirst();
  const asked = stopSignal();
  const server = await startServer(await loadServerConfig(file, flags));
  await asked;
  await server.close();
}

async function loadServerConfig(file: string, flags: readonly string[]): Promise<ServerConfig> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new LacreError(
      'server.config.invalid',
      `${file} cannot be read: ${cause.code ?? cause.message}`,
      { file },
      { cause },
    );
  });
  return parseConfig(file, text, { environment: process.env, flags: flagValues(flags, 'server.config.invalid') });
}
