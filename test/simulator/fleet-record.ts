/** What the nodes of one process saw; plain numbers, so that it travels between processes. */
export interface FleetFigures {
  readonly verdicts: number;
  readonly untrusted: number;
  readonly svids: number;
  readonly nonces: number;
  /** Milliseconds from the evidence on the wire to the verdict. */
  readonly verdictMs: readonly number[];
  /** Milliseconds from a bad entry in the list to its withdrawal. */
  readonly withdrawalMs: readonly number[];
  /** Times that each refusal, or each end of a session, came. */
  readonly faults: Readonly<Record<string, number>>;
}

/** Collects until it is taken. */
export class FleetRecord {
  svids = 0;
  nonces = 0;
  #untrusted = 0;
  #verdictMs: number[] = [];
  #withdrawalMs: number[] = [];
  #faults: Record<string, number> = {};

  verdict(ms: number, trusted: boolean): void {
    this.#verdictMs.push(ms);
    if (!trusted) this.#untrusted += 1;
  }

  withdrawal(ms: number): void {
    this.#withdrawalMs.push(ms);
  }

  refused(code: string): void {
    this.#faults[code] = (this.#faults[code] ?? 0) + 1;
  }

  ended(status: string): void {
    this.refused(`session: ${status}`);
  }

  take(): FleetFigures {
    const figures = {
      verdicts: this.#verdictMs.length,
      untrusted: this.#untrusted,
      svids: this.svids,
      nonces: this.nonces,
      verdictMs: this.#verdictMs,
      withdrawalMs: this.#withdrawalMs,
      faults: this.#faults,
    };
    this.svids = this.nonces = this.#untrusted = 0;
    this.#verdictMs = [];
    this.#withdrawalMs = [];
    this.#faults = {};
    return figures;
  }
}

export function mergeFigures(all: readonly FleetFigures[]): FleetFigures {
  const sum = (of: (figures: FleetFigures) => number) => all.reduce((total, figures) => total + of(figures), 0);
  const faults: Record<string, number> = {};
  for (const figures of all)
    for (const [fault, count] of Object.entries(figures.faults)) faults[fault] = (faults[fault] ?? 0) + count;
  return {
    verdicts: sum(({ verdicts }) => verdicts),
    untrusted: sum(({ untrusted }) => untrusted),
    svids: sum(({ svids }) => svids),
    nonces: sum(({ nonces }) => nonces),
    verdictMs: all.flatMap(({ verdictMs }) => verdictMs),
    withdrawalMs: all.flatMap(({ withdrawalMs }) => withdrawalMs),
    faults,
  };
}
