import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LacreError } from '../lacre-error.ts';
import type { LabRun } from './lab-folder.ts';
import { runProgram, startService } from './program.ts';

export const TRUST_DOMAIN = 'lacre.lab';
const START_TIME_LIMIT_MS = 20_000;

/** `lacre server` on this machine, and its command line as an administrator would use it. */
export class LabServer {
  readonly port: number;
  readonly adminSocket: string;
  readonly logPath: string;
  /** Where SPIRE's plugin asks. */
  readonly verifierSocket: string;
  readonly #folder: string;
  readonly #executable: string;
  readonly #signal: AbortSignal;

  private constructor(parts: { port: number; folder: string; executable: string; signal: AbortSignal }) {
    this.port = parts.port;
    this.adminSocket = join(parts.folder, 'admin.sock');
    this.logPath = join(parts.folder, 'server.log');
    this.verifierSocket = join(parts.folder, 'verifier', 'verifier.sock');
    this.#folder = parts.folder;
    this.#executable = parts.executable;
    this.#signal = parts.signal;
  }

  /** Starts it with EK roots (PEM files) of software TPMs, and waits until it answers. */
  static async start(
    executable: string,
    ekRoots: readonly string[],
    run: LabRun,
    signal: AbortSignal,
  ): Promise<LabServer> {
    const server = new LabServer({ port: await freePort(), folder: run.folder, executable, signal });
    const config = join(run.folder, 'server.yaml');
    await writeFile(config, server.#configuration(run.folder, ekRoots), { mode: 0o600 });
    const service = await startService(executable, ['server', 'run', '--config', config], server.logPath);
    await run.own(service);
    let ended = false;
    service.ended.finally(() => (ended = true)).catch(() => {});
    const late = Date.now() + START_TIME_LIMIT_MS;
    while (!(await server.#answers())) {
      if (ended || Date.now() > late) {
        const said = await readFile(server.logPath, 'utf8').catch(() => '');
        throw new LacreError(
          'lab.server.start',
          `lacre server did not start: ${said.trim().split('\n').slice(-5).join(' | ')}`,
        );
      }
      await delay(50, undefined, { signal });
    }
    return server;
  }

  #configuration(folder: string, ekRoots: readonly string[]): string {
    const roots = ekRoots.map((path) => ({ path, tier: 'software' }));
    return [
      `trust_domain: ${TRUST_DOMAIN}`,
      `listen: 127.0.0.1:${this.port}`,
      `admin: {socket: ${JSON.stringify(this.adminSocket)}}`,
      `verifier: {socket: ${JSON.stringify(this.verifierSocket)}}`,
      `data_dir: ${JSON.stringify(join(folder, 'server'))}`,
      `endorsement: {roots: ${JSON.stringify(roots)}}`,
      'log: {level: debug, format: text}',
      '',
    ].join('\n');
  }

  async #answers(): Promise<boolean> {
    return this.command('bundle', 'show').then(
      () => true,
      () => false,
    );
  }

  /** One `lacre` command against this server; its output. */
  async command(...args: readonly string[]): Promise<string> {
    const output = await runProgram(this.#executable, ['--socket', this.adminSocket, ...args], {
      signal: this.#signal,
      env: { NO_COLOR: '1', TMPDIR: this.#folder }, // what a command that is ended leaves goes with the run
    });
    return output.toString();
  }
}

/** A port that was free a moment ago: the node's relay must know it before the server has it. Throws lab.server.start. */
export async function freePort(): Promise<number> {
  const listener = createServer();
  await new Promise<void>((resolve, reject) => listener.once('error', reject).listen(0, '127.0.0.1', resolve));
  const address = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  if (address === null || typeof address === 'string')
    throw new LacreError('lab.server.start', 'no free port on 127.0.0.1');
  return address.port;
}
