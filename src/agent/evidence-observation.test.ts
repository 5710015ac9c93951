import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { observeNode, readEventLog } from './evidence-observation.ts';

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lacre-observe-'));
});
after(() => rm(directory, { recursive: true }));

describe('what the agent reads of its node', () => {
  test('the event log comes as it is', async () => {
    const path = join(directory, 'log');
    await writeFile(path, Buffer.from([1, 2, 3]));
    assert.deepEqual(await readEventLog(path), Uint8Array.of(1, 2, 3));
  });

  test('no event log is an empty one: the server finds what the boot lacks', async () => {
    assert.deepEqual(await readEventLog(join(directory, 'absent')), new Uint8Array());
  });

  test('one that can not be read, or is longer than any, is told by its path', async () => {
    const large = join(directory, 'large');
    await writeFile(large, new Uint8Array(1024 * 1024 + 1));
    for (const path of [directory, large]) {
      await assert.rejects(readEventLog(path), (error: Error & { code?: string }) => {
        assert.ok(error.message.includes(path));
        return error.code === 'agent.eventlog.unreadable';
      });
    }
  });

  test('the kernel says its name, and settings are the value plus one, or 0 where there are none', async () => {
    const observed = observeNode();
    assert.equal(observed.kernel, release());
    for (const value of [observed.unprivilegedUsernsClone, observed.kexecLoadDisabled, observed.ptraceScope]) {
      assert.ok(Number.isInteger(value) && value >= 0 && value <= 4, `${value}`);
    }
    assert.match(observed.lockdown, /^[a-z]*$/);
  });
});
