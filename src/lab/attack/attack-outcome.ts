import { PERMISSION_DENIED } from '../scenario.ts';
import type { Expectation } from './attack.ts';
import type { ContainerSight, Sight } from './attack-scene.ts';

/** What an attack came to, as the report has it. */
export interface AttackOutcome {
  readonly name: string;
  readonly by: 'container' | 'host';
  /** Null: the host itself attacked. */
  readonly identity: 'never' | 'lost' | 'kept' | null;
  /** Of the finding that was expected; null: none was, or it isn't there. */
  readonly code: string | null;
  readonly path: string | null;
  readonly fatal: boolean | null;
  /** Codes of all fatal findings of the container, or of the host. */
  readonly refusedBy: readonly string[];
  readonly asked: string | null;
  readonly errno: number | null;
  readonly orderErrno: number | null;
  readonly neighbour: 'keeps' | 'loses';
  readonly neighbourCode: string | null;
  readonly ms: number;
  /** What is not as expected, as sentences; none: it all was. */
  readonly faults: readonly string[];
}

/** Holds what was seen against what an attack should come to. @param errno that the host's attack got */
export function judgeAttack(
  name: string,
  expected: Partial<Expectation>,
  sight: Sight,
  { errno, ms }: { errno: number | undefined; ms: number },
): AttackOutcome {
  const byHost = expected.identity === undefined;
  const findings = byHost ? sight.host : sight.container.findings;
  const found = findingOf(findings, expected.code, expected.path);
  const foundBeside = findingOf(sight.neighbour.findings, expected.neighbourCode, expected.neighbourPath);
  const outcome = {
    name,
    by: byHost ? ('host' as const) : ('container' as const),
    identity: byHost ? null : identityOf(sight.container),
    code: found?.code ?? null,
    path: found?.path ?? null,
    fatal: found?.fatal ?? null,
    refusedBy: [...new Set(findings.filter(({ fatal }) => fatal).map(({ code }) => code))],
    asked: askedOf(sight.container),
    errno: errno ?? null,
    orderErrno: orderErrnoOf(sight.container),
    neighbour: identityOf(sight.neighbour) === 'kept' ? ('keeps' as const) : ('loses' as const),
    neighbourCode: foundBeside?.code ?? null,
    ms,
  };
  return { ...outcome, faults: faultsOf(outcome, expected) };
}

type Fact = string | number | null;

function faultsOf(outcome: Omit<AttackOutcome, 'faults'>, expected: Partial<Expectation>): string[] {
  const faults: string[] = [];
  const check = (what: string, seen: Fact, wanted: Fact | readonly Fact[] | undefined) => {
    if (wanted !== undefined && ![wanted].flat().includes(seen))
      faults.push(`${outcome.name}: ${what} ${seen ?? 'none'}, where ${[wanted].flat().join(' or ')} is expected`);
  };
  check('identity', outcome.identity, expected.identity);
  check(`finding (of ${outcome.refusedBy.join(', ') || 'no fatal one'})`, outcome.code, expected.code);
  check('path', outcome.path, expected.path);
  check('own request', outcome.asked, expected.asked);
  check('errno', outcome.errno, expected.errno);
  if (outcome.orderErrno !== null) check('errno of its order', outcome.orderErrno, expected.orderErrno ?? 0);
  check('neighbour', outcome.neighbour, expected.neighbour);
  check("neighbour's finding", outcome.neighbourCode, expected.neighbourCode);
  return faults;
}

function findingOf(findings: ContainerSight['findings'], code: string | undefined, path: string | undefined) {
  return findings.find((finding) => finding.code === code && (path === undefined || finding.path === path));
}

/**
 * By what the service itself saw, and what the server holds: `kept` where it has one and was never refused since its
 * first (a stream that broke for another reason is no refusal); `lost` where a later request was refused; `never` where
 * each was.
 */
function identityOf({ lines, hasIdentity }: ContainerSight): 'never' | 'lost' | 'kept' | null {
  const first = lines.findIndex(({ event }) => event === 'identity');
  const denials = lines
    .slice(Math.max(first, 0))
    .filter(({ event, grpcStatus }) => event !== 'asked' && grpcStatus === PERMISSION_DENIED);
  const refused = denials.some(({ event }) => event === 'refused');
  if (first < 0) return refused && !hasIdentity ? 'never' : null;
  if (hasIdentity) return denials.length === 0 ? 'kept' : null;
  return refused ? 'lost' : null;
}

function orderErrnoOf({ lines }: ContainerSight): number | null {
  const errno = lines.findLast(({ event }) => event === 'did')?.errno;
  return errno === undefined ? null : Number(errno);
}

/** Status of a request that an attack made beside the service's own; "identity" where it got one. */
function askedOf({ lines }: ContainerSight): string | null {
  if (lines.some(({ event }) => event === 'askedAndGot')) return 'identity';
  return lines.findLast(({ event }) => event === 'asked')?.grpcStatus ?? null;
}
