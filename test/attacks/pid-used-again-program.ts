import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PinnedPeer, PinnedProcess } from '../../src/agent/caller.ts';
import { loadNative } from '../../src/agent/native.ts';
import { isLacreError } from '../../src/lacre-error.ts';

// Not a test: what pid-used-again.test.ts runs in a pid namespace of its own, where it says which pid comes next. Prints JSON.

/** Connects, leaves the connection to a child that stays, and ends when it is told to. */
const CALLER = `
const socket = require('node:net').connect(process.argv[1], () => {
  const heir = require('node:child_process').spawn('sleep', ['60'], { stdio: ['ignore', socket, 'ignore'], detached: true });
  heir.once('spawn', () => console.log(heir.pid));
});
process.stdin.once('end', () => process.exit()).resume();`;

const native = loadNative();
const folder = mkdtempSync(join(tmpdir(), 'lacre-pid-'));
const path = join(folder, 'api.sock');
const server = createServer().listen(path);
await once(server, 'listening');

interface Connected {
  readonly caller: ChildProcess;
  readonly pid: number;
  readonly heirPid: number;
  readonly fd: number;
}

async function connected(): Promise<Connected> {
  const accepted = once(server, 'connection') as Promise<[Socket & { _handle: { fd: number } }]>;
  const caller = spawn(process.execPath, ['-e', CALLER, path], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [socket] = await accepted;
  const [heir] = (await once(caller.stdout ?? process.stdin, 'data')) as [Buffer];
  return { caller, pid: caller.pid ?? 0, heirPid: Number(heir.toString()), fd: socket._handle.fd };
}

/** The caller ends, and another process gets its pid. */
async function usedAgain({ caller, pid }: Connected): Promise<ChildProcess> {
  const ended = once(caller, 'exit');
  caller.stdin?.end();
  await ended;
  for (let tries = 0; tries < 50; tries += 1) {
    writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1));
    const other = spawn('sleep', ['60'], { stdio: 'ignore' });
    if (other.pid === pid) return other;
    other.kill('SIGKILL');
    await once(other, 'exit');
  }
  throw new Error(`no other process got pid ${pid}`);
}

function codeOf(work: () => void): string {
  try {
    work();
    return '';
  } catch (error) {
    if (isLacreError(error)) return error.code;
    throw error;
  }
}

const report: Record<string, unknown> = {};
const first = await connected();
const peer = PinnedPeer.open(first.fd, native);
report['honest'] = codeOf(() => peer.requireAlive());
const told = PinnedProcess.ofPid(first.pid, native);
const other = await usedAgain(first);
report['sameNumber'] = native.peerCredentials(first.fd).pid === other.pid;
report['otherLives'] = native.isAlive(native.pidfdOpen(first.pid));
report['pinnedBefore'] = codeOf(() => peer.requireAlive());
report['pinnedByPidBefore'] = codeOf(() => told.requireAlive());
report['acceptedAfter'] = codeOf(() => PinnedPeer.open(first.fd, native).requireAlive());
try {
  native.peerPidfd(first.fd);
  report['kernelPins'] = true;
} catch (error) {
  report['kernelPins'] = (error as NodeJS.ErrnoException).code !== 'ENOPROTOOPT';
}
process.stdout.write(`${JSON.stringify(report)}\n`);
for (const pid of [other.pid ?? 0, first.heirPid]) process.kill(pid, 'SIGKILL');
rmSync(folder, { recursive: true, force: true });
process.exit(0);
