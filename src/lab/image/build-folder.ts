import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DEFAULT_KERNEL, type KernelSeries } from './root-archive.ts';

/** Of the folders of a kernel's nodes. */
export function nodePrefix(kernel: KernelSeries): string {
  return kernel === DEFAULT_KERNEL ? 'node' : `node-${kernel}`;
}

/** Fills `folder` by `make` unless it is there; half a folder is never taken for a whole one. */
export async function once(folder: string, make: (part: string) => Promise<void>): Promise<void> {
  if (await stat(folder).catch(() => undefined)) return;
  const part = `${folder}.part-${process.pid}`;
  await mkdir(part, { recursive: true });
  try {
    await make(part);
    await rename(part, folder);
  } finally {
    await rm(part, { recursive: true, force: true });
  }
}

/** Older builds of this kernel's nodes, and what a killed run left half made, are of no use any more, and are large. */
export async function removeOthers(kept: readonly string[], kernel: KernelSeries): Promise<void> {
  const build = new RegExp(
    `^(${nodePrefix(kernel)}|kernel-${kernel}|packages|root)-[0-9a-f]{16}(-(spire|attacks)-[0-9a-f]{16})?(\\.part-\\d+)?$`,
  );
  const folders = new Set(kept.map((path) => dirname(path)));
  for (const folder of folders) {
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const maker = Number(/\.part-(\d+)$/.exec(name)?.[1] ?? 0);
      const isKept = kept.includes(path) || kept.includes(path.replace(/-(spire|attacks)-[0-9a-f]{16}$/, ''));
      if (build.test(name) && !isKept && !(maker > 0 && existsSync(`/proc/${maker}`)))
        await rm(path, { recursive: true, force: true });
    }
  }
}
