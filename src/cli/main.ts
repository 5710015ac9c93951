import { Command, Option } from 'commander';
import { addApiCommands } from './api.ts';
import { addBundleCommands } from './bundle.ts';
import { addCompletion } from './completion.ts';
import { addEntryCommands } from './entry.ts';
import { addNodeCommands } from './node.ts';
import { addProgramCommands } from './programs.ts';
import { addReferenceCommands } from './reference.ts';
import { reportError } from './report-error.ts';
import { addSpireCommands } from './spire.ts';
import { addTpmCommands } from './tpm.ts';
import { addWorkloadCommands } from './workload.ts';

/** The whole command line, without running it. */
export function buildProgram(version: string): Command {
  const program = new Command('lacre')
    .description(
      'SPIFFE identities for workloads, only while TPM-rooted evidence shows that host and container run what they should',
    )
    .version(version)
    .addOption(new Option('--output <format>', 'how results are printed').choices(['text', 'json']).default('text'))
    .option(
      '--socket <path>',
      "the server's admin socket (default: LACRE_ADMIN_SOCKET, else /run/lacre/server/admin.sock)",
    )
    .showHelpAfterError('(--help shows how)')
    .showSuggestionAfterError()
    .exitOverride()
    .addHelpText(
      'after',
      '\nExit status: 0 done, 1 fault, 2 wrong usage or input, 3 refused, 4 not found, 5 unavailable. Colour obeys NO_COLOR.',
    );
  addProgramCommands(program);
  addSpireCommands(program);
  addNodeCommands(program);
  addReferenceCommands(program);
  addTpmCommands(program);
  addEntryCommands(program);
  addWorkloadCommands(program);
  addBundleCommands(program);
  addApiCommands(program);
  inherit(program);
  addCompletion(program);
  return program;
}

/** Runs one command line, `argv` without the program's name, and returns the exit status. */
export async function runCommandLine(argv: readonly string[], version: string): Promise<number> {
  const program = buildProgram(version);
  // A reader that has enough (head, less) ends the output, not the command's work.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  try {
    await program.parseAsync(argv, { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    return reportError(error, program.opts()['output'] === 'json');
  }
}

/** exitOverride and the error hints hold for subcommands too, also for those made before. */
function inherit(command: Command): void {
  for (const sub of command.commands) {
    sub.copyInheritedSettings(command);
    if (command.parent === null)
      sub.addOption(new Option('--output <format>', 'how results are printed').choices(['text', 'json']).hideHelp());
    inherit(sub);
  }
}
