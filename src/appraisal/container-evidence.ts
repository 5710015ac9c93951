import type { Domain } from '../container/domain.ts';
import type { Standing } from '../container/domain-book.ts';
import type { ClaimedContainer, ClaimedRecord } from '../container/record.ts';
import type { EpochAppraisal } from './epoch-appraisal.ts';
import type { HostReference } from './reference/host-reference.ts';
import type { ImageReference } from './reference/image-reference.ts';
import type { Verdict } from './verdict.ts';

/** What is known of a container at one moment. */
export interface ContainerEvidence {
  readonly container: ClaimedContainer;
  /** Of the caller; undefined: nobody asks, the container is judged for what was issued to it before. */
  readonly record: Pick<ClaimedRecord, 'claim'> | undefined;
  /** How the container stands among the others, and where it belongs (DomainBook.standing). */
  readonly standing: Pick<Standing, 'attribution' | 'closed' | 'reasons' | 'rangeUse'>;
  /** Its domain. */
  readonly domain: Domain;
  /** All domains of the epoch; asked for only where the container cannot be told from others. */
  readonly domains: () => readonly Domain[];
  readonly epoch: EpochAppraisal;
  /** Violations among entries that no quote covers yet; undefined: there are none. */
  readonly laterViolations?: EpochAppraisal['violations'] | undefined;
  /** The reference values that the host was appraised by. */
  readonly host: HostReference | undefined;
  readonly hostVerdict: Verdict;
  /** Approved reference values by manifest digest or configuration digest (imageKeyOf); the same object for as long as they are the same. */
  readonly images: (digest: string) => ImageReference | undefined;
  /** Whether an image has a file with this content at this path, and no other approved image has it there. */
  readonly isDistinctive: (image: ImageReference, path: string, sha256Hex: string) => boolean;
  readonly evidenceTime: Date;
}
