import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { pemCertificates } from './config.ts';
import { StateDir } from './state-dir.ts';

const KEY = { private: Uint8Array.of(1, 2, 3), public: Uint8Array.of(4) };
let directory: string;
let path: string;
let pinned: Uint8Array[];

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lacre-state-'));
  const file = new URL('../../vectors/agent/bundle.pem', import.meta.url).pathname;
  pinned = pemCertificates(file, await readFile(file));
});
after(() => rm(directory, { recursive: true }));
beforeEach(async () => {
  path = join(directory, 'data');
  await rm(path, { recursive: true, force: true });
});

describe('data folder', () => {
  test('keeps the wrapped key, for the owner alone', async () => {
    const state = await StateDir.open(path, pinned);
    assert.equal(await state.attestationKey(), undefined);
    await state.saveAttestationKey(KEY);
    assert.deepEqual(await (await StateDir.open(path, pinned)).attestationKey(), KEY);
    assert.equal((await stat(path)).mode & 0o777, 0o700);
    for (const name of await readdir(path)) assert.equal((await stat(join(path, name))).mode & 0o777, 0o600, name);
  });

  test('a damaged key is as none', async () => {
    const state = await StateDir.open(path, pinned);
    for (const text of ['', '{', '{"privateHex":"zz","publicHex":"04"}', '{"publicHex":"04"}', 'null', '[]']) {
      await writeFile(join(path, 'attestation-key.json'), text);
      assert.equal(await state.attestationKey(), undefined, text);
    }
  });

  test('the server is verified by the pinned bundle, then by what it last sent', async () => {
    const state = await StateDir.open(path, pinned);
    assert.deepEqual(await state.bundle(), pinned);
    const [first] = pinned;
    assert.ok(first);
    await state.saveBundle([first, first]);
    assert.equal((await (await StateDir.open(path, pinned)).bundle()).length, 2);
  });

  test('writes at the same time come one after another, the last one stays', async () => {
    const state = await StateDir.open(path, pinned);
    const [first] = pinned;
    assert.ok(first);
    await Promise.all(Array.from({ length: 20 }, (_, index) => state.saveBundle(Array(index + 1).fill(first))));
    assert.equal((await state.bundle()).length, 20);
  });

  test('another pinned bundle takes the place of all that came from the former one', async () => {
    const [first] = pinned;
    assert.ok(first);
    await (await StateDir.open(path, pinned)).saveBundle([first, first]);
    const changed = [first, first, first];
    assert.deepEqual(await (await StateDir.open(path, changed)).bundle(), changed);
  });

  test('an empty bundle is refused, a damaged one is as none', async () => {
    const state = await StateDir.open(path, pinned);
    await assert.rejects(state.saveBundle([]), { code: 'agent.protocol' });
    await state.saveBundle(pinned);
    const saved = JSON.parse(await readFile(join(path, 'bundle.json'), 'utf8'));
    for (const certificates of [[], ['AAAA'], 'x', null]) {
      await writeFile(join(path, 'bundle.json'), JSON.stringify({ ...saved, certificates }));
      assert.deepEqual(await state.bundle(), pinned);
    }
  });

  test('a folder that can not be used is told by its path', async () => {
    const file = join(directory, 'file');
    await writeFile(file, '');
    await assert.rejects(StateDir.open(join(file, 'data'), pinned), { code: 'agent.state.invalid' });
  });
});
