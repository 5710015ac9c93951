import { equalBytes } from '../bytes/equal.ts';
import { openMounts } from '../container/closedness.ts';
import { type ClaimedContainer, imageKeyOf } from '../container/record.ts';
import { compareConfiguration } from './configuration.ts';
import type { ContainerEvidence } from './container-evidence.ts';
import { entrypointFindings, judgeFiles } from './container-file.ts';
import type { EpochAppraisal } from './epoch-appraisal.ts';
import { type Finding, fatalFinding, toldFinding } from './finding.ts';
import type { ImageReference } from './reference/image-reference.ts';
import { type ContainerFacts, containerSelectors } from './selector/container-selectors.ts';
import { concludeVerdict, type Verdict } from './verdict.ts';

/**
 * Whether a container runs what its approved image holds (DESIGN sections 5 to 7). Of a trusted verdict it is proven,
 * given what `epoch` was fed with: the host is trusted at the grade among the selectors, every file executed in the
 * container's uid range is a file of its images at its own path, and the image's program was executed there. That this
 * range is this container's, its image that one, its configuration and its caller those, stays the node's claim.
 */
export function appraiseContainer(evidence: ContainerEvidence): Verdict {
  const { container, evidenceTime } = evidence;
  const { id } = container.claim;
  const placed = [...hostFindings(evidence), ...callerFindings(evidence), ...attributionFindings(evidence)];
  const key = imageKeyOf(container.claim);
  const image = evidence.images(key);
  if (image === undefined) {
    const name = container.claim.imageName || 'without a name';
    const unknown = fatalFinding(
      'appraisal.image.unknown',
      id,
      `nobody approved the image ${name} (${key || 'no digest'})`,
    );
    return concludeVerdict(id, [...placed, unknown], [], evidenceTime);
  }
  const files = judgeFiles(evidence);
  const changed = changesOf(container, image);
  const findings = [
    ...placed,
    ...imageFindings(evidence, image),
    ...files.findings,
    ...entrypointFindings(evidence, image),
    ...changed,
  ];
  const facts: ContainerFacts = {
    evidence,
    image,
    exact: isExact(evidence),
    readsProven: files.readsExplained,
    changed: changed.length > 0,
  };
  return concludeVerdict(id, findings, containerSelectors(facts), evidenceTime);
}

/** Of a container with more, they are found anew each time. */
const MAX_KEPT_CHANGES = 16;

const compared = new WeakMap<
  ClaimedContainer,
  { readonly image: ImageReference; readonly changes: readonly Finding[] }
>();

/** As compareConfiguration, once for each state of a container and set of reference values: neither ever changes. */
function changesOf(container: ClaimedContainer, image: ImageReference): readonly Finding[] {
  const known = compared.get(container);
  if (known?.image === image) return known.changes;
  const changes = compareConfiguration(container, image);
  if (changes.length <= MAX_KEPT_CHANGES) compared.set(container, { image, changes });
  return changes;
}

function hostFindings({ hostVerdict, container }: ContainerEvidence): Finding[] {
  if (hostVerdict.trusted) return [];
  const because = hostVerdict.findings.find((finding) => finding.fatal);
  const detail = `the host failed: ${because?.detail} (${because?.code})`;
  const facts = { path: because?.path, logIndex: because?.logIndex };
  return [fatalFinding('appraisal.host.refused', container.claim.id, detail, facts)];
}

/** The caller must live in the container. One that was started there by exec is told, and the entries decide. */
function callerFindings({ record, container }: ContainerEvidence): Finding[] {
  if (record === undefined) return [];
  const { id } = container.claim;
  const { claim } = record;
  const findings: Finding[] = [];
  if (claim.containerId !== id || !equalBytes(claim.containerSha256, container.sha256)) {
    findings.push(
      fatalFinding('container.record.stale', id, 'the record is not of the container as the node describes it now'),
    );
  }
  if (claim.joinedByExec)
    findings.push(
      toldFinding(
        'container.caller.exec',
        id,
        `${claim.executable || 'the caller'} was started in the container by exec`,
      ),
    );
  else if (!claim.isInitFamily) {
    findings.push(
      fatalFinding(
        'container.caller.foreign',
        id,
        `${claim.executable || 'the caller'} is not in the namespaces of the container's first process`,
      ),
    );
  }
  return findings;
}

function attributionFindings(evidence: ContainerEvidence): Finding[] {
  const { standing, container, domain } = evidence;
  const { id, execSessions, mounts } = container.claim;
  const findings: Finding[] = [];
  const host = standing.attribution === 'host' || domain.attribution === 'host';
  if (host)
    findings.push(
      fatalFinding(
        'container.attribution.host',
        id,
        `the container cannot be told from the host: ${reasonsOf(evidence)}`,
      ),
    );
  else if (standing.attribution === 'shared') {
    findings.push(
      toldFinding(
        'container.attribution.shared',
        id,
        `its entries are judged together with those of others: ${reasonsOf(evidence)}`,
      ),
    );
  }
  if (!host && standing.attribution === 'exact' && !isExact(evidence)) findings.push(violationFinding(evidence));
  if (standing.rangeUse === 'reused')
    findings.push(
      toldFinding(
        'container.range.reused',
        id,
        'an earlier container had its uid range, and may have executed known files unseen',
      ),
    );
  if (!standing.closed) {
    const open = openMounts(mounts).map(({ target }) => target);
    const where =
      open.length === 0
        ? 'it has, or had, the means to mount more'
        : `files can be executed in ${open.slice(0, 8).join(', ')}`;
    findings.push(toldFinding('container.open', id, `the container is not closed: ${where}`));
  }
  if (execSessions > 0)
    findings.push(
      toldFinding(
        'container.exec.sessions',
        id,
        `${execSessions} processes in it were not started by its first process`,
      ),
    );
  return findings;
}

/** A violation names no owner, and takes the proof from whoever could have caused it by executing changed bytes. */
function isExact(evidence: ContainerEvidence): boolean {
  if (evidence.standing.attribution !== 'exact') return false;
  const { rootReadOnly, mounts } = evidence.container.claim;
  return violationsOf(evidence).count === 0 || (rootReadOnly && openMounts(mounts).length === 0);
}

function violationsOf({
  epoch: { violations },
  laterViolations: later,
}: ContainerEvidence): EpochAppraisal['violations'] {
  if (later === undefined) return violations;
  return { count: violations.count + later.count, first: [...violations.first, ...later.first] };
}

function violationFinding(evidence: ContainerEvidence): Finding {
  const { container } = evidence;
  const violations = violationsOf(evidence);
  const [first] = violations.first;
  const detail = `${violations.count} violations are in the list, and files of this container could be changed while they were executed`;
  return toldFinding('container.attribution.lost', container.claim.id, detail, {
    path: first?.path,
    logIndex: first?.index,
  });
}

function imageFindings({ container }: ContainerEvidence, image: ImageReference): Finding[] {
  const { id, configDigest, manifestDigest } = container.claim;
  // An engine that tells the manifest's digest alone says no less: the manifest names its configuration.
  if (configDigest === image.configDigest || (configDigest === '' && manifestDigest === image.manifestDigest))
    return [];
  return [
    fatalFinding(
      'appraisal.image.differs',
      id,
      `its image has the configuration ${configDigest || '(none)'}, where the approved one has ${image.configDigest}`,
    ),
  ];
}

function reasonsOf({ standing, domain }: ContainerEvidence): string {
  const reasons = standing.reasons.length > 0 ? standing.reasons : domain.reasons;
  return reasons
    .map(({ detail }) => detail)
    .slice(0, 4)
    .join('; ');
}
