import type { ChildProcess } from 'node:child_process';

/** Whether a request takes evidence that is older than it is: a switch of the bench. */
export const [FRESHER, FRESH_ENOUGH] = [true, false];

/** The Workload APIs that a container of the bed can ask. */
export type Api = 'lacre' | 'spire' | 'spire-lacre';

export const SOCKETS: Readonly<Record<Api, string>> = {
  lacre: 'unix:///run/lacre/workload.sock',
  spire: 'unix:///run/lacre/spire.sock',
  'spire-lacre': 'unix:///run/lacre/spire-lacre.sock',
};

export interface RoundOptions {
  readonly count: number;
  /** A process each with go-spiffe; or the connections of one client, which starts with the first container after `skip`. */
  readonly client: 'processes' | 'light';
  /** One after the other. */
  readonly turns?: boolean;
  readonly skip?: number;
  /** All of them out of the one container after `skip`. */
  readonly same?: boolean;
  readonly timeoutSeconds?: number;
}

/** What firstsvid saw, and what it cost. */
export interface Round {
  readonly got: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly ms: {
    readonly mean: number;
    readonly p50: number;
    readonly p95: number;
    readonly p99: number;
    readonly max: number;
  };
  /** In order of size. */
  readonly samples: readonly number[];
  readonly wallMs: number;
  readonly quotes: number;
  /** CPU of the programs that serve the node's workloads, and of their server, in milliseconds for the whole round. */
  readonly agentCpuMs: number;
  readonly serverCpuMs: number;
}

/** Status 1 says that some workload got nothing: its reason is in the output. */
export function outputOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let [out, said] = ['', ''];
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    child.once('error', reject);
    child.once('close', (status) => {
      if (status === 0 || (status === 1 && out !== '')) resolve(out);
      else reject(new Error(`firstsvid ended with status ${status}: ${said}`));
    });
  });
}
