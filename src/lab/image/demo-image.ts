import { join } from 'node:path';
import { FileTree } from './file-tree.ts';
import { type ImageConfig, makeLayer, writeOciArchive } from './oci-archive.ts';
import { sharedLibraries } from './shared-libraries.ts';
import type { Toolchain } from './toolchain.ts';

const SERVICE_SOURCES = ['service', 'mesh', 'say', 'workload-api'].map((name) => `lab/demo/${name}.c`);
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';

export interface DemoImages {
  /** File names in the folder given. */
  readonly archives: { readonly demo: string; readonly stranger: string };
  /** "sha256:…" */
  readonly manifestDigests: { readonly demo: string; readonly stranger: string };
  /** What takes the place of the service in `rogue`, and of the health check in `orders`: no image holds them. */
  readonly changedService: Uint8Array;
  readonly changedHealth: Uint8Array;
}

/** References of the approved image and of the one that nobody approved. */
export interface DemoNames {
  readonly demo: string;
  readonly stranger: string;
}

export const IMAGE_NAMES: DemoNames = { demo: 'localhost/demo:1', stranger: 'localhost/stranger:1' };

/** Makes both images in `folder`: a layer with curl and the libraries, which they share, and one with the programs. */
export async function makeDemoImages(suite: FileTree, toolchain: Toolchain, folder: string): Promise<DemoImages> {
  const service = (edition?: string) => toolchain.program('service', SERVICE_SOURCES, ['ssl', 'crypto'], edition);
  const health = (edition?: string) => toolchain.program('health', ['lab/demo/health.c'], [], edition);
  const [approved, changedService, strange, healthy, changedHealth] = await Promise.all([
    service(),
    service('changed in the container'),
    service('of a stranger'),
    health(),
    health('changed while it ran'),
  ]);
  const base = await makeLayer(baseTree(suite, approved));
  const image = async (name: keyof DemoNames, program: string, bytes: Uint8Array): Promise<string> => {
    const programs = new FileTree().file(`bin/${program}`, bytes, 0o755).file('bin/health', healthy, 0o755);
    const layers = [base, await makeLayer(programs)];
    return writeOciArchive(join(folder, `${name}.tar`), IMAGE_NAMES[name], layers, demoConfiguration(program));
  };
  return {
    archives: { demo: 'demo.tar', stranger: 'stranger.tar' },
    manifestDigests: {
      demo: await image('demo', 'service', approved),
      stranger: await image('stranger', 'stranger', strange),
    },
    changedService,
    changedHealth,
  };
}

/** Of the image whose service is /bin/`program`. */
export function demoConfiguration(program: string): ImageConfig {
  return {
    Entrypoint: [`/bin/${program}`],
    Env: ['PATH=/bin:/usr/bin'],
    WorkingDir: '/',
    Labels: { 'org.opencontainers.image.title': program },
  };
}

function baseTree(suite: FileTree, service: Uint8Array): FileTree {
  const curl = suite.resolve('usr/bin/curl').bytes;
  const tree = new FileTree()
    .file('usr/bin/curl', curl, 0o755)
    .file('etc/passwd', 'root:x:0:0:root:/:/bin/false\n')
    .link('lib64', 'usr/lib64')
    .link('lib', 'usr/lib');
  for (const path of new Set([...sharedLibraries(suite, curl), ...sharedLibraries(suite, service)]))
    tree.file(`${LIBRARIES}/${path.replace(/^.*\//, '')}`, suite.resolve(path).bytes, 0o755);
  tree.file('usr/lib64/ld-linux-x86-64.so.2', suite.resolve('usr/lib64/ld-linux-x86-64.so.2').bytes, 0o755);
  for (const folder of ['proc', 'sys', 'dev', 'run/lacre/agent', 'run/lacre/mesh', 'tmp']) tree.folder(folder);
  return tree;
}
