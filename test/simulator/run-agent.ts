import { runAgent } from '../../src/agent/run.ts';

const [, , file = ''] = process.argv;
await runAgent(file);
process.exit(0);
