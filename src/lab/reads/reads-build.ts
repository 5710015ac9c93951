import { createHash } from 'node:crypto';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { LacreError } from '../../lacre-error.ts';
import { once } from '../image/build-folder.ts';
import { FileTree } from '../image/file-tree.ts';
import type { BuiltNode } from '../image/node-build.ts';
import { readOciLayers } from '../image/oci-archive.ts';
import { type Archive, archive } from '../image/package-archive.ts';
import { bootOnce, loadImage } from '../image/reference-boot.ts';
import { SUITE } from '../image/root-archive.ts';
import { Toolchain } from '../image/toolchain.ts';
import { runProgram } from '../program.ts';
import type { Progress } from '../progress.ts';
import { LANGUAGES, type Language, makeInterpretedImage } from './interpreted-image.ts';

const PACKAGES = ['python3-minimal', 'nodejs', 'dash', 'coreutils', 'libc6-dev'] as const;
const PROJECT = join(import.meta.dirname, '../../..');
/** What the images are made of and by. */
const SOURCES = 'deploy/lab/reads';
const MAKERS = ['src/lab/reads/interpreted-image.ts', 'src/lab/reads/reads-build.ts'];
const DIGESTS = z.record(z.enum(['python', 'node', 'shell']), z.string());

/** A node whose podman has the interpreted services. */
export interface ReadsBuild {
  readonly node: BuiltNode;
  /** OCI archive and manifest digest of each image. */
  readonly images: ReadonlyMap<Language, { readonly archive: string; readonly digest: string }>;
}

/** Adds to a node the images of interpreted services, unless they are there already. */
export async function buildReads(built: BuiltNode, progress: Progress, signal: AbortSignal): Promise<ReadsBuild> {
  const interpreters = await interpreterArchive(progress, signal);
  const folder = join(built.base, `reads-${await hashOf(interpreters)}`);
  await once(folder, (part) =>
    progress.step(
      'readsImages',
      'images of services in Python, JavaScript and shell, and into the node with them',
      () => buildImages(built, part, interpreters, signal),
    ),
  );
  await removeOthers(folder, /^reads-[0-9a-f]{16}(\.part-\d+)?$/);
  const digests = DIGESTS.parse(JSON.parse(await readFile(join(folder, 'digests.json'), 'utf8')));
  const images = LANGUAGES.map((language) => {
    const image = { archive: join(folder, `${language}.tar`), digest: digests[language] ?? '' };
    return [language, image] as const;
  });
  return { node: { ...built, data: join(folder, 'data.img') }, images: new Map(images) };
}

/** The distribution's interpreters, kept apart from the node's own packages: an ordinary lab never fetches them. */
async function interpreterArchive(progress: Progress, signal: AbortSignal): Promise<Archive> {
  const sentence = 'fetching Python, Node and a shell (versions are resolved now)';
  const fetching = (make: () => Promise<void>) => progress.step('interpreters', sentence, make);
  const found = await archive('interpreters', { suite: SUITE, packages: PACKAGES }, fetching, signal);
  await removeOthers(dirname(found.path), /^interpreters-[0-9a-f]{16}(\.part-\d+)?$/);
  return found;
}

async function buildImages(built: BuiltNode, folder: string, { path }: Archive, signal: AbortSignal): Promise<void> {
  const suite = await FileTree.fromTar(path, (name) => !/^usr\/(include|share\/(?!nodejs\/))/.test(name));
  const toolchain = await Toolchain.unpack(path, join(folder, 'sysroot'), signal);
  const follow = await toolchain.program('svid-follow', ['lab/reads/svid-follow.c', 'lab/demo/workload-api.c'], []);
  await rm(join(folder, 'sysroot'), { recursive: true });
  const [base] = await readOciLayers(built.demoArchive);
  if (!base) throw new LacreError('lab.build.archive', "the demo's image has no layer");
  const digests: Partial<Record<Language, string>> = {};
  for (const language of LANGUAGES)
    digests[language] = await makeInterpretedImage(language, { suite, base, follow }, join(folder, `${language}.tar`));
  await writeFile(join(folder, 'digests.json'), JSON.stringify(digests));
  const data = join(folder, 'data.img');
  await runProgram('cp', ['--sparse=always', built.data, data], { signal });
  const { kernel, initrd, root } = built;
  await bootOnce({ kernel, initrd, root, data }, signal, async (node) => {
    for (const language of LANGUAGES) await loadImage(node, join(folder, `${language}.tar`));
  });
}

async function hashOf({ sha256 }: Archive): Promise<string> {
  const hash = createHash('sha256').update(sha256);
  const sources = (await readdir(join(PROJECT, SOURCES))).sort().map((name) => join(SOURCES, name));
  for (const path of [...sources, ...MAKERS])
    hash.update(JSON.stringify(path)).update(await readFile(join(PROJECT, path)));
  return hash.digest('hex').slice(0, 16);
}

async function removeOthers(kept: string, builds: RegExp): Promise<void> {
  for (const name of await readdir(dirname(kept)))
    if (builds.test(name) && name !== basename(kept))
      await rm(join(dirname(kept), name), { recursive: true, force: true });
}
