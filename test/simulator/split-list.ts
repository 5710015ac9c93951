/** The entries of a binary measurement list of templates with fields, each a copy of its bytes. */
export function splitList(list: Uint8Array): Uint8Array[] {
  const view = Buffer.from(list.buffer, list.byteOffset, list.byteLength);
  const entries: Uint8Array[] = [];
  for (let at = 0; at < view.length; ) {
    const nameLength = view.readUInt32LE(at + 24);
    const end = at + 28 + nameLength + 4 + view.readUInt32LE(at + 28 + nameLength);
    entries.push(new Uint8Array(view.subarray(at, end)));
    at = end;
  }
  return entries;
}
