import { chmod, mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { lookIntoInitrd, runningItems } from './preparation-boot.ts';
import { fileItems } from './preparation-files.ts';

/** What is lost without an item: identities of containers at all, or a grade of the host (DESIGN section 4). */
export type Need = 'containers' | 'host:standard' | 'host:sealed';

/** One thing that a node needs. */
export interface PreparedItem {
  readonly name: string;
  readonly need: Need;
  readonly state: 'there' | 'missing' | 'unknown';
  readonly wanted: string;
  readonly seen: string;
  /** What it is good for, and what is lost without it. */
  readonly why: string;
  /** Where --apply writes, and what. */
  readonly write?: { readonly path: string; readonly content: string; readonly mode?: number };
}

/** What the node with this root folder has and lacks; reads only. */
export async function preparationItems(root: string, uidPoolBase: number): Promise<PreparedItem[]> {
  const initrd = await lookIntoInitrd(root, uidPoolBase);
  return [...(await fileItems(root, uidPoolBase)), initrd.item, ...(root === '/' ? await runningItems(initrd) : [])];
}

/** Writes an item that is missing and can be written, whole or not at all; true where it did. */
export async function applyItem(item: PreparedItem): Promise<boolean> {
  if (item.state !== 'missing' || !item.write) return false;
  const { path, content, mode = 0o644 } = item.write;
  await mkdir(dirname(path), { recursive: true });
  const part = `${path}.lacre-part`;
  await writeFile(part, content);
  await chmod(part, mode); // whatever the umask left of it
  await rename(part, path);
  return true;
}

/** Names of what is missing, by what it is needed for. */
export function missingFor(items: readonly PreparedItem[], need: Need): string[] {
  return items.filter((item) => item.need === need && item.state === 'missing').map(({ name }) => name);
}
