import { isUtf8 } from 'node:buffer';

const BACKSLASH = 0x5c;
const UNPRINTABLE = /[\p{Cc}\u2028\u2029\\]/gu;

/**
 * A name of the measurement list as text. UTF-8 is kept; a backslash, control characters, line separators, and every byte
 * from 0x80 of a name that is no UTF-8 become `\xNN` per byte, so that no two names become the same text.
 */
export function decodeName(bytes: Buffer): string {
  if (isPlain(bytes)) return bytes.toString('latin1');
  if (isUtf8(bytes)) return bytes.toString('utf8').replace(UNPRINTABLE, escapeCharacter);
  return [...bytes].map((byte) => (isPrintable(byte) ? String.fromCharCode(byte) : escapeByte(byte))).join('');
}

/**
 * The text under which a file of this path is found in the list: reference values must be keyed by it. The kernel writes
 * every space of a name as an underscore (ima_write_template_field_data), and `decodeName` escapes.
 */
export function measuredName(path: string | Uint8Array): string {
  const bytes = Buffer.from(path);
  for (let i = 0; i < bytes.length; i++) if (bytes[i] === 0x20) bytes[i] = 0x5f;
  return decodeName(bytes);
}

function isPlain(bytes: Buffer): boolean {
  for (let i = 0; i < bytes.length; i++) if (!isPrintable(bytes[i] as number)) return false;
  return true;
}

function isPrintable(byte: number): boolean {
  return byte >= 0x20 && byte < 0x7f && byte !== BACKSLASH;
}

function escapeCharacter(character: string): string {
  return [...Buffer.from(character)].map(escapeByte).join('');
}

function escapeByte(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}
