import { LacreError } from '../lacre-error.ts';
import { labDown, labUp } from './lab.ts';

// The lab on its own: node src/lab/main.ts up [--spire] [--keep] [--output json] | down
const args = process.argv.slice(2);
try {
  process.exitCode =
    args[0] === 'down'
      ? await labDown()
      : await labUp({
          keep: args.includes('--keep'),
          spire: args.includes('--spire'),
          json: args.includes('json'),
        });
} catch (error) {
  process.stderr.write(`lacre: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof LacreError ? error.exitCode : 1;
}
