import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import { LacreError } from '../lacre-error.ts';

/** One file or folder of an archive: its header and its content. */
export type TarEntry = ReturnType<typeof extract> extends AsyncIterable<infer E> ? E : never;

/** Entries of a tar file in their order; each must be read or resumed before the next. Throws cli.file.invalid. */
export async function* tarEntries(archive: string): AsyncGenerator<TarEntry> {
  const tar = extract();
  const reading = pipeline(createReadStream(archive), tar).catch((error: unknown) => error);
  try {
    for await (const entry of tar) {
      // A size that is no number (neither octal nor base-256) would keep the reader waiting for ever.
      if (!Number.isSafeInteger(entry.header.size) || (entry.header.size ?? 0) < 0) {
        throw new Error(`${entry.header.name} has no size`);
      }
      yield entry;
    }
  } catch (cause) {
    throw new LacreError('cli.file.invalid', `${archive} cannot be read as a tar file`, { archive }, { cause });
  }
  const cause = await reading;
  if (cause) throw new LacreError('cli.file.invalid', `${archive} cannot be read to its end`, { archive }, { cause });
}
