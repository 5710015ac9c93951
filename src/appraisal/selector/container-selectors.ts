import type { ContainerEvidence } from '../container-evidence.ts';
import { isImageProven } from '../image-proof.ts';
import type { ImageReference } from '../reference/image-reference.ts';

/** What appraisal found of a container, for its selectors. */
export interface ContainerFacts {
  readonly evidence: ContainerEvidence;
  readonly image: ImageReference;
  readonly exact: boolean;
  /** Every read in the domain is explained. */
  readonly readsProven: boolean;
  /** Something of the configuration differs from the image. */
  readonly changed: boolean;
}

/**
 * The selectors of a trusted container and its caller, "type:value": Lacre's own, its node's, and the forms of SPIRE's
 * docker and unix workload attestors. Proven are image, entrypoint, host, root, coverage; names, labels, uid and gid are the node's
 * claims.
 */
export function containerSelectors(facts: ContainerFacts): string[] {
  const { evidence, image, exact } = facts;
  const { claim } = evidence.container;
  const { hostVerdict, standing, record } = evidence;
  const reads = coversReads(facts);
  return [
    `lacre:image:${image.manifestDigest}`,
    `lacre:image:${isImageProven(facts, { exact, reads }) ? 'proven' : 'claimed'}`,
    ...image.names.map((name) => `lacre:image-name:${name}`),
    // Trusted is only a container in whose domain the kernel saw this file executed, with the image's digest.
    ...(image.entrypointPath === '' ? [] : [`lacre:entrypoint:${image.entrypointPath}`]),
    `lacre:attribution:${exact ? 'exact' : 'shared'}`,
    `lacre:config:${facts.changed ? 'changed' : 'image'}`,
    'lacre:coverage:exec',
    ...(reads ? ['lacre:coverage:read'] : []),
    `lacre:range:${standing.rangeUse}`,
    `lacre:container-name:${claim.name}`,
    ...(standing.closed ? ['lacre:container:closed'] : []),
    `lacre:caller:${record?.claim.joinedByExec ? 'exec' : 'init'}`,
    ...hostVerdict.selectors,
    `docker:image_id:${claim.imageName}`,
    `docker:image_config_digest:${image.configDigest}`,
    ...claim.labels.map(({ name, value }) => `docker:label:${name}:${value}`),
    ...(record === undefined ? [] : [`unix:uid:${record.claim.uid}`, `unix:gid:${record.claim.gid}`]),
  ];
}

/** DESIGN section 5: needs exact and a read-only root, and a policy that measures reads. */
function coversReads({ evidence, exact, readsProven }: ContainerFacts): boolean {
  return (
    exact &&
    readsProven &&
    evidence.container.claim.rootReadOnly &&
    evidence.hostVerdict.selectors.includes('lacre:measures:reads')
  );
}
