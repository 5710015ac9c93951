import { runServer } from '../../src/server/run.ts';

const [, , file = ''] = process.argv;
await runServer(file, []);
process.exit(0);
