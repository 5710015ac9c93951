import { equalBytes } from '../bytes/equal.ts';
import type { Container, Mount, Record } from '../proto/lacre/v1/record_pb.ts';
import type { ClaimedContainer, ClaimedRecord } from './record.ts';

/** Parts that are kept; when there are more, all are forgotten, and those in use stay with whoever uses them. */
const MAX_PARTS = 16_384;

/**
 * Makes claims small that are held for long: thousands of nodes run containers of the same images, and most of what is
 * said of one (arguments, environment, labels, names) is said of many in the same words. Equal parts become one object.
 */
export class ClaimPool {
  /** Apart from each other: what a node calls something must not stand for another node's list. */
  readonly #texts = new Map<string, string>();
  readonly #lists = new Map<string, unknown[]>();
  readonly #digests = new Map<string, Uint8Array>();
  readonly #maxParts: number;

  constructor(maxParts: number = MAX_PARTS) {
    this.#maxParts = maxParts;
  }

  /** Says the same, and holds on to nothing of the message that it was read from. */
  share({ claim, sha256, range }: ClaimedContainer): ClaimedContainer {
    return { claim: this.#shareClaim(claim), sha256: new Uint8Array(sha256), range };
  }

  /** The same of a caller in this container; undefined: in one that is not held. */
  shareRecord({ claim }: Pick<ClaimedRecord, 'claim'>, container: ClaimedContainer | undefined): { claim: Record } {
    const isCurrent = container !== undefined && equalBytes(container.sha256, claim.containerSha256);
    return {
      claim: {
        $typeName: claim.$typeName,
        version: claim.version,
        containerSha256: isCurrent ? container.sha256 : new Uint8Array(claim.containerSha256),
        containerId: container?.claim.id === claim.containerId ? container.claim.id : claim.containerId,
        uid: claim.uid,
        gid: claim.gid,
        executable: this.#text(claim.executable),
        isInitFamily: claim.isInitFamily,
        joinedByExec: claim.joinedByExec,
        startTicks: claim.startTicks,
      },
    };
  }

  /** Of named fields in one literal: a decoded message is an object several times as large. */
  #shareClaim(claim: Container): Container {
    return {
      $typeName: claim.$typeName,
      version: claim.version,
      id: claim.id,
      sandboxId: this.#text(claim.sandboxId),
      engine: this.#text(claim.engine),
      name: claim.name,
      initStartTicks: claim.initStartTicks,
      imageName: this.#text(claim.imageName),
      manifestDigest: this.#text(claim.manifestDigest),
      configDigest: this.#text(claim.configDigest),
      argv: this.#list(claim.argv),
      cwd: this.#text(claim.cwd),
      uid: claim.uid,
      gid: claim.gid,
      environment: this.#list(claim.environment),
      mounts: this.#mounts(claim.mounts),
      capabilities: claim.capabilities,
      boundingCapabilities: claim.boundingCapabilities,
      seccompMode: claim.seccompMode,
      seccompSha256: this.#bytes(claim.seccompSha256),
      seccompDeniesUserns: claim.seccompDeniesUserns,
      noNewPrivs: claim.noNewPrivs,
      devices: this.#list(claim.devices),
      hostNamespaces: this.#list(claim.hostNamespaces),
      uidMap: claim.uidMap.map(({ $typeName, inside, outside, length }) => ({ $typeName, inside, outside, length })),
      privileged: claim.privileged,
      execSessions: claim.execSessions,
      rootReadOnly: claim.rootReadOnly,
      labels: this.#list(claim.labels),
      maxUserNamespaces: claim.maxUserNamespaces,
      hasFuseDevice: claim.hasFuseDevice,
    };
  }

  /** Each container has device numbers of its own; the texts are those of others. */
  #mounts(mounts: readonly Mount[]): Mount[] {
    return mounts.map((mount) => ({
      $typeName: mount.$typeName,
      target: this.#text(mount.target),
      type: this.#text(mount.type),
      root: this.#text(mount.root),
      readOnly: mount.readOnly,
      noexec: mount.noexec,
      sourceKind: this.#text(mount.sourceKind),
      superOptions: this.#text(mount.superOptions),
      peer: mount.peer,
    }));
  }

  #text(text: string): string {
    return this.#first(this.#texts, text, text);
  }

  #list<Part>(list: Part[]): Part[] {
    return this.#first<unknown[]>(this.#lists, JSON.stringify(list), list) as Part[];
  }

  #bytes(bytes: Uint8Array): Uint8Array {
    return this.#first(this.#digests, Buffer.from(bytes).toString('latin1'), new Uint8Array(bytes));
  }

  /** The first part that had this key. */
  #first<Part>(parts: Map<string, Part>, key: string, part: Part): Part {
    const known = parts.get(key);
    if (known !== undefined) return known;
    if (this.#texts.size + this.#lists.size + this.#digests.size >= this.#maxParts) this.#forget();
    parts.set(key, part);
    return part;
  }

  #forget(): void {
    this.#texts.clear();
    this.#lists.clear();
    this.#digests.clear();
  }
}
