import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { crowdedFiles, placeWith } from '../../test/simulator/crowded-file.ts';
import { toHex } from '../bytes/hex.ts';
import { KEY_NAME_AT, MeasuredFile } from '../ima/measured-file.ts';
import { FileTable } from './reference/file-table.ts';
import type { Sighting } from './sighting.ts';
import { SightingSet } from './sighting-set.ts';

const measuredOf = MeasuredFile.ofSha256;

/** What a set does, said plainly: a text of each sighting. */
class PlainSet {
  list: Sighting[] = [];
  texts = new Set<string>();
  dropped = 0;
  readonly max: number;
  readonly byOwner: boolean;

  constructor(max: number, byOwner: boolean) {
    this.max = max;
    this.byOwner = byOwner;
  }

  add(sighting: Sighting): boolean {
    const text = this.textOf(sighting);
    if (this.texts.has(text)) return false;
    if (this.list.length >= this.max) {
      this.dropped++;
      return false;
    }
    this.texts.add(text);
    return this.list.push(sighting) > 0;
  }

  take(condition: (sighting: Sighting) => boolean): Sighting[] {
    const taken = this.list.filter(condition);
    this.list = this.list.filter((one) => !condition(one));
    this.texts = new Set(this.list.map((one) => this.textOf(one)));
    return taken;
  }

  wasExecuted(path: string, digests: string[]): boolean {
    return this.list.some(
      (one) =>
        one.pcr === 10 &&
        one.template === 'evm-sig' &&
        one.digestState === 'usable' &&
        one.path === path &&
        digests.includes(one.hex),
    );
  }

  textOf({ pcr, template, digestState, hex, path, iuid }: Sighting): string {
    return `${this.byOwner ? iuid : ''} ${pcr} ${template} ${digestState} ${hex} ${path}`;
  }
}

const crowd = take(300);
function take(count: number, place?: number): { readonly path: string; readonly sha256: Uint8Array }[] {
  const files = crowdedFiles(place);
  return Array.from({ length: count }, () => files.next().value ?? assert.fail());
}

const ordinary = ['/a', '/b', '/bin/app', '/caf\u00e9', '/a b'].flatMap((path) =>
  ['01', '02'].map((byte) => ({ path, sha256: Buffer.alloc(32, byte, 'hex') })),
);
const shared = FileTable.of([...crowd, ...ordinary].map((file) => ({ ...file, mode: 0 }))).index;

interface Step {
  readonly file: number;
  readonly pcr: number;
  readonly template: string;
  readonly digestState: 'usable' | 'zero' | 'refused';
  readonly iuid: number | undefined;
  /** Whether the file is one that reference values hold, and so the same object for all, or has an object of its own. */
  readonly shared: boolean;
}

const step = (files: number): fc.Arbitrary<Step> =>
  fc.record({
    file: fc.nat(files - 1),
    pcr: fc.constantFrom(10, 10, 13),
    template: fc.constantFrom('evm-sig', 'ima-ng'),
    digestState: fc.constantFrom('usable', 'usable', 'zero', 'refused'),
    iuid: fc.constantFrom(undefined, 0, 200_000),
    shared: fc.boolean(),
  });

function sightingOf(
  files: typeof crowd,
  { file: number, digestState, shared: isShared, ...rest }: Step,
  index: number,
): Sighting {
  const { path, sha256 } = files[number] ?? assert.fail();
  const hex = digestState === 'usable' ? toHex(sha256) : '';
  const usual = {
    path,
    hex,
    digestState,
    kind: 'file',
    algorithm: hex === '' ? '' : 'sha256',
    index,
    buffer: undefined,
  };
  const plain = { ...usual, ...rest };
  if (hex === '') return { ...plain, file: MeasuredFile.of(path, { fileDigest: undefined, digestState }) };
  const own = MeasuredFile.ofSha256(path, hex);
  const bytes = Buffer.from(own.key, 'latin1');
  const known = own.place < 0 ? undefined : shared.find(bytes, 0, KEY_NAME_AT, bytes.length, own.place);
  return { ...plain, file: (isShared ? known : undefined) ?? own };
}

function compare(files: typeof crowd, steps: readonly Step[], max: number, byOwner: boolean, takenPcr: number): void {
  const [set, plain] = [new SightingSet(max, byOwner), new PlainSet(max, byOwner)];
  const agree = () => {
    assert.deepEqual(
      set.list.map(({ index }) => index),
      plain.list.map(({ index }) => index),
    );
    assert.equal(set.dropped, plain.dropped);
    for (const { path, sha256 } of files.slice(0, 12))
      assert.equal(set.wasExecuted([measuredOf(path, toHex(sha256))]), plain.wasExecuted(path, [toHex(sha256)]), path);
  };
  const half = steps.length >> 1;
  const feed = (from: number, to: number) => {
    for (const [at, one] of steps.slice(from, to).entries()) {
      const sighting = sightingOf(files, one, from + at);
      assert.equal(set.add(sighting), plain.add(sighting));
    }
    agree();
  };
  feed(0, half);
  const condition = ({ pcr }: Sighting) => pcr === takenPcr;
  assert.deepEqual(
    set.take(condition).map(({ index }) => index),
    plain.take(condition).map(({ index }) => index),
  );
  agree();
  feed(half, steps.length);
}

