import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fatalFinding } from '../src/appraisal/finding.ts';
import { parseSelector } from '../src/appraisal/selector/selector.ts';
import { concludeVerdict, refuseVerdict } from '../src/appraisal/verdict.ts';
import { parseEventLog } from '../src/boot/event-log.ts';
import { foldBank } from '../src/boot/replayed-boot.ts';
import { fromHex, toHex } from '../src/bytes/hex.ts';
import { ZERO_SHA256 } from '../src/bytes/sha256.ts';
import { parseCgroup } from '../src/container/cgroup.ts';
import { parseMountInfo } from '../src/container/mount-info.ts';
import { decodeContainer, decodeRecord } from '../src/container/record.ts';
import { parseUidMap, rangeOf } from '../src/container/uid-map.ts';
import { SpiffeId } from '../src/identity/spiffe-id.ts';
import { TrustDomain } from '../src/identity/trust-domain.ts';
import { ListReplay } from '../src/ima/list-replay.ts';
import { isDnsName } from '../src/issuance/dns-name.ts';
import { SigningAuthority } from '../src/issuance/signing-authority.ts';
import { issueX509Svid } from '../src/issuance/x509-svid.ts';
import { isLacreError } from '../src/lacre-error.ts';

const root = join(import.meta.dirname, '..');
const vectors = join(root, 'vectors');

/** One case, as it stands in the file: its input, `verdict`, and what else must come out. */
type Case = Readonly<Record<string, unknown>>;

/** Files that hold cases under one `about`. Each gives what the case must say, beside its input. */
const CASES: Readonly<Record<string, (input: Case) => object | Promise<object>>> = {
  'ima/small/entry.json': ({ listHex }) => {
    const replay = new ListReplay({ pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 });
    const [entry] = replay.append(fromHex(String(listHex)));
    const pcrs = replay.pcrsAt(1);
    if (entry === undefined || pcrs === undefined) return { verdict: 'incomplete' };
    const pcrsHex = { 10: toHex(pcrs.pcr10), 13: toHex(pcrs.pcr13), 14: toHex(pcrs.pcr14) };
    return { verdict: 'read', pcr: entry.pcr, path: entry.path, pcrsHex };
  },
  'boot/small/log.json': ({ logHex, bank = 'sha256' }) => {
    const values = foldBank(parseEventLog(fromHex(String(logHex))), bank as 'sha1' | 'sha256').map(toHex);
    const pcrsHex = Object.fromEntries([...values.entries()].filter(([, value]) => !/^0+$/.test(value)));
    return { verdict: 'replayed', bank, pcrsHex };
  },
  'container/record.json': ({ message, bytesHex }) => {
    const bytes = fromHex(String(bytesHex));
    const { sha256 } = message === 'record' ? decodeRecord(bytes) : decodeContainer(bytes);
    return { verdict: 'read', sha256Hex: toHex(sha256) };
  },
  'container/uid-map.json': ({ text }) => ({ verdict: 'read', range: rangeOf(parseUidMap(String(text))) ?? null }),
  'container/cgroup.json': ({ text }) => ({
    verdict: 'read',
    containerId: parseCgroup(String(text))?.containerId ?? null,
  }),
  'container/mountinfo.json': ({ text, line, times }) => {
    const whole = text === undefined ? String(line).repeat(Number(times)) : String(text);
    const mounts = parseMountInfo(Buffer.from(whole)).map(({ target, type, options }) => ({ target, type, options }));
    return { verdict: 'read', mounts };
  },
  'identity/spiffe-id.json': ({ uri }) => ({ verdict: SpiffeId.parse(String(uri)) && 'accepted' }),
  'appraisal/selector.json': ({ selector }) => ({ verdict: parseSelector(String(selector)) && 'accepted' }),
  'issuance/dns-name.json': ({ name }) => ({ verdict: isDnsName(String(name)) ? 'accepted' : 'refused' }),
  'issuance/svid.json': issue,
};

/** Folders whose vectors another test runs, each file of them: which test, and what of a file is no verdict. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  agent: 'src/agent/config.test.ts',
  'tpm/quote': 'src/tpm/quote.test.ts',
  'tpm/public-area': 'src/tpm/public-area.test.ts',
  'tpm/endorsement': 'src/tpm/endorsement.test.ts',
  'tpm/batch': 'src/tpm/qualifying-data.test.ts',
  boot: 'src/boot/replayed-boot.test.ts',
  ima: 'src/ima/list-replay.test.ts',
  container: 'src/container/sample.test.ts',
  appraisal: 'src/appraisal/sample.test.ts',
  'identity/csr': 'src/identity/csr.test.ts',
  'identity/x509-svid': 'src/identity/x509-svid.test.ts',
  found: 'test/fuzz/fuzz.test.ts',
};
/** What each JSON file of such a folder must say, one of them. */
const VERDICTS = ['verdict', 'pcrsHex', 'expected', 'nodes', 'host', 'names', 'cases', 'batches', 'leavesHex'];
/** Inputs that are JSON themselves: the folder's expected.json or the README says what must come of them. */
const INPUTS = /^(container\/[\w.-]+\.config|appraisal\/podman-image\/\w+)\.(json|sha256)$/;

const files = readdirSync(vectors, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(vectors.length + 1));
const read = (path: string): Case => JSON.parse(readFileSync(join(vectors, path), 'utf8'));

