/** Bytes that stand for themselves, alone and together. */
const PLAIN = /^[ -[\]-~]*$/;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Text of a path's bytes that no two paths share: valid UTF-8 stands for itself; of the rest each byte becomes `\xNN`,
 * and so does a backslash, everywhere.
 */
export function pathText(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  if (PLAIN.test(text)) return text;
  try {
    return utf8.decode(bytes).replaceAll('\\', '\\x5c');
  } catch {
    return Array.from(bytes, escaped).join('');
  }
}

function escaped(byte: number): string {
  const plain = byte >= 0x20 && byte < 0x7f && byte !== 0x5c;
  return plain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
}
