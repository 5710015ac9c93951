import { appraiseHost, type HostEvidence } from '../appraisal/appraise-host.ts';
import type { FileTable } from '../appraisal/reference/file-table.ts';
import type { HostReference } from '../appraisal/reference/host-reference.ts';
import type { Verdict } from '../appraisal/verdict.ts';
import { matchBoot } from '../boot/match-boot.ts';
import type { ReplayedBoot } from '../boot/replayed-boot.ts';
import { DEFAULT_UID_POOL_BASE } from '../ima/policy.ts';

/**
 * The reference values that one node is held against. Where the inventory names none for it, any approved ones will do:
 * those that fit what it booted best, with the uid pool of the best.
 */
export class HostCandidates {
  readonly #references: readonly HostReference[];
  #used: HostReference | undefined;

  private constructor(references: readonly HostReference[]) {
    this.#references = references;
    this.#used = references[0];
  }

  static choose(boot: ReplayedBoot, references: readonly HostReference[]): HostCandidates {
    const rated = references.map((reference) => ({ reference, faults: faultsOf(boot, reference) }));
    const least = Math.min(...rated.map(({ faults }) => faults));
    const best = rated.filter(({ faults }) => faults === least).map(({ reference }) => reference);
    const [first] = best;
    return new HostCandidates(best.filter(({ uidPoolBase }) => uidPoolBase === first?.uidPoolBase));
  }

  get uidPoolBase(): number {
    return this.#references[0]?.uidPoolBase ?? DEFAULT_UID_POOL_BASE;
  }

  /** Files of all of them. */
  tables(): FileTable[] {
    return this.#references.map(({ files }) => files);
  }

  includes(name: string): boolean {
    return this.#references.some((reference) => reference.name === name);
  }

  /** Those of the newest verdict. */
  get used(): HostReference | undefined {
    return this.#used;
  }

  /** The first trusted verdict; where there is none, the one with the fewest findings that fail the host. */
  appraise(evidence: Omit<HostEvidence, 'reference'>): Verdict {
    const [first, ...others] = this.#references;
    let best = appraiseHost({ ...evidence, reference: first });
    let used = first;
    for (const reference of others) {
      if (best.trusted) break;
      const verdict = appraiseHost({ ...evidence, reference });
      if (!verdict.trusted && fatal(verdict) >= fatal(best)) continue;
      best = verdict;
      used = reference;
    }
    this.#used = used;
    return best;
  }
}

function faultsOf(boot: ReplayedBoot, reference: HostReference): number {
  return matchBoot(boot, reference.boot).findings.filter((finding) => finding.fatal).length;
}

function fatal(verdict: Verdict): number {
  return verdict.findings.filter((finding) => finding.fatal).length;
}
