import type { Finding, Verdict } from '../proto/lacre/v1/verdict_pb.ts';
import { paint, safeText } from './output.ts';

/** A verdict for people: its word, then every finding with file, expected and seen digest. */
export function verdictText(verdict: Verdict | undefined, indent = ''): string {
  if (!verdict) return `${indent}${paint('yellow', 'no verdict yet')}`;
  const word = verdict.trusted ? paint('green', 'trusted') : paint('red', 'refused');
  const lines = [
    `${indent}${word}`,
    ...verdict.findings.flatMap((finding) => findingLines(finding).map((line) => `${indent}  ${line}`)),
  ];
  return lines.join('\n');
}

/** The same finding for machines, in the lab's shape. */
export function findingFacts(finding: Finding): Record<string, unknown> {
  return {
    link: finding.link,
    code: finding.code,
    subject: finding.subject,
    path: finding.path === '' ? null : finding.path,
    expectedSha256: finding.expectedSha256,
    seenSha256: finding.seenSha256 === '' ? null : finding.seenSha256,
    logIndex: finding.logIndex < 0n ? null : Number(finding.logIndex),
    detail: finding.detail,
    fatal: finding.fatal,
  };
}

export function verdictFacts(verdict: Verdict | undefined): Record<string, unknown> | null {
  if (!verdict) return null;
  return {
    verdict: verdict.trusted ? 'trusted' : 'refused',
    evidenceTime: verdict.evidenceTimeUnixMs === 0n ? null : new Date(Number(verdict.evidenceTimeUnixMs)).toISOString(),
    selectors: verdict.selectors,
    findings: verdict.findings.map(findingFacts),
  };
}

function findingLines(finding: Finding): string[] {
  const mark = finding.fatal ? paint('red', '✗') : paint('yellow', '·');
  const lines = [`${mark} ${finding.link}: ${safeText(finding.detail)} (${finding.code})`];
  if (finding.path !== '') lines.push(`    file      ${safeText(finding.path)}`);
  for (const digest of finding.expectedSha256) lines.push(`    expected  sha256:${digest}`);
  if (finding.seenSha256 !== '') lines.push(`    seen      sha256:${finding.seenSha256}`);
  if (finding.logIndex >= 0n) lines.push(`    log entry ${finding.logIndex}`);
  return lines;
}
