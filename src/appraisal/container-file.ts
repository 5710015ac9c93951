import { type Domain, SHARED_DOMAIN } from '../container/domain.ts';
import { MeasuredFile } from '../ima/measured-file.ts';
import type { Closure } from './closure.ts';
import type { ContainerEvidence } from './container-evidence.ts';
import type { OwnerState } from './epoch-appraisal.ts';
import { type Finding, fatalFinding } from './finding.ts';
import type { Judgement } from './judgement.ts';
import type { ImageReference } from './reference/image-reference.ts';

/** What the files that were seen say of one container. */
export interface FileFacts {
  readonly findings: readonly Finding[];
  /** Nothing that the container read from its image is unexplained. */
  readonly readsExplained: boolean;
}

/**
 * Judges the files of a container whose own image is approved: those of its domain; those that nothing attributes,
 * where it could have made them; those of every other container that it cannot be told from (DESIGN section 5).
 * Bad reads fail it only where its root is read-only: on a writable root every log that is read back is an entry.
 */
export function judgeFiles(evidence: ContainerEvidence): FileFacts {
  const { container, domain, epoch, standing } = evidence;
  const { id, rootReadOnly } = container.claim;
  const own = epoch.domain(domain.id);
  const closure = domainClosure(evidence, domain);
  const { executed, read } = judgedBy(own, closure);
  const alone = standing.attribution === 'exact';
  const findings = [
    ...executed.findings(id),
    ...read.findings(id, { told: !rootReadOnly }),
    ...oversized(own, id),
    ...(alone && standing.closed ? [] : strayFindings(evidence)),
    ...(alone ? [] : othersFindings(evidence)),
  ];
  return { findings, readsExplained: read.fatalCount === 0 && own.sightings.dropped === 0 };
}

/**
 * Whether the image's program is in the list as executed in the container's domain. Where the domain has no range of its
 * own it may be any container's like it. A range that was used before may show an earlier occupant's entry.
 */
export function entrypointFindings(
  { container, domain, epoch, standing }: ContainerEvidence,
  image: ImageReference,
): Finding[] {
  const { id } = container.claim;
  const path = image.entrypointPath;
  if (path === '')
    return [
      fatalFinding('appraisal.entrypoint.missing', id, 'the image names no program, so nothing says that it ran'),
    ];
  const { expected, files } = programOf(image);
  const states = domain.range === undefined ? [epoch.shared, epoch.unattributed] : [epoch.domain(domain.id)];
  if (states.some(({ sightings }) => sightings.wasExecuted(files))) return [];
  const where =
    standing.rangeUse === 'reused' ? 'in its uid range, not even by an earlier container' : 'in the container';
  return [
    fatalFinding('appraisal.entrypoint.missing', id, `${path}, which the image starts, was not executed ${where}`, {
      path,
      expectedSha256: expected,
    }),
  ];
}

interface Program {
  /** Digests that it may have, hex. */
  readonly expected: ReadonlySet<string>;
  /** The same as they stand in a list. */
  readonly files: readonly MeasuredFile[];
}

const programs = new WeakMap<ImageReference, Program>();

/** The program that an image starts: once for each set of reference values, which never change. */
function programOf(image: ImageReference): Program {
  const known = programs.get(image);
  if (known !== undefined) return known;
  const { entrypointPath, files } = image;
  const expected = files.get(entrypointPath) ?? new Set<string>();
  const measured = [...expected].map((hex) => MeasuredFile.ofSha256(entrypointPath, hex));
  const program = { expected, files: measured.map((file) => files.index.rowOf(file) ?? file) };
  programs.set(image, program);
  return program;
}

/** Entries that nothing attributes: a bad one fails whoever could have made it. */
function strayFindings(evidence: ContainerEvidence): Finding[] {
  const { epoch, container, domain } = evidence;
  const { id } = container.claim;
  const closure = strayClosure(evidence, domain);
  const { executed, read } = judgedBy(epoch.unattributed, closure);
  const code = 'appraisal.file.unattributed';
  return [
    ...executed.findings(id, { code }),
    ...read.findings(id, { code, told: true }),
    ...oversized(epoch.unattributed, id),
  ];
}

/** Entries of containers without a range of their own, and of domains that may hide each other's: one fails all. */
function othersFindings(evidence: ContainerEvidence): Finding[] {
  const { epoch, container, domain } = evidence;
  const { id } = container.claim;
  const code = 'appraisal.shared.failed';
  const shared = judgedBy(epoch.shared, strayClosure(evidence, domain));
  const others = evidence.domains().filter((other) => other.id !== domain.id && other.attribution !== 'exact');
  const failed = others.flatMap((other) => {
    const state = epoch.domain(other.id);
    const { executed } = judgedBy(state, domainClosure(evidence, other));
    return [...executed.findings(id, { code }), ...oversized(state, id)];
  });
  return [...shared.executed.findings(id, { code }), ...oversized(epoch.shared, id), ...failed.slice(0, 64)];
}

function judgedBy(state: OwnerState, closure: Closure): Judgement {
  return state.judged(closure, (sighting) => closure.judge(sighting));
}

/** The images recorded in a domain, as far as they are approved. */
function domainClosure({ epoch, images }: ContainerEvidence, domain: Domain): Closure {
  return epoch.closure(approved(domain.manifestDigests, images));
}

/** What may explain an entry of nobody's: the host's files (an engine's own init), this domain's images, those of all shared ones. */
function strayClosure({ epoch, images, host, domains, standing }: ContainerEvidence, domain: Domain): Closure {
  const alike =
    standing.attribution === 'exact'
      ? domains().filter(({ id }) => id === SHARED_DOMAIN)
      : domains().filter(({ attribution }) => attribution !== 'exact');
  const digests = new Set([domain, ...alike].flatMap(({ manifestDigests }) => [...manifestDigests]));
  return epoch.closure(approved(digests, images), host === undefined ? [] : [host.files], 'stray');
}

function approved(digests: ReadonlySet<string>, images: ContainerEvidence['images']): ImageReference[] {
  return [...digests].sort().flatMap((digest) => images(digest) ?? []);
}

function oversized({ sightings }: OwnerState, id: string): Finding[] {
  if (sightings.dropped === 0) return [];
  return [
    fatalFinding(
      'ima.list.oversized',
      id,
      `${sightings.dropped} more different files than can be judged were executed or read`,
    ),
  ];
}
