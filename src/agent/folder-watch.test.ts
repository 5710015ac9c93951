import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FolderWatch } from './folder-watch.ts';

let folder: string;
let watched: FolderWatch;
const at = (path: string) => join(folder, path);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lacre-folder-'));
  for (const name of ['a', 'b']) mkdirSync(at(name));
  writeFileSync(at('a/list'), '1');
  watched = new FolderWatch([at('a'), at('b')]);
});

afterEach(() => {
  watched.close();
  rmSync(folder, { recursive: true, force: true });
});

async function untilChanged(): Promise<boolean> {
  for (let tries = 0; tries < 100 && !watched.isChanged; tries += 1) await sleep(10);
  return watched.isChanged;
}

test('before it begins all counts as changed; then what is left alone does not', async () => {
  assert.equal(watched.isChanged, true);
  watched.begin();
  await sleep(50);
  assert.equal(watched.isChanged, false);
});

const changes: Record<string, () => void> = {
  'a file is written in place': () => writeFileSync(at('a/list'), '2'),
  'a file takes the place of another': () => {
    writeFileSync(at('new'), '2');
    renameSync(at('new'), at('a/list'));
  },
  'a file is made in another of the folders': () => writeFileSync(at('b/list'), '1'),
  'a file is removed': () => rmSync(at('a/list')),
  'the folder itself is replaced': () => {
    renameSync(at('a'), at('former'));
    mkdirSync(at('a'));
  },
};

for (const [name, change] of Object.entries(changes)) {
  test(`${name}: it is told, and again after the next beginning`, async () => {
    for (let again = 0; again < 2; again += 1) {
      watched.begin();
      assert.equal(watched.isChanged, false);
      if (again === 0) change();
      else writeFileSync(at('a/list'), '3');
      assert.equal(await untilChanged(), true);
    }
  });
}

test('where a folder is not there, all counts as changed until it is', () => {
  rmSync(at('b'), { recursive: true });
  watched.begin();
  assert.equal(watched.isChanged, true);
  mkdirSync(at('b'));
  watched.begin();
  assert.equal(watched.isChanged, false);
});
