import { parseArgs } from 'node:util';
import { LacreError } from '../lacre-error.ts';
import { DEFAULT_KERNEL } from './image/root-archive.ts';
import { labDown, labUp } from './lab.ts';

// The lab on its own: node src/lab/main.ts up [--kernel SERIES] [--spire | --reads | --grades | --attacks] [--keep] [--output json] | down
try {
  const { values, positionals } = parseArgs({
    options: {
      keep: { type: 'boolean', default: false },
      spire: { type: 'boolean', default: false },
      reads: { type: 'boolean', default: false },
      grades: { type: 'boolean', default: false },
      attacks: { type: 'boolean', default: false },
      kernel: { type: 'string', default: DEFAULT_KERNEL },
      output: { type: 'string', default: 'text' },
    },
    allowPositionals: true,
  });
  const { output, ...options } = values;
  process.exitCode = positionals[0] === 'down' ? await labDown() : await labUp({ ...options, json: output === 'json' });
} catch (error) {
  process.stderr.write(`lacre: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof LacreError ? error.exitCode : 1;
}
