import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { LacreError } from '../../lacre-error.ts';
import { once } from '../image/build-folder.ts';
import { type DemoNames, demoConfiguration } from '../image/demo-image.ts';
import { FileTree } from '../image/file-tree.ts';
import { agentFiles, type BuiltNode, buildRoot } from '../image/node-build.ts';
import { makeLayer, readOciLayers, writeOciArchive } from '../image/oci-archive.ts';
import { bootOnce, loadImage } from '../image/reference-boot.ts';
import { runProgram } from '../program.ts';
import type { Progress } from '../progress.ts';

const BUILD = join(import.meta.dirname, '../../../scripts/build-spire.mjs');
const NO_GO = '5';
export const SPIRE_AGENT_PATH = '/usr/bin/spire-agent';
/** Both plugins put their native part there. */
const PLUGIN_NATIVE_PATH = '/var/lib/lacre/plugin/lacre.node';
const NAMES: DemoNames = { demo: 'localhost/spiffe-demo:1', stranger: 'localhost/spiffe-stranger:1' };
const FACTS = z.strictObject({ demoDigest: z.string(), strangerDigest: z.string() });

/** A node whose root holds spire-agent, and whose images hold a service that knows go-spiffe and nothing of Lacre. */
export interface SpireBuild {
  readonly node: BuiltNode;
  /** spire-server for this machine. */
  readonly server: string;
}

/**
 * Adds to a node what SPIRE's needs, unless it is there already; kernel, initrd and podman's storage are the node's own.
 * Throws lab.program.missing where there is no Go.
 */
export async function buildSpire(built: BuiltNode, progress: Progress, signal: AbortSignal): Promise<SpireBuild> {
  const [server, agent, service] = await progress.step(
    'spirePrograms',
    'spire-server and spire-agent, unmodified, and a service with go-spiffe (building them takes minutes, once)',
    async () => [
      await goProgram('spire-server', signal),
      await goProgram('spire-agent', signal),
      await goProgram('spiffe-service', signal),
    ],
  );
  const images = join(built.base, `images-${(await sha256Of(service)).slice(0, 16)}`);
  await once(images, (part) =>
    progress.step('spireImages', 'images with the go-spiffe service, and into the node with them', () =>
      buildImages(built, part, service, signal),
    ),
  );
  const root = `${dirname(built.root)}-spire-${(await sha256Of(agent)).slice(0, 16)}`;
  await once(root, (part) =>
    progress.step('spireRoot', 'making the root file system with spire-agent', () =>
      buildRoot(built.base, part, rootFiles(built, agent), signal),
    ),
  );
  await removeOtherImages(images);
  const facts = FACTS.parse(JSON.parse(await readFile(join(images, 'facts.json'), 'utf8')));
  const node = {
    ...{ ...built, ...facts, imageNames: NAMES },
    ...{ root: join(root, 'root.squashfs'), rootArchive: join(root, 'root.tar') },
    ...{ data: join(images, 'data.img'), demoArchive: join(images, 'demo.tar') },
    changedService: join(images, 'changed-service'),
  };
  return { node, server };
}

function rootFiles({ executable }: BuiltNode, agent: string) {
  return [
    ...agentFiles(executable),
    { path: PLUGIN_NATIVE_PATH, source: executable.native, mode: 0o400 },
    { path: SPIRE_AGENT_PATH, source: agent, mode: 0o755 },
  ];
}

async function goProgram(name: string, signal: AbortSignal): Promise<string> {
  try {
    return (await runProgram(process.execPath, [BUILD, name], { signal })).toString().trim();
  } catch (error) {
    if (!(error instanceof LacreError) || error.details['status'] !== NO_GO) throw error;
    throw new LacreError('lab.program.missing', `go: is not installed, and ${name} is built with it`, {
      command: 'go',
    });
  }
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}

/** The demo's images with another service on top; the changed one is the same with more bytes at its end. */
async function buildImages(built: BuiltNode, folder: string, servicePath: string, signal: AbortSignal): Promise<void> {
  const service = await readFile(servicePath);
  const layers = await readOciLayers(built.demoArchive);
  const image = async (name: keyof DemoNames, program: string, bytes: Uint8Array): Promise<string> => {
    const layer = await makeLayer(new FileTree().file(`bin/${program}`, bytes, 0o755));
    const path = join(folder, `${name}.tar`);
    return writeOciArchive(path, NAMES[name], [...layers, layer], demoConfiguration(program));
  };
  const edition = (text: string) => Buffer.concat([service, Buffer.from(text)]);
  const facts = {
    demoDigest: await image('demo', 'service', service),
    strangerDigest: await image('stranger', 'stranger', edition('of a stranger')),
  };
  await writeFile(join(folder, 'facts.json'), JSON.stringify(facts));
  await writeFile(join(folder, 'changed-service'), edition('changed in the container'));
  const data = join(folder, 'data.img');
  await runProgram('cp', ['--sparse=always', built.data, data], { signal });
  const { kernel, initrd, root } = built;
  await bootOnce({ kernel, initrd, root, data }, signal, async (node) => {
    for (const name of ['demo', 'stranger']) await loadImage(node, join(folder, `${name}.tar`));
  });
  await rm(join(folder, 'stranger.tar'));
}

/** Of an older service. */
async function removeOtherImages(kept: string): Promise<void> {
  for (const name of await readdir(dirname(kept))) {
    const path = join(dirname(kept), name);
    if (/^images-[0-9a-f]{16}$/.test(name) && path !== kept) await rm(path, { recursive: true, force: true });
  }
}
