import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { LacreError } from '../lacre-error.ts';
import { type CheckNote, checkConfig, dataFilesOf } from './check-config.ts';

const MAX_BYTES = 64 * 1024 * 1024;
const EntriesSchema = z.object({
  entries: z.array(
    z.object({
      id: z.string().default(''),
      spiffe_id: z.object({ trust_domain: z.string(), path: z.string() }),
      parent_id: z.object({ path: z.string() }).optional(),
      selectors: z.array(z.object({ type: z.string(), value: z.string() })).default([]),
    }),
  ),
});

/** Reads the files and says what is missing, entries without a lacre selector first. Codes: spire.config.invalid. */
export async function checkSpireFiles(configs: readonly string[], entries: string | undefined): Promise<CheckNote[]> {
  const notes = entries === undefined ? [] : checkEntries(entries, await textOf(entries));
  for (const path of configs) notes.push(...(await checkConfigFile(path)));
  return notes;
}

/** @param text what `spire-server entry show -output json` prints. Codes: spire.config.invalid. */
export function checkEntries(name: string, text: string): CheckNote[] {
  let parsed: z.output<typeof EntriesSchema>;
  try {
    parsed = EntriesSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new LacreError(
      'spire.config.invalid',
      `${name} is not what "spire-server entry show -output json" prints`,
      {},
      { cause },
    );
  }
  return parsed.entries
    .filter(
      ({ selectors }) =>
        selectors.length > 0 && !selectors.some(({ type }) => type === 'lacre' || type === 'lacre_tpm'),
    )
    .map(({ id, spiffe_id: { trust_domain, path }, parent_id: parent, selectors }) => {
      const entry = `entry ${id} of spiffe://${trust_domain}${path}`;
      // An alias of nodes gives nobody an identity; SPIRE makes one itself for a join token.
      return parent?.path === '/spire/server' || selectors.some(({ type }) => type === 'spiffe_id')
        ? { missing: false, sentence: `${entry} is an alias of nodes that another attestor than lacre_tpm vouches for` }
        : { missing: true, sentence: `${entry} has no selector of Lacre: who fulfils it gets the identity unproven` };
    });
}

async function checkConfigFile(path: string): Promise<CheckNote[]> {
  const text = await textOf(path);
  const texts = new Map<string, string>();
  const faults = new Map<string, unknown>();
  for (const file of new Set(dataFilesOf(path, text))) {
    await textOf(file).then(
      (data) => texts.set(file, data),
      (error: unknown) => faults.set(file, error),
    );
  }
  return checkConfig(path, text, (file) => {
    const data = texts.get(file);
    if (data === undefined) throw faults.get(file);
    return data;
  });
}

async function textOf(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    if (bytes.length <= MAX_BYTES) return bytes.toString('utf8');
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    throw new LacreError('spire.config.invalid', `${path} can't be read: ${reason}`, { path }, { cause });
  }
  throw new LacreError('spire.config.invalid', `${path} is longer than 64 MiB`, { path });
}
