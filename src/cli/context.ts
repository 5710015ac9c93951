import type { Command } from 'commander';
import { AdminClient, DEFAULT_ADMIN_SOCKET } from './admin-client.ts';
import { Output, type OutputFormat } from './output.ts';

/** What every command gets: where to write, and calls to the server. */
export interface CommandContext {
  readonly output: Output;
  readonly admin: AdminClient;
}

interface GlobalOptions {
  readonly output: OutputFormat;
  readonly socket?: string;
}

/** The action of a command that talks to the server's admin socket; the connection ends with it. */
export function withAdmin<Options, Args extends unknown[]>(
  run: (context: CommandContext, options: Options, ...args: Args) => Promise<void>,
): (...parameters: unknown[]) => Promise<void> {
  return async (...parameters) => {
    const command = parameters.at(-1) as Command;
    const args = parameters.slice(0, -2) as Args;
    const options = command.optsWithGlobals() as GlobalOptions & Options;
    using admin = new AdminClient(adminSocket(options));
    await admin.call(() => run({ output: new Output(options.output), admin }, options, ...args));
  };
}

/** The output of a command that needs no server. */
export function outputOf(command: Command): Output {
  return new Output((command.optsWithGlobals() as GlobalOptions).output);
}

function adminSocket(options: GlobalOptions): string {
  return options.socket ?? process.env['LACRE_ADMIN_SOCKET'] ?? DEFAULT_ADMIN_SOCKET;
}
