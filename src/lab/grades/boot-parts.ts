import { readFile } from 'node:fs/promises';
import { measuredWithInitrd } from '../image/measured-kernel.ts';
import type { BuiltNode } from '../image/node-build.ts';
import type { MachineParts } from '../machine/machine.ts';

/** What a boot is made of, and what it is approved by. */
export interface BootParts extends Pick<MachineParts, 'kernel' | 'initrd' | 'root'> {
  /** Of the node and of its reference values. */
  readonly name: string;
  readonly commandLine: string;
  readonly measuredKernel: string;
  readonly rootArchive: string;
}

/** The node's kernel as the firmware measures it beside an initrd of another length. */
export async function measuredBy(built: BuiltNode, initrdLength: number): Promise<Uint8Array> {
  const [image, measured, initrd] = await Promise.all([
    readFile(built.kernel),
    readFile(built.measuredKernel),
    readFile(built.initrd),
  ]);
  return measuredWithInitrd(image, { measured, knownLength: initrd.length }, initrdLength);
}
