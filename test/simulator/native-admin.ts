import { X509Certificate } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { FileTable, type ReferenceFile } from '../../src/appraisal/reference/file-table.ts';
import { hostReferenceMessage } from '../../src/appraisal/reference/host-reference.ts';
import { AdminClient } from '../../src/cli/admin-client.ts';
import { imaPolicy } from '../../src/ima/policy.ts';
import {
  Admin,
  type ImageReferenceSchema,
  type NodeInfo,
  type WorkloadInfo,
} from '../../src/proto/lacre/v1/admin_pb.ts';
import { Bundle } from '../../src/proto/spire/api/server/bundle/v1/bundle_pb.ts';
import { Entry } from '../../src/proto/spire/api/server/entry/v1/entry_pb.ts';
import { HOST_PATHS, type NativeNode, POOL_BASE, TRUST_DOMAIN } from './native-node.ts';
import { WORKLOAD_ARGUMENTS } from './oci-config.ts';

export const HOST_NAME = 'native-host';

/** What an operator does, over the server's admin socket. */
export class NativeAdmin implements Disposable {
  readonly #node: NativeNode;
  readonly #client: AdminClient;

  /** @param socket of a server that the test started itself */
  constructor(node: NativeNode, socket = node.programs.adminSocket) {
    this.#node = node;
    this.#client = new AdminClient(socket);
  }

  /** Reference values of the played host and of the image; `more` files belong to the image by name alone. */
  async approve(more: readonly ReferenceFile[] = []): Promise<void> {
    const { kernel, image } = this.#node;
    const files = HOST_PATHS.map((path) => ({ path, sha256: this.#node.digest(path), mode: 0o755 }));
    const host = hostReferenceMessage({
      name: HOST_NAME,
      boot: {
        kernelSha256: [kernel.system.kernelSha256],
        initrdSha256: [kernel.system.initrdSha256],
        commandLines: [kernel.system.commandLine],
        pcrs: new Map(),
      },
      policy: imaPolicy(POOL_BASE),
      uidPoolBase: POOL_BASE,
      nextInit: '/sbin/init',
      files: FileTable.of(files),
    });
    await this.#admin.approveHost(parts('host', host, files));
    await this.approveImage([...(await this.#node.files()), ...more], {
      manifestDigest: image.manifestDigest,
      configDigest: image.configDigest,
      names: [image.name],
      entrypoint: [...WORKLOAD_ARGUMENTS],
      environment: ['PATH=/bin'],
      entrypointPath: '/bin/app',
    });
  }

  /** Reference values of an image that runs as root in `/`. */
  async approveImage(
    files: readonly ReferenceFile[],
    image: MessageInitShape<typeof ImageReferenceSchema>,
  ): Promise<void> {
    const reference = { workingDir: '/', user: '0:0', fileCount: BigInt(files.length), ...image };
    await this.#admin.approveImage(parts('image', reference, files));
  }

  /** Puts the node's EK into the inventory. */
  async addNode(): Promise<void> {
    await this.#admin.addNode({ ekSha256: this.#node.ekSha256Hex, name: 'native', host: HOST_NAME });
  }

  nodeInfo(): Promise<NodeInfo> {
    return this.#admin.getNode({ node: this.#node.ekSha256Hex });
  }

  async workloads(): Promise<WorkloadInfo[]> {
    return (await this.#admin.listWorkloads({})).workloads;
  }

  /** An entry for one container by its name; `more` values of type lacre. The kernel of the machine that tests run on may leave a host open. */
  addEntry(containerName: string, more: readonly string[] = []): Promise<void> {
    return this.addEntries([containerName], more);
  }

  /** The same for many containers. */
  async addEntries(containerNames: readonly string[], more: readonly string[] = []): Promise<void> {
    const parentPath = this.#node.spiffeId.slice(`spiffe://${TRUST_DOMAIN}`.length);
    const entries = containerNames.map((containerName) => ({
      spiffeId: { trustDomain: TRUST_DOMAIN, path: `/${containerName}` },
      parentId: { trustDomain: TRUST_DOMAIN, path: parentPath },
      selectors: [
        `image-name:${this.#node.image.name}`,
        `container-name:${containerName}`,
        'attribution:exact',
        'config:image',
        'host:open',
        ...more,
      ].map((value) => ({ type: 'lacre', value })),
    }));
    const { results } = await this.#client.service(Entry).batchCreateEntry({ entries });
    const failed = results.find(({ status }) => status?.code !== 0);
    if (failed !== undefined || results.length !== entries.length)
      throw new Error(failed?.status?.message ?? 'no entry was made');
  }

  /** The trust domain's certificates, as an operator would hand them to a node. */
  async bundlePem(): Promise<string> {
    const { x509Authorities } = await this.#client.service(Bundle).getBundle({});
    return x509Authorities.map(({ asn1 }) => new X509Certificate(asn1).toString()).join('');
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }

  get #admin() {
    return this.#client.service(Admin);
  }
}

async function* parts<T>(kind: 'host' | 'image', value: T, files: readonly ReferenceFile[]) {
  yield { part: { case: kind, value } } as never;
  yield { part: { case: 'files', value: { files: [...files] } } } as never;
}
