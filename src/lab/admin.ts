import { connect } from 'node:net';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { Admin, type NodeInfo, type WorkloadInfo } from '../proto/lacre/v1/admin_pb.ts';

/** What the server knows at a moment, asked over its admin socket. */
export class LabAdmin implements Disposable {
  readonly #sessions: Http2SessionManager;
  readonly #client;

  constructor(socket: string) {
    this.#sessions = new Http2SessionManager('http://localhost', {}, { createConnection: () => connect(socket) });
    this.#client = createClient(
      Admin,
      createGrpcTransport({ baseUrl: 'http://localhost', sessionManager: this.#sessions }),
    );
  }

  /** The node of this name; without a name, the only one. */
  async node(name?: string): Promise<NodeInfo | undefined> {
    const { nodes } = await this.#client.listNodes({});
    return name === undefined ? nodes[0] : nodes.find((node) => node.name === name);
  }

  async workloads(): Promise<Map<string, WorkloadInfo>> {
    const { workloads } = await this.#client.listWorkloads({});
    return new Map(workloads.map((workload) => [workload.containerName, workload]));
  }

  [Symbol.dispose](): void {
    this.#sessions.abort();
  }
}