test('a set tells the same files apart as their texts do: sequences that stay the same', () => {
  for (const byOwner of [false, true]) {
    const few = fc.array(step(ordinary.length), { minLength: 90, maxLength: 90 });
    for (const steps of fc.sample(few, { seed: 1, numRuns: 3 })) {
      compare(ordinary, steps, 1000, byOwner, 13);
      compare(ordinary, steps, 30, byOwner, 10);
    }
    const many = fc.array(step(crowd.length), { minLength: 500, maxLength: 500 });
    for (const steps of fc.sample(many, { seed: 1, numRuns: 1 })) compare(crowd, steps, 1000, byOwner, 13);
  }
});

test('the same for any sequence, however an entry came', () => {
  fc.assert(
    fc.property(
      fc.array(step(ordinary.length), { maxLength: 120 }),
      fc.integer({ min: 1, max: 80 }),
      fc.boolean(),
      fc.constantFrom(10, 13, 14),
      (steps, max, byOwner, pcr) => compare(ordinary, steps, max, byOwner, pcr),
    ),
    { numRuns: 100 },
  );
});

test('the same where somebody crowds one place, beyond what is looked at', () => {
  fc.assert(
    fc.property(
      fc.array(step(crowd.length), { minLength: 400, maxLength: 600 }),
      fc.boolean(),
      fc.constantFrom(10, 13, 14),
      (steps, byOwner, pcr) => compare(crowd, steps, 1000, byOwner, pcr),
    ),
    { numRuns: 10 },
  );
});

test('no digest asked for: nothing was executed', () => {
  assert.equal(new SightingSet(1).wasExecuted([]), false);
});

test('sightings without a file are told apart by path and digest', () => {
  const usual = {
    algorithm: 'sha512',
    digestState: 'usable',
    kind: 'file',
    template: 'ima-ng',
    iuid: undefined,
  } as const;
  const sighting = (path: string, hex: string, index: number) => ({
    ...usual,
    path,
    hex,
    index,
    pcr: 10,
    buffer: undefined,
  });
  const set = new SightingSet(10);
  const added = [sighting('/a', 'ab', 0), sighting('/a', 'ab', 1), sighting('/a', 'cd', 2), sighting('/b', 'ab', 3)];
  assert.deepEqual(
    added.map((one) => set.add(one)),
    [true, false, true, true],
  );
  assert.equal(set.add({ ...sighting('/a', 'ab', 4), iuid: 7 }), false, 'whoever owns it');
  const zero = { ...usual, digestState: 'zero' } as const;
  assert.equal(set.add({ ...zero, path: '/a', hex: '', index: 4, pcr: 10, buffer: undefined }), true);
});

test('wherever the search for the first file begins, all are kept, and one that has no place besides', () => {
  const usual = { pcr: 10, template: 'evm-sig', digestState: 'usable', iuid: undefined, shared: false } as const;
  const plain = Array.from({ length: 10 }, (_, n) => ({ path: `/p${n}`, sha256: Buffer.alloc(32, n) }));
  for (let lastBits = 0; lastBits < 32; lastBits++) {
    const files = [...take(1, placeWith(lastBits)), ...plain, { path: '/caf\u00e9', sha256: Buffer.alloc(32) }];
    const set = new SightingSet(100);
    const sightings = files.map((_, file) => sightingOf(files, { ...usual, file }, file));
    for (const sighting of sightings) assert.equal(set.add(sighting), true, `${lastBits} ${sighting.path}`);
    for (const sighting of sightings) assert.equal(set.add(sighting), false, `${lastBits} ${sighting.path}`);
  }
});

test('a sighting without a file is found by one with it, among many', () => {
  const usual = { pcr: 10, template: 'evm-sig', digestState: 'usable', iuid: undefined, shared: false } as const;
  const sightings = ordinary.map((_, file) => sightingOf(ordinary, { ...usual, file }, file));
  const loose = sightings.map(({ file: _, ...rest }) => rest);
  const set = new SightingSet(100);
  assert.ok(loose.every((one) => set.add(one)));
  assert.ok(sightings.every((one) => !set.add(one)));
  const accented = { path: '/d\u00e9', sha256: Buffer.alloc(32) };
  assert.ok(
    set.add(sightingOf([accented], { ...usual, file: 0 }, 99)),
    'with a file, and found by its text all the same',
  );
  for (const { path, sha256 } of ordinary)
    assert.ok(set.wasExecuted([measuredOf(path, '00'), measuredOf(path, toHex(sha256))]));
  assert.ok(!set.wasExecuted([measuredOf('/a', '00'.repeat(32))]));
});

test('files that find no slot when the set grows are kept all the same', () => {
  // Of 128 slots that are looked at from 500 of 512 on, most lie at the start; one file of the next place lies behind them.
  const [crowded, next] = [take(128, placeWith(500)), take(1, placeWith(501))];
  const files = [...crowded, ...next, ...take(100, placeWith(200)), ...take(100, placeWith(300))];
  const set = new SightingSet(1000);
  const step = { pcr: 10, template: 'evm-sig', digestState: 'usable', iuid: undefined, shared: false } as const;
  const sightings = files.map((_, file) => sightingOf(files, { ...step, file }, file));
  assert.ok(sightings.every((sighting) => set.add(sighting)));
  assert.ok(sightings.every((sighting) => !set.add(sighting)));
  assert.equal(set.list.length, files.length);
  for (const { path, sha256 } of files) assert.ok(set.wasExecuted([measuredOf(path, toHex(sha256))]));
});
