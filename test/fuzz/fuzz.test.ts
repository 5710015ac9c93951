import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { Mutator } from './engine/mutator.ts';
import { outcomeOf } from './engine/outcome.ts';
import { Random } from './engine/random.ts';
import { exists, loadTarget, parsersOf, targetNames } from './engine/registry.ts';
import type { FuzzTarget } from './engine/target.ts';

/** What is called like a parser and reads no foreign bytes itself. */
const EXCUSED: Readonly<Record<string, string>> = {
  'src/agent/container-watch-process.ts#readProcesses':
    'reads files of /proc; the container- targets have what is in them',
  'src/agent/evidence-observation.ts#readEventLog': 'reads a file; boot-event-log has what is in it',
  'src/agent/evidence-tpm.ts#readIntermediates': 'an interface',
  'src/agent/measurement-list.ts#read': 'reads a file; ima-list has what is in it',
  'src/agent/native.ts#readProcess': 'an interface',
  'src/agent/notify.ts#ready': 'tells systemd',
  'src/agent/proc.ts#readKernelFile': 'reads a file within its bound',
  'src/agent/proc.ts#readBounded': 'reads a file within its bound',
  'src/agent/process-facts.ts#readProcessFacts': 'reads files of /proc; the container- targets have what is in them',
  'src/agent/tpm-client.ts#readIntermediates': 'asks the TPM; tpm-response and tpm-certificate have its answers',
  'src/agent/tpm-endorsement.ts#readIntermediates': 'asks the TPM; tpm-response and tpm-certificate have its answers',
  'src/cli/preparation-files.ts#readText': "reads a file of the administrator's own",
  'src/lab/image/oci-archive.ts#readOciLayers': 'of the lab',
  'src/lab/machine/control-channel.ts#readFile': 'of the lab',
  'src/lab/reads/reads-report.ts#readsReport': 'of the lab',
  'src/server/authority-folder.ts#read': "the server's own folder",
  'src/server/enrolment-roots.ts#readEndorsementRoots': "the administrator's files, by OpenSSL",
  'src/server/secret-file.ts#readSecretFile': "the server's own folder",
};

const ENGINE = join(import.meta.dirname, 'engine/main.ts');
const FOUND = join(import.meta.dirname, '../../vectors/found');
/** CPU time of the coverage-guided run of one target. */
const CPU_MS = 300;

const names = targetNames();
const targets = new Map<string, FuzzTarget>();
for (const name of names) targets.set(name, await loadTarget(name));
// What a target has opened (sockets) must not keep this process.
after(() => setImmediate(() => process.exit()));

test('every parser in src has a target, or a reason why not', () => {
  const covered = new Set([...targets.values()].flatMap(({ parsers }) => parsers));
  const all = new Set(parsersOf());
  assert.ok(all.size > 50);
  const open = [...all].filter((parser) => !covered.has(parser) && EXCUSED[parser] === undefined);
  assert.deepEqual(open, [], 'write a target in test/fuzz');
  assert.deepEqual(
    [...covered].filter((parser) => !exists(parser)),
    [],
    'a target names what is no more',
  );
  assert.deepEqual(
    Object.keys(EXCUSED).filter((parser) => !all.has(parser)),
    [],
    'an excuse for what is no more',
  );
});

test('a parser without a target is noticed', () => {
  assert.ok(parsersOf().includes('src/tpm/attest.ts#parseQuote'));
  assert.equal(exists('src/tpm/attest.ts#parseNothing'), false);
});

for (const [name, target] of targets) {
  test(`${name}: changed seeds: only the typed error escapes, twice the same, the input untouched, nothing read beside it`, async () => {
    const seeds = target.seeds().map((seed) => seed.slice(0, 16_384));
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        const mutator = new Mutator(new Random(seed), target.words ?? [], Math.min(target.maxBytes, 16_384));
        const bytes = mutator.next(seeds);
        const copy = bytes.slice();
        const first = await outcomeOf(target, bytes);
        if ('escaped' in first) throw first.escaped;
        assert.deepEqual(bytes, copy);
        const amid = new Uint8Array(bytes.length + 64).fill(0xa5);
        amid.set(bytes, 32);
        assert.deepEqual(await outcomeOf(target, amid.subarray(32, 32 + bytes.length)), first);
      }),
      { numRuns: 30 },
    );
  });

  test(`${name}: some seed is accepted, so that changes begin at what is well-formed`, async () => {
    const outcomes = [];
    for (const seed of target.seeds()) outcomes.push(await outcomeOf(target, seed));
    assert.ok(
      outcomes.some((outcome) => 'verdict' in outcome && outcome.verdict === 'accepted'),
      JSON.stringify(outcomes),
    );
  });
}

describe('guided by coverage', { concurrency: 2 }, () => {
  for (const name of names) {
    test(name, async () => {
      const args = [ENGINE, name, '--minutes', String(CPU_MS / 60_000), '--seed', '1', '--forget'];
      const output = await new Promise<string>((resolve, reject) => {
        execFile(process.execPath, args, (error, stdout, stderr) =>
          error === null ? resolve(stdout) : reject(new Error(`${stdout}${stderr}`)),
        );
      });
      assert.match(output, /: \d+ runs, [1-9]\d* inputs kept/);
    });
  }
});

interface FoundVector {
  readonly target: string;
  readonly verdict: string;
}

for (const file of readdirSync(FOUND).filter((one) => one.endsWith('.bin'))) {
  test(`found: ${file}`, async () => {
    const vector: FoundVector = JSON.parse(readFileSync(join(FOUND, file.replace(/bin$/, 'json')), 'utf8'));
    const target = targets.get(vector.target) ?? assert.fail(`no target ${vector.target}`);
    const bytes = new Uint8Array(readFileSync(join(FOUND, file)));
    assert.deepEqual(await outcomeOf(target, bytes), { verdict: vector.verdict });
  });
}
