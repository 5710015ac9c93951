import { harden } from './harden.ts';
import { VERSION } from './version.ts';

/** The program: `lacre <command>`. What a command needs is loaded when it is called. */
async function main(): Promise<void> {
  const { runCommandLine } = await import('./cli/main.ts');
  process.exitCode = await runCommandLine(process.argv.slice(2), VERSION);
}

try {
  harden();
  main().catch(fail);
} catch (error) {
  fail(error);
}

function fail(error: unknown): void {
  process.stderr.write(`lacre: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
