import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Defences of the server, each taken out of `safety.pml`. */
const SAFETY_MUTANTS = [
  'NO_FENCE',
  'EVIDENCE_INHERITED',
  'NONCE_OF_ANY_SESSION',
  'NONCE_FOR_EVER',
  'PREFIX_UNCHECKED',
  'AGE_FROM_ARRIVAL',
  'UNCONFIRMED_KEPT',
  'REUSED_AT_ANY_AGE',
  'ONLY_QUOTED_ENTRIES',
  'TAINTS_IN_MEMORY',
];
const LIVENESS_MUTANTS = [
  'NONCES_NOT_REPLACED',
  'LATE_NONCE_SWALLOWED',
  'NOT_ASKED_AGAIN',
  'PENDING_FORGOTTEN',
  'DEAD_QUOTE_FORGETS',
];

const MODES = {
  safety: { compile: ['-DSAFETY', '-DNOCLAIM', '-DCOLLAPSE'], check: [] },
  liveness: { compile: ['-DNFAIR=4'], check: ['-a', '-f'] },
} as const;

function missing(): string | undefined {
  try {
    for (const program of ['spin', 'gcc']) execFileSync('which', [program], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'spin and gcc are needed';
  }
}

const reason = missing();
const skip = reason !== undefined && process.env['CI'] !== 'true' ? reason : false;

interface Checked {
  readonly errors: number;
  readonly states: number;
  /** False where the search was cut: nothing is shown then. */
  readonly complete: boolean;
}

/** Looks at every state of a model within its bounds. */
async function check(model: keyof typeof MODES, mutant?: string): Promise<Checked> {
  const folder = await mkdtemp(join(tmpdir(), 'lacre-model-'));
  try {
    const options = { cwd: folder, maxBuffer: 1 << 24 };
    const defines = mutant === undefined ? [] : [`-D${mutant}`];
    await run('spin', [...defines, '-a', join(import.meta.dirname, `${model}.pml`)], options);
    await run('gcc', ['-O1', '-DMEMLIM=2048', ...MODES[model].compile, '-o', 'pan', 'pan.c'], options);
    const { stdout } = await run('./pan', [...MODES[model].check, '-m100000'], options);
    const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? Number.NaN);
    return {
      errors: number(/errors: (\d+)/),
      states: number(/([\d.e+]+) states, stored/),
      complete: !/search depth too small|out of memory|max search depth/i.test(stdout),
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('the node protocol, by every state of a model', { skip }, () => {
  test('a node that lies gets no SVID without fresh trusted evidence, and none after something bad was seen', async () => {
    const { errors, states, complete } = await check('safety');
    assert.deepEqual({ errors, complete }, { errors: 0, complete: true });
    assert.ok(states > 500_000, `${states} states: the model has become too small to mean anything`);
  });

  test('every request of an honest agent ends', async () => {
    const { errors, states, complete } = await check('liveness');
    assert.deepEqual({ errors, complete }, { errors: 0, complete: true });
    assert.ok(states > 100_000, `${states} states: the model has become too small to mean anything`);
  });

  for (const mutant of SAFETY_MUTANTS) {
    test(`without a defence the check fails: ${mutant}`, async () => {
      assert.equal((await check('safety', mutant)).errors, 1);
    });
  }

  for (const mutant of LIVENESS_MUTANTS) {
    test(`with a fault of either side a request hangs: ${mutant}`, async () => {
      assert.equal((await check('liveness', mutant)).errors, 1);
    });
  }
});
