/** Tests only: initrds as `cpio -H newc` writes them. */

/** A name of an archive; what is left out is 0, but for the mode (a program) and the one name of a file. */
export interface CpioName {
  readonly name: string;
  readonly data?: string;
  readonly mode?: number;
  readonly inode?: number;
  readonly links?: number;
  readonly device?: readonly [major: number, minor: number];
}

/** A newc archive with its trailer. */
export function cpio(...names: CpioName[]): Buffer {
  return Buffer.concat([...names, { name: 'TRAILER!!!', mode: 0 }].map(cpioEntry));
}

/** One name with its header: 6 bytes of magic, and 13 fields of 8 digits. */
export function cpioEntry({
  name,
  data = '',
  mode = 0o100755,
  inode = 0,
  links = 1,
  device: [major, minor] = [0, 0],
}: CpioName): Buffer {
  const fields = [inode, mode, 0, 0, links, 0, Buffer.byteLength(data), major, minor, 0, 0, name.length + 1, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
  return Buffer.concat([padded(Buffer.from(header, 'latin1')), padded(Buffer.from(data))]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
