import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { delimiter } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { LacreError } from '../lacre-error.ts';

/** Programs such as mke2fs lie in folders that an ordinary user's PATH lacks. */
const PATH = [process.env['PATH'] ?? '/usr/bin:/bin', '/usr/sbin', '/sbin'].join(delimiter);

/** Bytes of a program's output that are kept. */
const OUTPUT_MOST = 64 * 1024 * 1024;

const STOP_MS = 5000;

export interface ProgramOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: AsyncIterable<Uint8Array> | Uint8Array;
  readonly signal?: AbortSignal;
}

/** In a process group of its own, so that Ctrl-C reaches it through the lab's clean-up alone. */
function spawnDetached(command: string, args: readonly string[], stdio: StdioOptions, options: ProgramOptions) {
  return spawn(command, args, {
    stdio,
    detached: true,
    env: { ...process.env, PATH, LC_ALL: 'C.UTF-8', ...options.env },
    ...(options.cwd !== undefined && { cwd: options.cwd }),
  });
}

export interface StartedService {
  readonly pid: number;
  /** Settles with its status when it has ended. */
  readonly ended: Promise<number>;
  /** This process no longer stays for it. */
  release(): void;
}

/**
 * Starts a program that may outlive this process, what it says in a file. Throws lab.program.missing.
 */
export async function startService(
  command: string,
  args: readonly string[],
  logPath: string,
  env: Readonly<Record<string, string>> = {},
): Promise<StartedService> {
  const log = await open(logPath, 'a', 0o600);
  try {
    const child = spawnDetached(command, args, ['ignore', log.fd, log.fd], { env });
    const ended = ending(child, command).then((status) => (typeof status === 'number' ? status : 1));
    ended.catch(() => {}); // whoever waits for it gets it
    if (child.pid === undefined) {
      await ended;
      throw new LacreError('lab.program.missing', `${command}: is not installed`, { command });
    }
    return { pid: child.pid, ended, release: () => child.unref() };
  } finally {
    await log.close();
  }
}

/**
 * Runs a program to its end; gives its standard output. Throws lab.program.missing where it isn't installed,
 * lab.program.failed with the last lines of what it said where it fails, lab.stopped where `signal` ends it.
 */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<Buffer> {
  options.signal?.throwIfAborted();
  const child = spawnDetached(command, args, ['pipe', 'pipe', 'pipe'], options);
  // SIGTERM first: mmdebstrap removes its folder then
  const stop = () => {
    killGroup(child.pid, 'SIGTERM');
    setTimeout(() => killGroup(child.pid, 'SIGKILL'), STOP_MS).unref();
  };
  options.signal?.addEventListener('abort', stop);
  try {
    const ended = ending(child, command);
    const [output, errors] = await Promise.all([
      collect(child.stdout),
      collect(child.stderr),
      feed(child, options.input),
      ended,
    ]);
    const status = await ended;
    options.signal?.throwIfAborted();
    if (status === 0) return output;
    throw new LacreError(
      'lab.program.failed',
      `${command} ${args[0] ?? ''} failed (${status}): ${lastLines(errors.length > 0 ? errors : output)}`,
      { command, status: String(status) },
    );
  } finally {
    options.signal?.removeEventListener('abort', stop);
  }
}

/** Sends a signal to a process and all that it started; a group that is gone is none of our business. */
export function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined || pid <= 1) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function ending(child: ChildProcess, command: string): Promise<number | NodeJS.Signals> {
  return new Promise((resolve, reject) => {
    child.on('close', (status, signal) => resolve(signal ?? status ?? 1));
    child.on('error', (cause) => {
      const missing = 'code' in cause && cause.code === 'ENOENT';
      const code = missing ? 'lab.program.missing' : 'lab.program.failed';
      reject(
        new LacreError(code, `${command}: ${missing ? 'is not installed' : cause.message}`, { command }, { cause }),
      );
    });
  });
}

async function collect(stream: NodeJS.ReadableStream | null): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream ?? []) {
    const bytes = Buffer.from(chunk);
    length += bytes.length;
    if (length <= OUTPUT_MOST) chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

/** A program that ends before it has read all is judged by its status, not by the broken pipe. */
async function feed(child: ChildProcess, input: ProgramOptions['input']): Promise<void> {
  if (!child.stdin) return;
  const chunks = input instanceof Uint8Array ? [input] : (input ?? []);
  await pipeline(Readable.from(chunks, { objectMode: true }), child.stdin).catch(() => {});
}

function lastLines(text: Buffer): string {
  return text.toString().trim().split('\n').slice(-6).join(' | ').slice(-1500);
}
