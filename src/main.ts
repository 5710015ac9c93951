import { harden } from './harden.ts';
import { LacreError } from './lacre-error.ts';
import { VERSION } from './version.ts';

/**
 * The program: `lacre <command>`. What a command needs is loaded when it is called; an agent that runs for months on
 * every node does not load the command line at all.
 */
async function main(argv: readonly string[]): Promise<void> {
  const [program, action, option, file, ...flags] = argv;
  if (program === 'agent' && action === 'run' && option === '--config' && file !== undefined) {
    const { runAgent } = await import('./agent/run.ts');
    await runAgent(file, flags);
    return;
  }
  const { runCommandLine } = await import('./cli/main.ts');
  process.exitCode = await runCommandLine(argv, VERSION);
}

try {
  harden();
  main(process.argv.slice(2)).catch(fail);
} catch (error) {
  fail(error);
}

function fail(error: unknown): void {
  const known = error instanceof LacreError ? ` (${error.code})` : '';
  process.stderr.write(`lacre: ${error instanceof Error ? error.message : String(error)}${known}\n`);
  process.exit(error instanceof LacreError ? error.exitCode : 1);
}
