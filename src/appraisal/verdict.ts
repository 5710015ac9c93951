import { isDeepStrictEqual } from 'node:util';
import { create } from '@bufbuild/protobuf';
import { LacreError } from '../lacre-error.ts';
import { type Verdict as VerdictMessage, VerdictSchema } from '../proto/lacre/v1/verdict_pb.ts';
import { type Finding, findingMessage } from './finding.ts';

/** Only this module holds it, so only `concludeVerdict` can call the constructor. */
const MAKER = Symbol('verdict');

/**
 * What an appraisal concluded. `trusted` holds only where no finding is fatal. A class with a private field: an object
 * of the same shape does not compile as one, and `Verdict.isVerdict` tells it at run time.
 */
export class Verdict {
  readonly #subject: string;
  readonly trusted: boolean;
  /** All of them, in the order of the chain. */
  readonly findings: readonly Finding[];
  /** "type:value"; empty where not trusted. */
  readonly selectors: readonly string[];
  /** When the nonce of the evidence was made. */
  readonly evidenceTime: Date;

  /** Throws appraisal.verdict.forged: only an appraisal makes verdicts. */
  constructor(
    maker: typeof MAKER,
    subject: string,
    findings: readonly Finding[],
    selectors: readonly string[],
    evidenceTime: Date,
  ) {
    if (maker !== MAKER) throw new LacreError('appraisal.verdict.forged', 'a verdict can only come from an appraisal');
    this.#subject = subject;
    this.findings = Object.freeze([...findings]);
    this.trusted = !findings.some((finding) => finding.fatal);
    this.selectors = Object.freeze(this.trusted ? [...new Set(selectors)] : []);
    this.evidenceTime = new Date(evidenceTime);
    Object.freeze(this);
  }

  /** "host", or the id of the container that was appraised. */
  get subject(): string {
    return this.#subject;
  }

  /** Whether it was made by an appraisal, and not merely looks so. */
  static isVerdict(value: unknown): value is Verdict {
    return typeof value === 'object' && value !== null && #subject in value;
  }
}

/** For the appraisals in this folder alone (a test holds that nothing outside imports it): the verdict of all findings. */
export function concludeVerdict(
  subject: string,
  findings: readonly Finding[],
  selectors: readonly string[],
  evidenceTime: Date,
): Verdict {
  return new Verdict(MAKER, subject, findings, selectors, evidenceTime);
}

/**
 * A verdict that refuses, for a fault found before evidence could be appraised. Throws appraisal.verdict.forged where
 * no finding is fatal.
 */
export function refuseVerdict(subject: string, findings: readonly Finding[], evidenceTime: Date): Verdict {
  if (!findings.some((finding) => finding.fatal)) {
    throw new LacreError('appraisal.verdict.forged', 'a refusal needs a finding that is fatal');
  }
  return new Verdict(MAKER, subject, findings, [], evidenceTime);
}

/** Whether two verdicts say the same in everything but the time of their evidence. */
export function sameConclusion(one: Verdict, other: Verdict): boolean {
  return (
    one.subject === other.subject &&
    isDeepStrictEqual(one.selectors, other.selectors) &&
    isDeepStrictEqual(one.findings, other.findings)
  );
}

/** The verdict as it travels. */
export function verdictMessage(verdict: Verdict): VerdictMessage {
  return create(VerdictSchema, {
    trusted: verdict.trusted,
    findings: verdict.findings.map(findingMessage),
    selectors: [...verdict.selectors],
    evidenceTimeUnixMs: BigInt(verdict.evidenceTime.getTime()),
  });
}
