import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { CHUNK_BYTES, MeasurementList } from './measurement-list.ts';

let directory: string;
let path: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lacre-list-'));
});
after(() => rm(directory, { recursive: true }));
beforeEach(async () => {
  path = join(directory, 'binary_runtime_measurements');
  await rm(join(directory, 'runtime_measurements_count'), { force: true });
  await writeFile(path, Buffer.from('first.second.'));
});

async function text(list: MeasurementList): Promise<string> {
  return Buffer.from(await list.read()).toString();
}

describe('measurement list', () => {
  test('is read to its end, and then what is added', async () => {
    const list = await MeasurementList.open(path);
    assert.equal(await text(list), 'first.second.');
    assert.equal(await text(list), '');
    await appendFile(path, 'third.');
    assert.equal(await text(list), 'third.');
    assert.equal(list.position, 19);
    await list.close();
  });

  test('what was read does not change with later reads', async () => {
    const list = await MeasurementList.open(path);
    const first = await list.read();
    await appendFile(path, 'XXXXXXXXXXXXX');
    await list.read();
    assert.equal(Buffer.from(first).toString(), 'first.second.');
    await list.close();
  });

  test('goes on from where the server knows it', async () => {
    const list = await MeasurementList.open(path, 6);
    assert.equal(await text(list), 'second.');
    assert.equal(list.position, 13);
    await list.close();
  });

  test('a long one comes in chunks of at most 512 KiB, without a gap', async () => {
    const bytes = Buffer.alloc(2 * CHUNK_BYTES + 17, 'lacre');
    await writeFile(path, bytes);
    const list = await MeasurementList.open(path, 3);
    const chunks: Uint8Array[] = [];
    for (let chunk = await list.read(); chunk.length > 0; chunk = await list.read()) chunks.push(chunk);
    assert.deepEqual(
      chunks.map(({ length }) => length),
      [CHUNK_BYTES, CHUNK_BYTES, 14],
    );
    assert.ok(Buffer.concat(chunks).equals(bytes.subarray(3)));
    await list.close();
  });

  test('one that is shorter than what was read is told as such', async () => {
    const list = await MeasurementList.open(path);
    await list.read();
    await truncate(path, 5);
    await assert.rejects(list.read(), { code: 'agent.list.shrunk' });
    await list.close();
  });

  test('one that is shorter than what the server knows is told as such', async () => {
    await assert.rejects(MeasurementList.open(path, 14), { code: 'agent.list.shrunk' });
  });

  test('one that is not there is told by its path', async () => {
    const absent = join(directory, 'absent');
    await assert.rejects(MeasurementList.open(absent), (error: Error) => {
      assert.ok(error.message.includes(absent));
      return (error as { code?: string }).code === 'agent.list.unreadable';
    });
  });

  test('a kernel that counts its entries is asked for the count alone', async () => {
    const count = join(directory, 'runtime_measurements_count');
    await writeFile(path, '');
    const list = await MeasurementList.open(path);
    await writeFile(count, '2\n');
    assert.equal(list.grew(), true);
    assert.equal(list.grew(), false);
    await writeFile(count, '3\n');
    assert.equal(list.grew(), true);
    await writeFile(count, '1\n');
    assert.throws(() => list.grew(), { code: 'agent.list.shrunk' });
    await writeFile(count, 'what');
    assert.equal(list.grew(), true, 'where the count is not understood the list is read');
    await list.close();
  });
});
