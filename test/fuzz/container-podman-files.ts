import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PodmanFiles } from '../../src/agent/podman-files.ts';
import { bytesOf, type FuzzTarget, vectorFiles } from './engine/target.ts';

const ID = 'a'.repeat(64);
const IMAGE = 'b'.repeat(64);
const folder = mkdtempSync(join(tmpdir(), 'lacre-fuzz-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const containers = JSON.stringify([
  { id: ID, names: ['web'], image: IMAGE, metadata: JSON.stringify({ 'image-name': 'x:1', name: 'web' }) },
]);
const images = JSON.stringify([{ id: IMAGE, digest: `sha256:${'c'.repeat(64)}` }]);
const image = JSON.stringify({ config: { Env: ['A=b'], Labels: { team: 'x' } } });
const [config = new Uint8Array()] = vectorFiles('container', '.config.json');

/** Where each file of podman lies, and a good one. */
const FILES = [
  ['storage/overlay-containers/containers.json', bytesOf(containers)],
  ['storage/overlay-images/images.json', bytesOf(images)],
  [`storage/overlay-images/${IMAGE}/=${Buffer.from(`sha256:${IMAGE}`).toString('base64')}`, bytesOf(image)],
  [`run/overlay-containers/${ID}/userdata/pidfile`, bytesOf('17\n')],
  [`storage/overlay-containers/${ID}/userdata/config.json`, config],
] as const;

/** The first byte says which of podman's files holds the rest; the others are good. */
export const target: FuzzTarget = {
  parsers: ['src/agent/podman-files.ts#list', 'src/agent/podman-files.ts#labelsOf'],
  seeds: () => FILES.map(([, good], at) => Uint8Array.of(at, ...good)),
  words: ['null', '[]', '{}', '"id"', '"names"', '"metadata"', '"digest"', '"Labels"', ID, '"__proto__"'],
  maxBytes: 256 * 1024,
  fastMs: 100,
  run: async (bytes) => {
    const chosen = (bytes[0] ?? 0) % FILES.length;
    for (const [at, [path, good]] of FILES.entries()) {
      mkdirSync(join(folder, path, '..'), { recursive: true });
      writeFileSync(join(folder, path), at === chosen ? bytes.subarray(1) : good);
    }
    const place = { storage: join(folder, 'storage'), run: join(folder, 'run') };
    return new PodmanFiles(place).list();
  },
};
