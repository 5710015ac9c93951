import { type Profiler, Session } from 'node:inspector';

type Span = readonly [start: number, end: number];

/**
 * Which blocks of the loaded code have run, by V8's precise block coverage. It costs about a millisecond to ask, so it
 * is asked once for many runs. Must exist before what it looks at is imported.
 */
export class Coverage implements Disposable {
  readonly #session = new Session();
  /** Of each function that ran: its blocks that never did. */
  readonly #never = new Map<string, readonly Span[]>();
  readonly #counts = new Set<string>();

  constructor() {
    this.#session.connect();
    this.#ask('Profiler.enable');
    this.#ask('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** Functions that ran, and blocks of them that never did. */
  get size(): { readonly functions: number; readonly neverRun: number } {
    const blocks = [...this.#never.values()];
    return { functions: blocks.length, neverRun: blocks.reduce((sum, spans) => sum + spans.length, 0) };
  }

  /** Whether a block ran since it was last asked that never did before. */
  hasNewBlocks(): boolean {
    let isNew = false;
    for (const one of this.#take()) isNew = this.#markBlocks(one) || isNew;
    return isNew;
  }

  /** As hasNewBlocks, or a block ran about so often (by powers of two) as never before. */
  hasNewCounts(): boolean {
    let isNew = false;
    for (const one of this.#take()) {
      isNew = this.#markBlocks(one) || isNew;
      for (const { startOffset, endOffset, count } of one.ranges) {
        const key = `${one.key} ${startOffset} ${endOffset} ${Math.ceil(Math.log2(count + 1))}`;
        if (this.#counts.has(key)) continue;
        this.#counts.add(key);
        isNew = true;
      }
    }
    return isNew;
  }

  [Symbol.dispose](): void {
    this.#session.disconnect();
  }

  #markBlocks({ key, ranges }: RanFunction): boolean {
    const idle = ranges
      .filter(({ count }) => count === 0)
      .map(({ startOffset, endOffset }): Span => [startOffset, endOffset]);
    const known = this.#never.get(key);
    const left = known === undefined ? idle : intersect(known, idle);
    this.#never.set(key, left);
    return known === undefined || measure(left) < measure(known);
  }

  *#take(): Generator<RanFunction> {
    const taken = this.#ask('Profiler.takePreciseCoverage') as Profiler.TakePreciseCoverageReturnType;
    for (const { scriptId, url, functions } of taken.result) {
      if (!url.startsWith('file:') || url.includes('/test/')) continue;
      for (const { ranges } of functions) {
        const [whole] = ranges;
        if (whole !== undefined && whole.count > 0)
          yield { key: `${scriptId} ${whole.startOffset} ${whole.endOffset}`, ranges };
      }
    }
  }

  #ask(method: string, parameters: object = {}): unknown {
    let answer: unknown;
    this.#session.post(method, parameters, (error, result) => {
      if (error !== null) throw error;
      answer = result;
    });
    return answer;
  }
}

interface RanFunction {
  readonly key: string;
  readonly ranges: readonly Profiler.CoverageRange[];
}

/** What two lists of spans, each in its order and without overlap between siblings, have in common. */
function intersect(a: readonly Span[], b: readonly Span[]): Span[] {
  const common: Span[] = [];
  for (const [start, end] of a) {
    for (const [from, to] of b) {
      const span: Span = [Math.max(start, from), Math.min(end, to)];
      if (span[0] < span[1]) common.push(span);
    }
  }
  return common;
}

function measure(spans: readonly Span[]): number {
  return spans.reduce((sum, [start, end]) => sum + end - start, 0);
}
