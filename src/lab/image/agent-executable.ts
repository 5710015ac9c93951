import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { runProgram } from '../program.ts';

const PROJECT = join(import.meta.dirname, '../../..');

export interface AgentExecutable {
  readonly path: string;
  readonly sha256: string;
  /** The native part that the executable carries, and puts into its data folder at its start. */
  readonly native: string;
}

/** Makes dist/lacre where its sources have changed. */
export async function buildAgent(signal: AbortSignal): Promise<AgentExecutable> {
  await runProgram(process.execPath, [join(PROJECT, 'scripts/build-executable.ts')], { cwd: PROJECT, signal });
  const path = join(PROJECT, 'dist/lacre');
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return { path, sha256: hash.digest('hex'), native: join(PROJECT, 'build/native/lacre.node') };
}
