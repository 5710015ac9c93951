import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { toHex } from '../../src/bytes/hex.ts';
import { sha256, ZERO_SHA256 } from '../../src/bytes/sha256.ts';
import { ListReplay } from '../../src/ima/list-replay.ts';
import type { Measurement } from '../../src/ima/measurement.ts';
import { isLacreError } from '../../src/lacre-error.ts';
import { Mutator } from '../fuzz/engine/mutator.ts';
import { Random } from '../fuzz/engine/random.ts';
import { legacyEntry, listEntry } from '../simulator/hostile-entry.ts';

const KEYLIME = '7.14.3';
const LISTS = join(import.meta.dirname, '../../vectors/ima');
const MUTATIONS = 60;
const MUTATED_BYTES = 6_000;
/** What Keylime's parser knows; its own agent asks for ima-sig. */
const THEIR_TEMPLATES = new Set(['ima', 'ima-ng', 'ima-sig', 'ima-buf']);

/** Why the two may differ over an entry that Lacre has read, by what is odd in it. */
const ALLOWED: readonly { readonly why: string; readonly is: (entry: RawEntry) => boolean }[] = [
  {
    why: 'the ASCII list, which is all that Keylime reads, shows names as they are: a space or a line end moves what follows',
    is: ({ fields, template }) =>
      [...nameOf(template, fields)].some((one) => one <= ' ' || one >= '\x7f' || one === '\\'),
  },
  {
    why: 'what the kernel prints does not show it: a digest without its zero byte, or fields of another length than their template has',
    is: ({ fields, template }) => !isPlain(template, fields),
  },
  {
    why: 'Keylime makes the signature anew from what it read, so one that is no signature is not in what it hashes; the kernel extends the bytes that are there',
    is: ({ fields, template }) => template === 'ima-sig' && !isSignature(fields[2] ?? Buffer.alloc(0)),
  },
];

interface RawEntry {
  readonly pcr: number;
  readonly digest: Buffer;
  readonly template: string;
  readonly fields: readonly Buffer[];
}

/** Frames of a binary list, by the kernel's ima_measurements_show: written apart from the product. */
function rawEntries(list: Buffer, count: number): RawEntry[] {
  const entries: RawEntry[] = [];
  let at = 0;
  const word = () => {
    at += 4;
    return list.readUInt32LE(at - 4);
  };
  const take = (length: number) => {
    at += length;
    return list.subarray(at - length, at);
  };
  while (entries.length < count) {
    const pcr = word();
    const digest = take(20);
    const template = take(word()).toString('latin1');
    const fields: Buffer[] = [];
    if (template === 'ima') fields.push(take(20), take(word()));
    else for (const end = word() + at; at < end; ) fields.push(take(word()));
    entries.push({ pcr, digest, template, fields });
  }
  return entries;
}

function nameOf(template: string, fields: readonly Buffer[]): string {
  const name = fields[1]?.toString('latin1') ?? '';
  return template === 'ima' ? name : name.replace(/\0$/, '');
}

function isPlain(template: string, fields: readonly Buffer[]): boolean {
  if (template === 'ima') return true;
  const [digest = Buffer.alloc(0), name] = fields;
  const at = digest.indexOf(':\0');
  return at > 0 && name?.at(-1) === 0 && /^[a-z0-9-]+$/.test(digest.toString('latin1', 0, at));
}

/** Nothing, or signature_v2_hdr: type 3, version 2, hash, key id, length (kernel, security/integrity/integrity.h). */
function isSignature(bytes: Buffer): boolean {
  return (
    bytes.length === 0 ||
    (bytes.length > 9 && bytes.readUInt16BE(0) === 0x0302 && bytes.readUInt16BE(7) === bytes.length - 9)
  );
}

/** The line that the kernel prints (ima_ascii_measurements_show). */
function asciiLine({ pcr, digest, template, fields }: RawEntry): string {
  const name = nameOf(template, fields);
  const [first = Buffer.alloc(0), , ...rest] = fields;
  const at = first.indexOf(0);
  const shown =
    template === 'ima'
      ? first.toString('hex')
      : first.toString('latin1', 0, at) + first.subarray(at + 1).toString('hex');
  const head = [String(pcr).padStart(2), digest.toString('hex'), template, shown, name.replaceAll('\n', ' ')];
  return [...head, ...rest.map((field) => field.toString('hex'))].join(' ');
}

interface TheirEntry {
  readonly refused?: string;
  readonly pcr?: number;
  readonly extends?: string;
  readonly path?: string;
  readonly digest?: string;
}

const python = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'lacre', `keylime-${KEYLIME}`);

/** Puts Keylime's parser into a folder of its own, once; a sentence where it can't be had. */
function missing(): string | undefined {
  const pip = join(python, 'bin/pip');
  const works = () =>
    spawnSync(join(python, 'bin/python'), ['-c', 'import keylime.ima.ast'], { stdio: 'ignore' }).status === 0;
  try {
    if (existsSync(pip) && works()) return undefined;
    execFileSync('python3', ['-m', 'venv', '--clear', python], { stdio: 'ignore', timeout: 120_000 });
    // What its package says that it needs is left out but for what the parser imports.
    execFileSync(pip, ['install', '-q', '--no-deps', `keylime==${KEYLIME}`, 'PyYAML==6.0.2'], {
      stdio: 'ignore',
      timeout: 300_000,
    });
    return works() ? undefined : `keylime ${KEYLIME} does not start`;
  } catch {
    return `keylime ${KEYLIME} can't be installed: python3 with venv, and PyPI, are needed`;
  }
}

