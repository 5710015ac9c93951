import type { Command } from 'commander';
import { LacreError } from '../lacre-error.ts';
import { Admin, type WorkloadInfo } from '../proto/lacre/v1/admin_pb.ts';
import { type CommandContext, withAdmin } from './context.ts';
import { examples } from './entry.ts';
import { describe as describeNode, facts as nodeFacts } from './node.ts';
import { paint, safeText, table } from './output.ts';
import { verdictFacts, verdictText } from './verdict-text.ts';

/** Adds `lacre workload` and `lacre why`. */
export function addWorkloadCommands(program: Command): void {
  const workload = program.command('workload').description('containers that asked for an identity');
  workload
    .command('list')
    .description('every container, its identity or its refusal')
    .option('--node <spiffe-id>', 'only those of one node')
    .addHelpText('after', examples('lacre workload list', 'lacre workload list --output json'))
    .action(withAdmin(listWorkloads));
  program
    .command('why <subject>')
    .description('why a container (id or name), a SPIFFE ID or a node has its verdict: every finding')
    .addHelpText('after', examples('lacre why orders', 'lacre why spiffe://example.org/orders', 'lacre why 3f9a1c'))
    .action(withAdmin(why));
}

async function listWorkloads({ admin, output }: CommandContext, options: { node?: string }): Promise<void> {
  const { workloads } = await admin.service(Admin).listWorkloads({ node: options.node ?? '' });
  output.result(workloads.map(workloadFacts), () =>
    workloads.length === 0
      ? 'no workloads'
      : table(
          ['CONTAINER', 'IMAGE', 'VERDICT', 'SPIFFE ID', 'FIRST FINDING'],
          workloads.map((w) => [
            safeText(w.containerName || w.containerId.slice(0, 12)),
            safeText(w.imageName),
            verdictWord(w),
            w.spiffeIds.join(' ') || '-',
            firstFinding(w),
          ]),
        ),
  );
}

async function why({ admin, output }: CommandContext, _options: unknown, subject: string): Promise<void> {
  const { workloads, nodes } = await admin.service(Admin).why({ subject });
  if (workloads.length + nodes.length === 0) {
    throw new LacreError(
      'cli.server.missing',
      `nothing is known of ${JSON.stringify(subject)}: neither a container nor a SPIFFE ID nor a node`,
    );
  }
  output.result({ workloads: workloads.map(workloadFacts), nodes: nodes.map(nodeFacts) }, () =>
    [...workloads.map(describeWorkload), ...nodes.map(describeNode)].join('\n\n'),
  );
}

function verdictWord(workload: WorkloadInfo): string {
  if (!workload.verdict) return paint('yellow', 'none');
  return workload.verdict.trusted ? paint('green', 'trusted') : paint('red', 'refused');
}

function firstFinding(workload: WorkloadInfo): string {
  const finding = workload.verdict?.findings.find((f) => f.fatal);
  return finding ? safeText(`${finding.code} ${finding.path}`.trim()) : '-';
}

function workloadFacts(workload: WorkloadInfo): Record<string, unknown> {
  return {
    container: workload.containerName,
    containerId: workload.containerId,
    node: workload.node,
    image: workload.imageName,
    manifestDigest: workload.manifestDigest,
    spiffeIds: workload.spiffeIds,
    attribution: workload.attribution,
    running: workload.running,
    withdrawnAt: workload.withdrawnAtUnixMs === 0n ? null : new Date(Number(workload.withdrawnAtUnixMs)).toISOString(),
    ...verdictFacts(workload.verdict),
  };
}

function describeWorkload(workload: WorkloadInfo): string {
  const lines: [string, string][] = [
    [
      'container',
      safeText(`${workload.containerName} ${workload.containerId.slice(0, 12)}${workload.running ? '' : ' (stopped)'}`),
    ],
    ['node', workload.node],
    ['image', safeText(`${workload.imageName} ${workload.manifestDigest}`)],
    ['attribution', workload.attribution],
    ['SPIFFE IDs', workload.spiffeIds.join(' ') || 'none'],
    ...(workload.withdrawnAtUnixMs === 0n
      ? []
      : [['withdrawn', new Date(Number(workload.withdrawnAtUnixMs)).toISOString()] as [string, string]]),
  ];
  return [...lines.map(([name, value]) => `${name.padEnd(12)} ${value}`), verdictText(workload.verdict)].join('\n');
}
