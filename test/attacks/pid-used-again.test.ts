import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildNative } from '../../scripts/build-native.ts';

// A process (A1) connects to the Workload API, leaves the connection to another one, and ends; its pid is given to a process of the
// victim's container, for which the agent is to take whoever holds the connection now. In a pid namespace of its own this is no matter
// of luck: root says which pid comes next.

const PROGRAM = fileURLToPath(new URL('pid-used-again-program.ts', import.meta.url));

test('a caller is a process, not a number: who ended is nobody, whoever has its pid', {
  skip: missing(),
}, () => {
  buildNative();
  const command = ['-p', '-f', '--mount-proc', '--kill-child', process.execPath, PROGRAM];
  const { stdout, stderr, status } = spawnSync('unshare', command, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 0, stderr);
  const { kernelPins, ...report } = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual(report, {
    honest: '',
    sameNumber: true,
    otherLives: true,
    pinnedBefore: 'agent.caller.ended',
    pinnedByPidBefore: 'agent.caller.ended',
    // Before Linux 6.5 the pin is of the pid: it is made at accept, and deceived only by what happened before that.
    acceptedAfter: kernelPins === true ? 'agent.caller.ended' : '',
  });
});

function missing(): string | false {
  if (process.getuid?.() !== 0) return 'only root makes pid namespaces';
  try {
    accessSync('/proc/sys/kernel/ns_last_pid', constants.W_OK);
    return false;
  } catch {
    return 'this kernel lets nobody choose the next pid';
  }
}
