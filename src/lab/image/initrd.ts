import { gzipSync } from 'node:zlib';
import { imaPolicy } from '../../ima/policy.ts';
import type { KernelModule } from './kernel.ts';

const FILE = 0o100_000;
const FOLDER = 0o040_000;

/** "New ASCII" cpio archive, as the kernel unpacks it (kernel: driver-api/early-userspace/buffer-format). */
class CpioWriter {
  readonly #chunks: Uint8Array[] = [];
  #inode = 0;

  add(path: string, mode: number, bytes: Uint8Array = new Uint8Array()): this {
    const name = Buffer.from(`${path}\0`);
    const inode = path === 'TRAILER!!!' ? 0 : ++this.#inode;
    const fields = [inode, mode, 0, 0, 1, 0, bytes.length, 0, 0, 0, 0, name.length, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
    this.#push(Buffer.concat([Buffer.from(header), name]));
    this.#push(bytes);
    return this;
  }

  #push(bytes: Uint8Array): void {
    this.#chunks.push(bytes, new Uint8Array(-bytes.length & 3));
  }

  bytes(): Buffer {
    this.add('TRAILER!!!', 0);
    return Buffer.concat(this.#chunks);
  }
}

export interface InitrdParts {
  /** deploy/node/seal.c as a static executable. */
  readonly seal: Uint8Array;
  readonly modules: readonly KernelModule[];
  readonly uidPoolBase: number;
  /** Device and type of the root file system. */
  readonly root: string;
  readonly nextInit: string;
}

/** The measured initrd: the seal, the policy, the modules, and where to go on. The same parts give the same bytes. */
export function makeInitrd(parts: InitrdParts): Uint8Array {
  const cpio = new CpioWriter();
  for (const folder of ['dev', 'lacre', 'mods', 'new', 'proc', 'sys']) cpio.add(folder, FOLDER | 0o755);
  cpio.add('init', FILE | 0o755, parts.seal);
  cpio.add('policy', FILE | 0o644, Buffer.from(imaPolicy(parts.uidPoolBase)));
  cpio.add('lacre/root', FILE | 0o644, Buffer.from(`${parts.root}\n`));
  cpio.add('lacre/next', FILE | 0o644, Buffer.from(`${parts.nextInit}\n`));
  cpio.add('lacre/modules', FILE | 0o644, Buffer.from(parts.modules.map(({ name }) => `/mods/${name}.ko\n`).join('')));
  for (const { name, bytes } of parts.modules) cpio.add(`mods/${name}.ko`, FILE | 0o644, bytes);
  return gzipSync(cpio.bytes(), { level: 1 });
}
