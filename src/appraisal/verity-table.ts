/** A device of dm-verity, as the kernel measured it when its table was loaded. */
export interface VerityTable {
  /** SHA-256 over the top of the hash tree, which covers every block of the device. */
  readonly rootDigestHex: string;
  /** A block that is not as the tree says is refused, not just logged. */
  readonly enforces: boolean;
}

/** What is done with a changed block, where it is not the usual: a failed read. The third, ignore_corruption, logs it. */
const REFUSING: ReadonlySet<string> = new Set(['restart_on_corruption', 'panic_on_corruption']);

/**
 * Reads the text of a `dm_table_load` entry; undefined where it is anything but one whole verity table by SHA-256. Separators
 * in names that root gives are escaped by the kernel, so they make no field (kernel: admin-guide/device-mapper/dm-ima.rst,
 * drivers/md/dm-ima.c).
 */
export function readVerityTable(measured: Uint8Array): VerityTable | undefined {
  const fields = new Map<string, string>();
  for (const field of Buffer.from(measured).toString().split(/[,;]/)) {
    const [name = '', ...value] = field.split('=');
    if (name !== '' && fields.has(name)) return undefined; // more than one target
    fields.set(name, value.join('='));
  }
  const isVerity =
    fields.get('num_targets') === '1' &&
    fields.get('target_begin') === '0' &&
    fields.get('target_name') === 'verity' &&
    fields.get('verity_algorithm') === 'sha256';
  const rootDigestHex = fields.get('root_digest');
  if (!isVerity || rootDigestHex === undefined || !/^[0-9a-f]{64}$/.test(rootDigestHex)) return undefined;
  const mode = fields.get('verity_mode');
  return { rootDigestHex, enforces: fields.get('hash_failed') === 'V' && (mode === undefined || REFUSING.has(mode)) };
}
