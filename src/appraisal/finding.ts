import { create } from '@bufbuild/protobuf';
import { type Finding as FindingMessage, FindingSchema } from '../proto/lacre/v1/verdict_pb.ts';
import { type FindingCode, linkOf } from './finding-code.ts';

/** One fact that an appraisal found: of the node's evidence where `logIndex` is set, else of the boot or of a claim. */
export interface Finding {
  readonly link: string;
  readonly code: FindingCode;
  /** "host", or a container id. */
  readonly subject: string;
  readonly path?: string;
  /** Hex digests that the reference values have for the path; empty: none. */
  readonly expectedSha256: readonly string[];
  readonly seenSha256?: string;
  /** Position in the measurement list, from 0. */
  readonly logIndex?: number;
  /** One sentence. */
  readonly detail: string;
  /** False: told, but fails nothing by itself. */
  readonly fatal: boolean;
}

export interface FindingFacts {
  readonly path?: string | undefined;
  readonly expectedSha256?: Iterable<string> | undefined;
  readonly seenSha256?: string | undefined;
  readonly logIndex?: number | undefined;
}

/** A finding that fails its subject. */
export function fatalFinding(code: FindingCode, subject: string, detail: string, facts: FindingFacts = {}): Finding {
  return makeFinding(code, subject, detail, facts, true);
}

/** A finding that is told, and may take a selector, but fails nothing by itself. */
export function toldFinding(code: FindingCode, subject: string, detail: string, facts: FindingFacts = {}): Finding {
  return makeFinding(code, subject, detail, facts, false);
}

/** The finding as it travels. */
export function findingMessage(finding: Finding): FindingMessage {
  return create(FindingSchema, {
    link: finding.link,
    code: finding.code,
    subject: finding.subject,
    path: finding.path ?? '',
    expectedSha256: [...finding.expectedSha256],
    seenSha256: finding.seenSha256 ?? '',
    logIndex: BigInt(finding.logIndex ?? -1),
    detail: finding.detail,
    fatal: finding.fatal,
  });
}

function makeFinding(code: FindingCode, subject: string, detail: string, facts: FindingFacts, fatal: boolean): Finding {
  return {
    link: linkOf(code),
    code,
    subject,
    ...(facts.path === undefined ? {} : { path: facts.path }),
    expectedSha256: [...(facts.expectedSha256 ?? [])],
    ...(facts.seenSha256 === undefined ? {} : { seenSha256: facts.seenSha256 }),
    ...(facts.logIndex === undefined ? {} : { logIndex: facts.logIndex }),
    detail,
    fatal,
  };
}
