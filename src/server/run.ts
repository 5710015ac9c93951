import { readFile } from 'node:fs/promises';
import { LacreError } from '../lacre-error.ts';
import { parseConfig, type ServerConfig } from './config.ts';
import { CONFIG_SETTINGS, environmentOverrides, flagOverrides } from './config-override.ts';
import { startServer } from './server.ts';

/**
 * Runs the server until SIGTERM or SIGINT. The environment (LACRE_SERVER_…) goes over the file, flags over both.
 * @param flags further arguments: "--ca-svid-ttl", "5m", …
 * Codes: server.config.invalid, and those of startServer.
 */
export async function runServer(file: string, flags: readonly string[]): Promise<void> {
  const server = await startServer(await loadServerConfig(file, flags));
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
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
  return parseConfig(file, text, [...environmentOverrides(process.env), ...flagOverrides(flagValues(flags))]);
}

/** "--name value" and "--name=value" as a map; anything that is no setting is refused. */
function flagValues(flags: readonly string[]): Record<string, string> {
  const values: Record<string, string> = {};
  for (let at = 0; at < flags.length; at++) {
    const [name = '', inline] = (flags[at] ?? '').split(/=(.*)/s, 2);
    if (!CONFIG_SETTINGS.some(({ flag }) => flag === name))
      throw new LacreError('server.config.invalid', `${name} is no setting of the server (docs/server.md)`);
    const value = inline ?? flags[++at];
    if (value === undefined) throw new LacreError('server.config.invalid', `${name} needs a value`);
    values[name.slice(2)] = value;
  }
  return values;
}
