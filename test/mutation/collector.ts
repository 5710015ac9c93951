/** Stands in for node:test in a worker: gathers the tests of one file, so that each can be run many times. */
export interface CollectedTest {
  readonly name: string;
  readonly run: () => unknown;
}

type Body = (context: object) => unknown;
type Options = { readonly skip?: boolean | string | undefined };

export const collected: CollectedTest[] = [];
export const beforeAll: (() => unknown)[] = [];
export const afterAll: (() => unknown)[] = [];

/** What of a test's context the tests of the links use: nothing. A use of it fails as a missing method. */
const CONTEXT = Object.freeze({});
let skipping = false;

export function test(name: string, ...rest: readonly (Options | Body)[]): void {
  const { skip, body } = split(rest);
  if (!skip && !skipping) collected.push({ name, run: () => body(CONTEXT) });
}

export function describe(_name: string, ...rest: readonly (Options | Body)[]): void {
  const { skip, body } = split(rest);
  const outer = skipping;
  skipping ||= skip;
  body(CONTEXT);
  skipping = outer;
}

export function before(run: () => unknown): void {
  if (!skipping) beforeAll.push(run);
}

export function after(run: () => unknown): void {
  if (!skipping) afterAll.push(run);
}

function split(rest: readonly (Options | Body)[]): { skip: boolean; body: Body } {
  const body = rest.find((part) => typeof part === 'function');
  const options = rest.find((part) => typeof part === 'object');
  if (body === undefined) throw new TypeError('a test without a body');
  const skip = options?.skip;
  return { skip: skip !== undefined && skip !== false, body };
}
