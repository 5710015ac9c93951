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

  async node(): Promise<NodeInfo | undefined> {
    return (await this.#client.listNodes({})).nodes[0];
  }

  async workloads(): Promise<Map<string, WorkloadInfo>> {
    const { workloads } = await this.#client.listWorkloads({});
    return new Map(workloads.map((workload) => [workload.containerName, workload]));
  }

  [Symbol.dispose](): void {
    this.#sessions.abort();
  }
}