function theirEntries(lines: readonly string[]): TheirEntry[] {
  const script = join(import.meta.dirname, 'keylime_entries.py');
  const input = Buffer.from(`${lines.join('\n')}\n`, 'latin1');
  const out = execFileSync(join(python, 'bin/python'), [script], { input, maxBuffer: 1 << 28 });
  const answers = out
    .toString('utf8')
    .trimEnd()
    .split('\n')
    .map((line): TheirEntry => JSON.parse(line));
  assert.equal(answers.length, lines.length);
  return answers;
}

function read(bytes: Uint8Array): { entries: Measurement[]; replay: ListReplay } | undefined {
  const replay = new ListReplay({ pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 });
  try {
    return { entries: replay.append(bytes), replay };
  } catch (error) {
    if (isLacreError(error)) return undefined;
    throw error;
  }
}

interface Compared {
  readonly raw: RawEntry;
  readonly ours: Measurement;
  readonly list: string;
}

/** Entries of a list, as far as Lacre reads it, that are in a template of Keylime's. */
function comparable(list: string, bytes: Buffer): Compared[] {
  const result = read(bytes);
  if (result === undefined) return [];
  const raw = rawEntries(bytes, result.entries.length);
  return result.entries.flatMap((ours, index) => {
    const entry = raw[index] ?? assert.fail('an entry less');
    return THEIR_TEMPLATES.has(entry.template) ? [{ raw: entry, ours, list }] : [];
  });
}

/** What the kernel extends into the SHA-256 bank, recomputed by Lacre: the step from one value of the PCR to the next. */
function extendedBy(entry: RawEntry): string {
  const replay = new ListReplay({ pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 });
  replay.append(frameOf({ ...entry, pcr: 10 }));
  return toHex(replay.pcrsAt(1)?.pcr10 ?? new Uint8Array());
}

function frameOf({ pcr, digest, template, fields }: RawEntry): Buffer {
  const word = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
  const sized = (bytes: Buffer) => Buffer.concat([word(bytes.length), bytes]);
  const [first = Buffer.alloc(0), name = Buffer.alloc(0)] = fields;
  const data = template === 'ima' ? Buffer.concat([first, sized(name)]) : sized(Buffer.concat(fields.map(sized)));
  return Buffer.concat([word(pcr), digest, sized(Buffer.from(template)), data]);
}

function difference({ raw, ours }: Compared, theirs: TheirEntry): string | undefined {
  if (theirs.refused !== undefined) return `Keylime refuses: ${theirs.refused}`;
  if (theirs.pcr !== ours.pcr) return `PCR ${theirs.pcr}, not ${ours.pcr}`;
  const folded = toHex(sha256(ZERO_SHA256, Buffer.from(theirs.extends ?? '', 'hex')));
  if (folded !== extendedBy(raw)) return 'another value is extended';
  if (theirs.path !== ours.path) return `path ${theirs.path}, not ${ours.path}`;
  if (ours.fileDigest !== undefined && theirs.digest !== ours.fileDigest.hex) return 'another file digest';
  return undefined;
}

const reason = missing();
const skip = reason !== undefined && process.env['CI'] !== 'true' ? reason : false;

describe(`the same entries as Keylime ${KEYLIME}`, { skip }, () => {
  const recorded = readdirSync(LISTS).filter((name) => name.endsWith('.list'));
  const made = Buffer.concat([
    legacyEntry('/bin/a'),
    listEntry({ template: 'ima-ng' }),
    listEntry({ template: 'ima-sig', rest: [Uint8Array.of(3, 2, 4, 1, 2, 3, 4, 0, 3, 7, 8, 9)] }),
    listEntry({ violation: true, path: '/var/log/x' }),
    listEntry({
      template: 'ima-buf',
      digest: sha256(Buffer.from('a')),
      rest: [Buffer.from('a')],
      path: 'kexec-cmdline',
    }),
  ]);

  test('of every template that both know, and of all recorded lists', () => {
    const lists = recorded.map((name) => [name, readFileSync(join(LISTS, name))] as const);
    const entries = [['made', made] as const, ...lists].flatMap(([name, bytes]) => comparable(name, bytes));
    assert.ok(entries.length > 400, `${entries.length} entries`);
    // The one: a file of tcb-violation.list with a line end in its name, which makes two lines of the ASCII list.
    check(entries, 1);
  });

  test(`of ${MUTATIONS} changes of each list`, () => {
    const entries = recorded.flatMap((name) => {
      const bytes = new Uint8Array(readFileSync(join(LISTS, name)).subarray(0, MUTATED_BYTES));
      const mutator = new Mutator(new Random(5), ['/bin/a\0', 'sha256:\0', ' ', '\n'], MUTATED_BYTES + 64);
      return Array.from({ length: MUTATIONS }, () => comparable(name, Buffer.from(mutator.next([bytes, made])))).flat();
    });
    assert.ok(entries.length > 500, `${entries.length} entries`);
    check(entries);
  });
});

/** Asks Keylime of each entry; what differs must have a reason, at most `most` times. */
function check(entries: readonly Compared[], most = Number.POSITIVE_INFINITY): void {
  const theirs = theirEntries(entries.map(({ raw }) => asciiLine(raw)));
  const differing = entries.flatMap((entry, index) => {
    const what = difference(entry, theirs[index] ?? {});
    return what === undefined ? [] : [{ entry, what }];
  });
  const unexplained = differing.filter(({ entry }) => !ALLOWED.some(({ is }) => is(entry.raw)));
  assert.deepEqual(
    unexplained.map(({ entry, what }) => `${entry.list} ${asciiLine(entry.raw).slice(0, 200)}: ${what}`),
    [],
  );
  if (differing.length <= most) return;
  assert.fail(differing.map(({ entry, what }) => `${entry.list} ${asciiLine(entry.raw)}: ${what}`).join('\n'));
}
