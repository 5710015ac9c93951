import { ByteReader } from '../bytes/byte-reader.ts';

const MEDIA = 4;
const FILE_PATH = 4;
const END = 0x7f;
const MAX_NODES = 64;

/**
 * The file that an EFI device path names (UEFI 2.10, 10.3.5.4), such as `\EFI\debian\shimx64.efi`; empty where it names
 * none. Throws bytes.truncated.
 */
export function devicePathText(bytes: Uint8Array): string {
  const reader = new ByteReader(bytes, 'device path', { littleEndian: true });
  const parts: string[] = [];
  for (let node = 0; node < MAX_NODES && reader.remaining >= 4; node++) {
    const type = reader.u8();
    const subType = reader.u8();
    const body = reader.bytes(Math.max(0, reader.u16() - 4));
    if (type === END) break;
    if (type === MEDIA && subType === FILE_PATH) {
      parts.push(Buffer.from(body).toString('utf16le').replace(/\0$/, ''));
    }
  }
  return parts.join('');
}
