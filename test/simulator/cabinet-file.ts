import { deflateRawSync } from 'node:zlib';
import { ByteWriter } from '../../src/bytes/byte-writer.ts';

/** How writeCabinet writes. */
export interface CabinetOptions {
  readonly compression?: 'none' | 'mszip';
  /** Bytes reserved in the header, each folder and each block; undefined: no such fields. */
  readonly reserve?: number;
}

const BLOCK = 32_768;

/** A cabinet of one folder that holds these files (MS-CAB): what makecab writes, or any liar. */
export function writeCabinet(
  files: readonly { readonly name: string; readonly content: Uint8Array }[],
  { compression = 'mszip', reserve }: CabinetOptions = {},
): Uint8Array {
  const all = Buffer.concat(files.map(({ content }) => content));
  const reserved = new Uint8Array(reserve ?? 0);
  const blocks: Uint8Array[] = [];
  for (let start = 0; start < all.length; start += BLOCK) {
    const piece = all.subarray(start, start + BLOCK);
    const dictionary = all.subarray(Math.max(0, start - BLOCK), start);
    const packed =
      compression === 'none' ? piece : Buffer.concat([Buffer.from('CK'), deflateRawSync(piece, { dictionary })]);
    const header = new ByteWriter({ littleEndian: true }).u32(0).u16(packed.length).u16(piece.length);
    blocks.push(header.bytes(reserved).bytes(packed).finish());
  }
  const entries = new ByteWriter({ littleEndian: true });
  let offset = 0;
  for (const { name, content } of files) {
    entries
      .u32(content.length)
      .u32(offset)
      .u16(0)
      .u32(0)
      .u16(0x80)
      .bytes(Buffer.from(`${name}\0`));
    offset += content.length;
  }
  const names = entries.finish();
  const filesOffset = 36 + (reserve === undefined ? 0 : 4 + reserve) + 8 + reserved.length;
  const header = new ByteWriter({ littleEndian: true }).bytes(Buffer.from('MSCF')).bytes(new Uint8Array(12));
  header.u32(filesOffset).u32(0).u16(0x0103).u16(1).u16(files.length);
  header.u16(reserve === undefined ? 0 : 4).u32(0);
  if (reserve !== undefined) header.u16(reserve).u8(reserve).u8(reserve).bytes(reserved);
  header
    .u32(filesOffset + names.length)
    .u16(blocks.length)
    .u16(compression === 'none' ? 0 : 1)
    .bytes(reserved);
  return new Uint8Array(Buffer.concat([header.finish(), names, ...blocks]));
}
