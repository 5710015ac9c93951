import { LacreError } from '../../lacre-error.ts';
import type { FileTree } from './file-tree.ts';

const FOLDERS = ['usr/lib/x86_64-linux-gnu', 'usr/lib64', 'usr/lib'];

/**
 * Paths of all libraries that the program needs, in the tree they are to come from: what the dynamic loader would look
 * up, followed through. Throws lab.build.archive where one is missing.
 */
export function sharedLibraries(tree: FileTree, program: Uint8Array): string[] {
  const found = new Set<string>();
  const follow = (bytes: Uint8Array): void => {
    for (const name of neededNames(bytes)) {
      const path = FOLDERS.map((folder) => `${folder}/${name}`).find((candidate) => tree.has(candidate));
      if (path === undefined) throw new LacreError('lab.build.archive', `the packages hold no ${name}`, { name });
      if (found.has(path)) continue;
      found.add(path);
      follow(tree.resolve(path).bytes);
    }
  };
  follow(program);
  return [...found].sort();
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_NEEDED = 1;
const DT_STRTAB = 5;

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

/** DT_NEEDED names of a 64-bit little-endian ELF file (System V ABI, chapter 5); none for a static one. */
export function neededNames(bytes: Uint8Array): string[] {
  const elf = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const segments = programHeaders(elf);
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (!dynamic) return [];
  const needed: number[] = [];
  let strings = 0;
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
    const [tag, value] = [Number(elf.readBigInt64LE(at)), Number(elf.readBigUInt64LE(at + 8))];
    if (tag === DT_NEEDED) needed.push(value);
    if (tag === DT_STRTAB) strings = fileOffset(segments, value);
  }
  return needed.map((offset) => elf.toString('latin1', strings + offset, elf.indexOf(0, strings + offset)));
}

function programHeaders(elf: Buffer): Segment[] {
  if (elf.length < 64 || elf.readUInt32BE(0) !== 0x7f45_4c46) return [];
  const [at, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
  return Array.from({ length: count }, (_, index) => {
    const header = at + index * size;
    return {
      type: elf.readUInt32LE(header),
      offset: Number(elf.readBigUInt64LE(header + 8)),
      address: Number(elf.readBigUInt64LE(header + 16)),
      size: Number(elf.readBigUInt64LE(header + 32)),
    };
  });
}

function fileOffset(segments: readonly Segment[], address: number): number {
  const segment = segments.find((s) => s.type === PT_LOAD && address >= s.address && address < s.address + s.size);
  return segment ? address - segment.address + segment.offset : 0;
}
