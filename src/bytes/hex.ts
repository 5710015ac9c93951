import { LacreError } from '../lacre-error.ts';

/** Lower-case hexadecimal of bytes. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** Bytes of hexadecimal text of either case, of exactly `byteLength` bytes where given. Throws bytes.hex. */
export function fromHex(text: string, byteLength?: number): Uint8Array {
  if (
    text.length % 2 !== 0 ||
    !/^[0-9a-fA-F]*$/.test(text) ||
    (byteLength !== undefined && text.length !== 2 * byteLength)
  ) {
    const wanted = byteLength === undefined ? 'hexadecimal' : `${2 * byteLength} hexadecimal digits`;
    throw new LacreError('bytes.hex', `${JSON.stringify(text.slice(0, 80))} is not ${wanted}`);
  }
  return new Uint8Array(Buffer.from(text, 'hex'));
}
