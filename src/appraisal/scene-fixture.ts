/** Tests only: a node made of parts that a test can bend, on the boot of a real sample. */
import { create } from '@bufbuild/protobuf';
import { toHex } from '../bytes/hex.ts';
import { sha256 } from '../bytes/sha256.ts';
import { DomainBook } from '../container/domain-book.ts';
import { ownerOf } from '../container/owner.ts';
import {
  type ClaimedContainer,
  type ClaimedRecord,
  decodeRecord,
  encodeRecord,
  makeRecord,
} from '../container/record.ts';
import type { Measurement } from '../ima/measurement.ts';
import { imaPolicy } from '../ima/policy.ts';
import {
  type Container,
  type NodeObservation,
  NodeObservationSchema,
  type Record,
  EnvironmentName_Relation as Relation,
} from '../proto/lacre/v1/record_pb.ts';
import { appraiseContainer } from './appraise-container.ts';
import { appraiseHost, type HostEvidence } from './appraise-host.ts';
import type { ContainerEvidence } from './container-evidence.ts';
import { EpochAppraisal } from './epoch-appraisal.ts';
import { FileTable } from './reference/file-table.ts';
import type { HostReference } from './reference/host-reference.ts';
import type { ImageReference } from './reference/image-reference.ts';
import { CLOSED_NODE, claimContainer, distinctiveAmong, mountOf, type Sample } from './sample-fixture.ts';
import type { Verdict } from './verdict.ts';

export const NOW: Date = new Date('2026-11-23T20:00:00Z');
export const POOL = 200_000;

export function digestOf(content: string): Uint8Array {
  return sha256(Buffer.from(content));
}

export function digestHex(content: string): string {
  return toHex(digestOf(content));
}

/** path → content */
export function filesOf(files: { readonly [path: string]: string }): FileTable {
  return FileTable.of(
    Object.entries(files).map(([path, content]) => ({ path, sha256: digestOf(content), mode: 0o755 })),
  );
}

export const IMAGE: ImageReference = {
  manifestDigest: `sha256:${'1'.repeat(64)}`,
  configDigest: `sha256:${'2'.repeat(64)}`,
  names: ['registry.example/orders:1'],
  entrypoint: ['/app/orders'],
  command: ['serve'],
  environment: new Map([['PATH', '/bin']]),
  workingDir: '/app',
  user: '0:0',
  labels: new Map(),
  entrypointPath: '/app/orders',
  files: filesOf({ '/app/orders': 'orders', '/app/config.json': 'config', '/bin/sh': 'shell' }),
};

/** A hand of parts; every test gets its own. */
export class Scene {
  readonly epoch = new EpochAppraisal();
  readonly images = new Map<string, ImageReference>([[IMAGE.manifestDigest, IMAGE]]);
  readonly book: DomainBook = new DomainBook(POOL);
  observation: NodeObservation = CLOSED_NODE;
  host: HostReference;
  evidence: Partial<HostEvidence> = {};
  readonly #sample: Sample;
  #containers: ClaimedContainer[] = [];
  #index = 0;

  constructor(sample: Sample, host: HostReference) {
    this.#sample = sample;
    const files = filesOf({
      '/sbin/init': 'init',
      '/usr/bin/agent': 'agent',
      '/usr/sbin/runc': 'runc',
      '/lib/x.ko': 'module',
      '/run/podman-init': 'catatonit',
    });
    this.host = { ...host, policy: imaPolicy(POOL), uidPoolBase: POOL, nextInit: '/sbin/init', files };
  }

  /** boot_aggregate and the first program. */
  start(): this {
    return this.aggregate().hostRan('/sbin/init', 'init');
  }

