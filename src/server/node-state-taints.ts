import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Finding, findingMessage } from '../appraisal/finding.ts';
import { FINDING_CODES, type FindingCode } from '../appraisal/finding-code.ts';
import { type Finding as FindingMessage, FindingSchema } from '../proto/lacre/v1/verdict_pb.ts';
import { LIMITS } from './limits.ts';
import type { TaintRow } from './store-evidence.ts';

/** Findings of entries that no later image makes good. */
const STICKY = /^(?:appraisal\.file\.(?:unexpected|unknown)|ima\.(?:name|digest|filesystem)\.)/;

/**
 * Bad entries of the epoch's domains. A bad entry stays in its uid range for the epoch (DESIGN section 5), whatever
 * container has the range later and whatever its image explains; so it is kept apart from the entries, and in the store.
 */
export class TaintBook {
  readonly #domains = new Map<string, Map<string, Finding>>();
  #unsaved: TaintRow[] = [];

  /** What is held against a domain. */
  of(domainId: string): Finding[] {
    return [...(this.#domains.get(domainId)?.values() ?? [])];
  }

  /** Keeps the bad entries among the findings of a verdict over a container of this domain. */
  record(domainId: string, findings: readonly Finding[]): void {
    for (const finding of findings) {
      if (!finding.fatal || finding.logIndex === undefined || !STICKY.test(finding.code)) continue;
      if (this.#keep(domainId, finding)) this.#unsaved.push(rowOf(domainId, finding));
    }
  }

  /** Takes in what the store kept of the same epoch. */
  carry(rows: readonly TaintRow[]): void {
    for (const { domain, finding } of rows) {
      this.#keep(domain, findingOf(fromBinary(FindingSchema, finding)));
    }
  }

  unsaved(): readonly TaintRow[] {
    return this.#unsaved;
  }

  all(): TaintRow[] {
    return [...this.#domains].flatMap(([id, findings]) => [...findings.values()].map((finding) => rowOf(id, finding)));
  }

  saved(rows: readonly TaintRow[]): void {
    const done = new Set(rows);
    this.#unsaved = rows.length === 0 ? this.#unsaved : this.#unsaved.filter((row) => !done.has(row));
  }

  #keep(domainId: string, finding: Finding): boolean {
    const known = this.#domains.get(domainId) ?? new Map<string, Finding>();
    this.#domains.set(domainId, known);
    const key = `${finding.logIndex} ${finding.code}`;
    if (known.has(key) || known.size >= LIMITS.taintsPerDomain) return false;
    known.set(key, finding);
    return true;
  }
}

/** A taint names no container: the domain outlives it. */
function rowOf(domain: string, finding: Finding): TaintRow {
  const message = create(FindingSchema, { ...findingMessage(finding), subject: '' });
  return { domain, logIndex: finding.logIndex ?? -1, finding: toBinary(FindingSchema, message) };
}

function findingOf(message: FindingMessage): Finding {
  // A code that this program does not know any more still stands for a bad entry.
  const code = message.code in FINDING_CODES ? (message.code as FindingCode) : 'appraisal.file.unknown';
  return {
    link: message.link,
    code,
    subject: message.subject,
    ...(message.path === '' ? {} : { path: message.path }),
    expectedSha256: message.expectedSha256,
    ...(message.seenSha256 === '' ? {} : { seenSha256: message.seenSha256 }),
    logIndex: Number(message.logIndex),
    detail: message.detail,
    fatal: true,
  };
}
