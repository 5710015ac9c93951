import { type Finding, fatalFinding, toldFinding } from './finding.ts';
import type { FindingCode } from './finding-code.ts';
import { READ_PCR, type Sighting } from './sighting.ts';
import type { SightingSet } from './sighting-set.ts';

/** Why a sighting is bad; the subject comes when a verdict is made. */
export interface Fault {
  readonly code: FindingCode;
  readonly detail: string;
  readonly sighting: Sighting;
  /** Hex digests that the reference values have for the path. */
  readonly expected: Iterable<string>;
  /** False: told, but fails nothing. Left out: fatal. */
  readonly told?: boolean;
}

/** Faults of one kind that are kept with all their facts; of more only the number is told. */
export const MAX_KEPT_FAULTS = 256;

/** The faults of a set of sightings under one set of reference values; later sightings are judged when they are asked for. */
export class Judgement {
  readonly #set: SightingSet;
  readonly #judge: (sighting: Sighting) => Fault | undefined;
  #executed: FaultList | undefined;
  #read: FaultList | undefined;
  #done = 0;

  constructor(set: SightingSet, judge: (sighting: Sighting) => Fault | undefined) {
    this.#set = set;
    this.#judge = judge;
  }

  get executed(): FaultList {
    return this.#executed ?? NONE;
  }

  get read(): FaultList {
    return this.#read ?? NONE;
  }

  /** Brings it up to date: O(sightings since the last time). */
  update(): this {
    const { list } = this.#set;
    for (; this.#done < list.length; this.#done++) {
      const sighting = list[this.#done];
      const fault = sighting && this.#judge(sighting);
      if (fault) (sighting.pcr === READ_PCR ? this.#reads() : this.#executions()).add(fault);
    }
    return this;
  }

  #reads(): FaultList {
    this.#read ??= new FaultList();
    return this.#read;
  }

  #executions(): FaultList {
    this.#executed ??= new FaultList();
    return this.#executed;
  }
}

/** Faults, bounded: the first ones whole, of the others the number. */
export class FaultList {
  readonly #kept: Fault[] = [];
  #fatal = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get fatalCount(): number {
    return this.#fatal;
  }

  get kept(): readonly Fault[] {
    return this.#kept;
  }

  add(fault: Fault): void {
    this.#count++;
    if (fault.told !== true) this.#fatal++;
    if (this.#kept.length < MAX_KEPT_FAULTS) this.#kept.push(fault);
  }

  /** As findings of a subject; `told` where they shall fail nothing. */
  findings(subject: string, { told = false, code }: { told?: boolean; code?: FindingCode } = {}): Finding[] {
    const findings = this.#kept.map((fault) =>
      findingOf(fault, subject, told || fault.told === true, code ?? fault.code),
    );
    const last = this.#kept.at(-1);
    const more = this.#count - this.#kept.length;
    if (last === undefined || more === 0) return findings;
    const isTold = told || this.#fatal === 0;
    return [
      ...findings,
      (isTold ? toldFinding : fatalFinding)(code ?? last.code, subject, `${more} more entries of the list are bad`),
    ];
  }
}

function findingOf({ sighting, expected, detail }: Fault, subject: string, told: boolean, code: FindingCode): Finding {
  const facts = {
    path: sighting.path,
    expectedSha256: expected,
    seenSha256: sighting.hex === '' ? undefined : sighting.hex,
    logIndex: sighting.index,
  };
  return (told ? toldFinding : fatalFinding)(code, subject, detail, facts);
}

/** Of all owners of whom nothing is wrong: nearly all. Nothing is ever added to it. */
const NONE = new FaultList();