  aggregate(): this {
    return this.entry('boot_aggregate', '', {
      kind: 'boot-aggregate',
      fileDigest: { algorithm: 'sha256', hex: toHex(this.#sample.boot.bootAggregate()) },
    });
  }

  /** One entry, of the owner that the list gives it. */
  entry(path: string, content: string, fields: Partial<Measurement> = {}): this {
    const fileDigest = { algorithm: 'sha256' as const, hex: digestHex(content) };
    const usual = {
      pcr: 10,
      template: 'ima-sig',
      kind: 'file' as const,
      fileDigest,
      digestState: 'usable' as const,
      violation: false,
    };
    const entry: Measurement = {
      ...usual,
      index: this.#index++,
      path,
      iuid: undefined,
      igid: undefined,
      imode: undefined,
      endOffset: 0,
      ...fields,
    };
    this.epoch.feed(entry, ownerOf(entry, this.book.ranges, POOL));
    return this;
  }

  hostRan(path: string, content: string, fields: Partial<Measurement> = {}): this {
    return this.entry(path, content, fields);
  }

  /** Executed from a file whose owner is this host uid. */
  ran(iuid: number, path: string, content: string, fields: Partial<Measurement> = {}): this {
    return this.entry(path, content, { template: 'evm-sig', iuid, ...fields });
  }

  violation(): this {
    return this.entry('/var/log/x', '', { violation: true, digestState: 'zero', fileDigest: undefined });
  }

  /** A container as the image says, in a range of its own unless `base` is undefined. */
  container(
    name: string,
    base: number | undefined,
    fields: Omit<Partial<Container>, '$typeName' | '$unknown'> = {},
  ): ClaimedContainer {
    const length = base === undefined ? 0xffff_ffff : 1024;
    const extent = { $typeName: 'lacre.v1.IdExtent' as const, inside: 0, outside: base ?? 0, length };
    const environment = [
      { $typeName: 'lacre.v1.EnvironmentName' as const, name: 'HOSTNAME', relation: Relation.ADDED },
      { $typeName: 'lacre.v1.EnvironmentName' as const, name: 'PATH', relation: Relation.EQUAL },
    ];
    const claimed = claimContainer(name, {
      manifestDigest: IMAGE.manifestDigest,
      configDigest: IMAGE.configDigest,
      imageName: IMAGE.names[0] ?? '',
      argv: ['/app/orders', 'serve'],
      cwd: '/app',
      environment,
      uidMap: [extent],
      hostNamespaces: base === undefined ? ['user'] : [],
      rootReadOnly: true,
      mounts: [mountOf('/', 'overlay', 'root', { readOnly: true, peer: `0:${1000 + this.#containers.length}` })],
      ...fields,
    });
    this.#containers = [...this.#containers.filter(({ claim }) => claim.id !== claimed.claim.id), claimed];
    this.book.apply({ changed: this.#containers, gone: [], complete: true, observation: this.observation });
    for (const { id, range } of this.book.domains()) if (range !== undefined) this.epoch.adopt(id, range);
    return claimed;
  }

  /** The container is gone. */
  stop(container: ClaimedContainer): void {
    this.#containers = this.#containers.filter((other) => other !== container);
    this.book.apply({
      changed: this.#containers,
      gone: [container.claim.id],
      complete: true,
      observation: this.observation,
    });
  }

  judgeHost(): Verdict {
    const { epoch, host, observation } = this;
    const usual = { boot: this.#sample.boot, clockSafe: true, rootOfTrust: 'software' as const, evidenceTime: NOW };
    return appraiseHost({ epoch, reference: host, observation, ...usual, ...this.evidence });
  }

  judge(container: ClaimedContainer, record?: ClaimedRecord, over: Partial<ContainerEvidence> = {}): Verdict {
    return appraiseContainer({ ...this.evidenceOf(container, record), ...over });
  }

  evidenceOf(container: ClaimedContainer, record?: ClaimedRecord): ContainerEvidence {
    const { id } = container.claim;
    const standing = this.book.standing(id);
    const domain = this.book.domain(standing?.domainId ?? '');
    if (standing === undefined || domain === undefined) throw new TypeError('no such container');
    const { epoch, host } = this;
    const images = (digest: string) => this.images.get(digest);
    const domains = () => this.book.domains();
    return {
      container,
      record,
      standing,
      domain,
      domains,
      epoch,
      host,
      hostVerdict: this.judgeHost(),
      images,
      isDistinctive: distinctiveAmong(() => [...this.images.values()]),
      evidenceTime: NOW,
    };
  }
}

export function recordOf(
  container: ClaimedContainer,
  fields: Omit<Partial<Record>, '$typeName' | '$unknown'> = {},
): ClaimedRecord {
  const usual = {
    containerId: container.claim.id,
    containerSha256: container.sha256,
    uid: 200_000,
    gid: 200_001,
    isInitFamily: true,
  };
  return decodeRecord(encodeRecord(makeRecord({ ...usual, ...fields })));
}

/** Codes of a verdict's findings; those that are fatal with a mark. */
export function codesOf({ findings }: Verdict): string[] {
  return findings.map(({ code, fatal }) => (fatal ? `! ${code}` : code));
}

/** A node that says nothing of itself. */
export const SILENT_NODE: NodeObservation = create(NodeObservationSchema);