async function issue(input: Case): Promise<object> {
  const { now, evidence, ttlSeconds, authorityEnds, trusted, uri, dnsNames } = input;
  const time = (value: unknown) => new Date(String(value));
  const key = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const serial = new Uint8Array(16).fill(7);
  const authority = SigningAuthority.create({
    trustDomain: TrustDomain.parse('lab.example'),
    key: key().privateKey,
    serial,
    now: time(now),
    ttlMs: time(authorityEnds).getTime() - time(now).getTime(),
    subject: { organization: 'Lacre', commonName: 'vectors' },
  });
  const svid = await issueX509Svid({
    verdict:
      trusted === true
        ? concludeVerdict('c', [], [], time(evidence))
        : refuseVerdict('c', [fatalFinding('ima.list.unexplained', 'c', 'no')], time(evidence)),
    spiffeId: SpiffeId.parse(String(uri)),
    publicKey: new Uint8Array(key().publicKey.export({ format: 'der', type: 'spki' })),
    authority,
    now: time(now),
    ttlSeconds: Number(ttlSeconds),
    serial,
    dnsNames: (dnsNames ?? []) as string[],
  });
  return { verdict: 'issued', notAfter: svid.notAfter.toISOString() };
}

for (const [path, outcomeOf] of Object.entries(CASES)) {
  const { cases } = read(path) as { readonly cases: readonly Case[] };
  for (const [index, one] of cases.entries()) {
    test(`${path} ${index}: ${one['note'] ?? one['uri'] ?? one['selector'] ?? one['name']}`, async () => {
      const outcome = await Promise.resolve()
        .then(() => outcomeOf(one))
        .catch((error: unknown) => {
          if (isLacreError(error)) return { verdict: error.code };
          throw error;
        });
      assert.equal(typeof one['verdict'], 'string', 'a vector without a verdict');
      assert.deepEqual({ ...one, ...outcome }, one);
    });
  }
  test(`${path} has good ones and faulty ones`, () => {
    const verdicts = new Set(cases.map(({ verdict }) => verdict));
    assert.ok(verdicts.size > 1, [...verdicts].join());
  });
}

test('every file of vectors has a verdict, and a test that runs it', () => {
  const orphans = files.filter((path) => !path.endsWith('README.md') && !isRun(path));
  assert.deepEqual(orphans, []);
  const strangers = ['boot/nothing.log', 'ima/nothing.list', 'tpm/new/a.json', 'issuance/new.json'];
  assert.deepEqual(strangers.filter(isRun), []);
});

test('an index names every vector beside it', () => {
  for (const folder of ['identity/csr', 'identity/x509-svid']) {
    const beside = files.filter((path) => path.startsWith(`${folder}/`) && path.endsWith('.json')).sort();
    const { names } = read(`${folder}/index.json`) as { readonly names: readonly string[] };
    assert.deepEqual([...names, 'index'].map((name) => `${folder}/${name}.json`).sort(), beside);
  }
});

test('every folder of a link has a README', () => {
  const folders = new Set(files.map((path) => path.split('/')[0] ?? '').filter((name) => !name.endsWith('.md')));
  assert.deepEqual(
    [...folders].filter((folder) => !existsSync(join(vectors, folder, 'README.md'))),
    [],
  );
  assert.ok(existsSync(join(vectors, 'README.md')));
});

test('PCRs of vectors/ima/small/entry.json are what a few lines of other code say', () => {
  const { cases } = read('ima/small/entry.json') as { readonly cases: readonly Case[] };
  const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest();
  for (const { listHex, verdict, pcr, pcrsHex } of cases) {
    if (verdict !== 'read') continue;
    const list = Buffer.from(String(listHex), 'hex');
    const nameEnd = 28 + list.readUInt32LE(24);
    const name = list.toString('latin1', 28, nameEnd);
    const violation = list.subarray(4, 24).every((byte) => byte === 0);
    const legacy = Buffer.alloc(276);
    list.copy(legacy, 0, nameEnd, nameEnd + 20);
    list.copy(legacy, 20, nameEnd + 24);
    const data = name === 'ima' ? legacy : list.subarray(nameEnd + 4);
    const step = violation ? Buffer.alloc(32, 0xff) : digestOf(data);
    const values = pcrsHex as Readonly<Record<string, string>>;
    assert.equal(values[String(pcr)], digestOf(Buffer.concat([Buffer.alloc(32), step])).toString('hex'));
  }
});

/** By the table above, or by a test that walks its folder; a binary file beside its JSON, or in the folder of it. */
function isRun(path: string): boolean {
  if (CASES[path] !== undefined || INPUTS.test(path)) return true;
  const folder = Object.keys(ELSEWHERE)
    .sort((a, b) => b.length - a.length)
    .find((name) => path.startsWith(`${name}/`));
  const runner = folder === undefined ? undefined : ELSEWHERE[folder];
  if (folder === undefined || runner === undefined || !existsSync(join(root, runner))) return false;
  if (!readFileSync(join(root, runner), 'utf8').includes('vectors')) return false;
  if (folder === 'agent') return true;
  if (path.endsWith('.json')) return files.includes(path) && VERDICTS.some((key) => read(path)[key] !== undefined);
  const rest = path.slice(folder.length + 1);
  const stem = rest.includes('/') ? (rest.split('/')[0] ?? '') : rest.replace(/\.[^.]+$/, '');
  const beside = [`${folder}/${stem}.json`, `${folder}/expected.json`].filter((name) => files.includes(name));
  return beside.some(
    (name) => name.endsWith(`${stem}.json`) || readFileSync(join(vectors, name), 'utf8').includes(stem),
  );
}
