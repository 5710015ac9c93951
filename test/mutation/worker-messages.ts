/** Written once a run; every worker reads it. */
export interface Manifest {
  /** How many mutants there are: ids go from 1 to it. */
  readonly count: number;
  /** URL of a source file → path of the same with all its mutants in it. */
  readonly sources: Readonly<Record<string, string>>;
}

export type Order =
  /** Run every test once, with no mutant on, and say what each reaches. */
  | { readonly kind: 'record' }
  /** Turn a mutant on and run these tests until one fails. */
  | { readonly kind: 'try'; readonly mutant: number; readonly tests: readonly number[] };

export interface RecordedTest {
  readonly name: string;
  /** Of the whole process, while it ran with all that is recorded. */
  readonly cpuMs: number;
  /** Ids of the mutants whose place it reaches. */
  readonly reached: readonly number[];
  /** Its failure with no mutant on, if any. */
  readonly failure?: string;
}

export type Answer =
  /** `tests`: how many each file has. A test's number is its place among those of all files in a row. */
  | { readonly kind: 'loaded'; readonly reached: readonly number[]; readonly tests: readonly number[] }
  /** The test file could not be loaded. */
  | { readonly kind: 'broken'; readonly error: string }
  /** No answer yet: this test of the order runs from here on. */
  | { readonly kind: 'begins'; readonly test: number }
  | { readonly kind: 'recorded'; readonly tests: readonly RecordedTest[] }
  /** `killer`: the test that failed; `poisoned`: it fails without the mutant too from now on, so this worker is done. */
  | { readonly kind: 'tried'; readonly killer?: string; readonly poisoned: boolean };
