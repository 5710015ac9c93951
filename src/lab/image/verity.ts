import { appendFile, copyFile, stat } from 'node:fs/promises';
import { LacreError } from '../../lacre-error.ts';
import { runProgram } from '../program.ts';

const BLOCK = 4096;
const SECTOR = 512;

/**
 * Copies a root file system and puts a dm-verity tree behind it (kernel: admin-guide/device-mapper/verity.rst, version 1).
 * Gives the word of the command line that has the root checked by it: dm-mod.create="…".
 * @param device of the root in the node.
 */
export async function verifiedRoot(root: string, copy: string, device: string, signal: AbortSignal): Promise<string> {
  await copyFile(root, copy);
  const { size } = await stat(copy);
  if (size % BLOCK !== 0) await appendFile(copy, new Uint8Array(BLOCK - (size % BLOCK)));
  const blocks = Math.ceil(size / BLOCK);
  const geometry = [`--hash-offset=${blocks * BLOCK}`, `--data-blocks=${blocks}`, '--no-superblock', '--salt=-'];
  const said = await runProgram('veritysetup', ['format', ...geometry, copy, copy], { signal });
  const digest = /^Root hash:\s+([0-9a-f]{64})$/m.exec(said.toString())?.[1];
  if (digest === undefined) throw new LacreError('lab.program.failed', 'veritysetup named no root hash');
  const tree = `${device} ${device} ${BLOCK} ${BLOCK} ${blocks} ${blocks} sha256 ${digest} -`;
  return `dm-mod.create="root,,,ro,0 ${(blocks * BLOCK) / SECTOR} verity 1 ${tree}"`;
}
