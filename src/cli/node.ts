import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { LacreError } from '../lacre-error.ts';
import { Admin, type NodeInfo } from '../proto/lacre/v1/admin_pb.ts';
import { type CommandContext, withAdmin } from './context.ts';
import { examples } from './entry.ts';
import { prepareNodeCommand } from './node-prepare.ts';
import { ago, paint, table } from './output.ts';
import { derBytes } from './pem.ts';
import { verdictFacts, verdictText } from './verdict-text.ts';

interface AddNodeOptions {
  readonly ekSha256?: string;
  readonly ekCertificate?: string;
  readonly name?: string;
  readonly host?: string;
}

/** Adds `lacre node`: the inventory, and what prepares a machine for it. */
export function addNodeCommands(program: Command): void {
  const node = program.command('node').description('nodes: the inventory, their state, and preparing one');
  node
    .command('add')
    .description('put a node into the inventory by its endorsement key; nothing else can enrol')
    .option('--ek-sha256 <hex>', 'SHA-256 of the EK public key (SubjectPublicKeyInfo, DER)')
    .option('--ek-certificate <file>', 'the EK certificate instead, PEM or DER')
    .option('--name <name>', 'a name for people')
    .option('--host <name>', 'the approved host reference values that this node must match (default: any)')
    .addHelpText(
      'after',
      examples(
        'lacre node add --ek-certificate ek.pem --name rack3-12',
        'lacre node add --ek-sha256 5d1c… --host debian-13',
      ),
    )
    .action(withAdmin(addNode));
  node
    .command('list')
    .description('list nodes, also those that knocked and are not in the inventory')
    .addHelpText('after', examples('lacre node list --output json'))
    .action(withAdmin(listNodes));
  node
    .command('show <node>')
    .description('one node, by name, SPIFFE ID or EK hash, with all findings')
    .addHelpText('after', examples('lacre node show rack3-12'))
    .action(withAdmin(showNode));
  node
    .command('delete <node>')
    .description('take a node out of the inventory; what was issued on it is withdrawn')
    .addHelpText('after', examples('lacre node delete rack3-12'))
    .action(withAdmin(deleteNode));
  prepareNodeCommand(node);
}

async function addNode({ admin, output }: CommandContext, options: AddNodeOptions): Promise<void> {
  const { ekSha256, ekCertificate } = options;
  if ((ekSha256 === undefined) === (ekCertificate === undefined)) {
    throw new LacreError('cli.usage', 'give either --ek-sha256 or --ek-certificate');
  }
  const node = await admin.service(Admin).addNode({
    ekSha256: ekSha256 ?? '',
    ekCertificate:
      ekCertificate === undefined ? new Uint8Array() : derBytes(await readFile(ekCertificate), ekCertificate),
    name: options.name ?? '',
    host: options.host ?? '',
  });
  output.result(facts(node), () => describe(node));
}

async function listNodes({ admin, output }: CommandContext): Promise<void> {
  const { nodes } = await admin.service(Admin).listNodes({});
  output.result(nodes.map(facts), () =>
    nodes.length === 0
      ? 'no nodes'
      : table(
          ['NAME', 'STATE', 'ROOT', 'EVIDENCE', 'ENTRIES', 'EK SHA-256', 'SPIFFE ID'],
          nodes.map((n) => [
            n.name || '-',
            stateText(n.state),
            n.rootOfTrust || '-',
            ago(n.lastEvidenceUnixMs),
            String(n.verifiedEntries),
            n.ekSha256.slice(0, 16),
            n.spiffeId || '-',
          ]),
        ),
  );
}

async function showNode({ admin, output }: CommandContext, _options: unknown, node: string): Promise<void> {
  const info = await admin.service(Admin).getNode({ node });
  output.result(facts(info), () => describe(info));
}

async function deleteNode({ admin, output }: CommandContext, _options: unknown, node: string): Promise<void> {
  await admin.service(Admin).deleteNode({ node });
  output.result({ deleted: node }, () => `deleted ${node}`);
}

function stateText(state: string): string {
  if (state === 'attested') return paint('green', state);
  return state === 'refused' || state === 'lost' || state === 'parked' ? paint('red', state) : state;
}

export function facts(node: NodeInfo): Record<string, unknown> {
  return {
    name: node.name,
    state: node.state,
    spiffeId: node.spiffeId || null,
    ekSha256: node.ekSha256,
    rootOfTrust: node.rootOfTrust || null,
    kernel: node.kernel || null,
    hostReference: node.hostReference || null,
    verifiedEntries: node.verifiedEntries,
    lastEvidence: node.lastEvidenceUnixMs === 0n ? null : new Date(Number(node.lastEvidenceUnixMs)).toISOString(),
    agentVersion: node.agentVersion || null,
    host: verdictFacts(node.host),
  };
}

export function describe(node: NodeInfo): string {
  const lines: [string, string][] = [
    ['name', node.name || '-'],
    ['state', stateText(node.state)],
    ['SPIFFE ID', node.spiffeId || '-'],
    ['EK SHA-256', node.ekSha256],
    ['root of trust', node.rootOfTrust || '-'],
    ['kernel', node.kernel || '-'],
    ['host reference', node.hostReference || '-'],
    ['verified entries', String(node.verifiedEntries)],
    ['last evidence', ago(node.lastEvidenceUnixMs)],
  ];
  const host = node.host ? [`host\n${verdictText(node.host, '  ')}`] : [];
  return [...lines.map(([name, value]) => `${name.padEnd(17)} ${value}`), ...host].join('\n');
}
