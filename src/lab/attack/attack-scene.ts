import type { LabAdmin } from '../admin.ts';
import type { ServiceLine } from '../lab-node.ts';
import type { FindingReport } from '../lab-report.ts';
import { findingReport } from '../lab-report.ts';
import { type AttackNode, NEIGHBOUR } from './attack-node.ts';

/** What is known of one container, by its own words and by the server. */
export interface ContainerSight {
  readonly lines: readonly ServiceLine[];
  /** Has an identity that is valid at this moment. */
  readonly hasIdentity: boolean;
  /** All, those that are told too. */
  readonly findings: readonly (FindingReport & { readonly fatal: boolean })[];
}

/** What is seen after an attack. */
export interface Sight {
  readonly container: ContainerSight;
  readonly neighbour: ContainerSight;
  /** Of the host. */
  readonly host: ContainerSight['findings'];
}

/** Sees one container, with its neighbour and the host. @param more lines that a program of the host's said */
export type See = (name: string, more: readonly ServiceLine[]) => Promise<Sight>;

/** Looks at the node: what the server says is of one moment, for whatever container is then seen. */
export async function look(node: AttackNode, admin: LabAdmin): Promise<See> {
  const [workloads, host, neighbourLines] = await Promise.all([
    admin.workloads(),
    admin.node(),
    node.lab.lines(NEIGHBOUR),
  ]);
  const sight = (of: string, lines: readonly ServiceLine[]): ContainerSight => {
    const workload = workloads.get(of);
    return {
      lines,
      hasIdentity: (workload?.spiffeIds.length ?? 0) > 0,
      findings: (workload?.verdict?.findings ?? []).map((f) => ({ ...findingReport(f), fatal: f.fatal })),
    };
  };
  return async (name, more) => ({
    container: sight(name, [...(await node.lab.lines(name)), ...more]),
    neighbour: sight(NEIGHBOUR, neighbourLines),
    host: (host?.host?.findings ?? []).map((f) => ({ ...findingReport(f), fatal: f.fatal })),
  });
}
