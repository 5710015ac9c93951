import { ByteReader } from '../bytes/byte-reader.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';

/** UEFI_VARIABLE_DATA (PC Client PFP 1.06, 10.2.6): what firmware hashes of a variable. */
export interface EfiVariable {
  /** GUID in the spelling of the UEFI specification. */
  readonly vendor: string;
  readonly name: string;
  readonly value: Uint8Array;
}

/** EFI_GLOBAL_VARIABLE: SecureBoot, PK, KEK. */
export const GLOBAL_VENDOR = '8be4df61-93ca-11d2-aa0d-00e098032b8c';

const MAX_NAME = 1024;
const GUID_BYTES = 16;

/** Reads what an event about a variable holds; undefined where it holds something else. A claim, unless its digest is of it. */
export function parseEfiVariable(data: Uint8Array): EfiVariable | undefined {
  try {
    const reader = new ByteReader(data, 'UEFI_VARIABLE_DATA', { littleEndian: true });
    const vendor = guidText(reader.bytes(GUID_BYTES));
    const nameLength = reader.u64();
    const valueLength = reader.u64();
    if (nameLength > MAX_NAME || valueLength > data.length) return undefined;
    const name = Buffer.from(reader.bytes(2 * Number(nameLength))).toString('utf16le');
    const value = reader.bytes(Number(valueLength));
    reader.end();
    return { vendor, name, value };
  } catch {
    // The reader came to an end before the variable, or the variable before the bytes.
    return undefined;
  }
}

/** What firmware hashes for the variable SecureBoot. */
export function secureBootVariable(on: boolean): Uint8Array {
  const name = Buffer.from('SecureBoot', 'utf16le');
  return new ByteWriter({ littleEndian: true })
    .bytes(guidBytes(GLOBAL_VENDOR))
    .u64(BigInt(name.length / 2))
    .u64(1n)
    .bytes(name)
    .u8(on ? 1 : 0)
    .finish();
}

/** The first three fields of a GUID are little endian. */
function guidText(bytes: Uint8Array): string {
  const hex = (from: number, to: number) => Buffer.from(bytes.subarray(from, to)).toString('hex');
  const swapped = (from: number, to: number) => Buffer.from(bytes.subarray(from, to)).reverse().toString('hex');
  return [swapped(0, 4), swapped(4, 6), swapped(6, 8), hex(8, 10), hex(10, 16)].join('-');
}

function guidBytes(text: string): Uint8Array {
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex');
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}
