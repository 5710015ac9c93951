import { Code } from '@connectrpc/connect';
import { type Command, InvalidArgumentError } from 'commander';
import { LacreError } from '../lacre-error.ts';
import { Entry } from '../proto/spire/api/server/entry/v1/entry_pb.ts';
import type { Entry as EntryMessage } from '../proto/spire/api/types/entry_pb.ts';
import { SelectorMatch_MatchBehavior } from '../proto/spire/api/types/selector_pb.ts';
import type { Status } from '../proto/spire/api/types/status_pb.ts';
import { type CommandContext, withAdmin } from './context.ts';
import { table } from './output.ts';
import { collect, selectorArgument, spiffeIdArgument, spiffeIdText } from './spiffe.ts';

interface EntryOptions {
  readonly entryId?: string;
  readonly spiffeId?: ReturnType<typeof spiffeIdArgument>;
  readonly parentId?: ReturnType<typeof spiffeIdArgument>;
  readonly selector?: ReturnType<typeof selectorArgument>[];
  readonly x509SvidTtl?: number;
  readonly dns?: string[];
  readonly hint?: string;
}

/** Adds `lacre entry`: registration entries, by SPIRE's server API. */
export function addEntryCommands(program: Command): void {
  const entry = program.command('entry').description('registration entries: which workload gets which SPIFFE ID');
  filtered(entry.command('create').description('create an entry'))
    .option('--entry-id <id>', 'an ID of your own')
    .option('--x509-svid-ttl <seconds>', 'life of its X.509-SVIDs, counted from the time of the evidence', seconds)
    .option('--dns <name>', 'a DNS name for the SVID; may be repeated', collect(String))
    .option('--hint <text>', 'tells a workload with several SVIDs which one to use')
    .addHelpText(
      'after',
      examples(
        'lacre entry create --spiffe-id spiffe://example.org/orders --parent-id spiffe://example.org/spire/agent/lacre_tpm/0f3c… \\',
        '    --selector lacre:image-name:registry.example.org/orders:1 --selector lacre:attribution:exact --selector lacre:host:standard',
      ),
    )
    .action(withAdmin(createEntry));
  filtered(entry.command('list').description('list entries'))
    .addHelpText('after', examples('lacre entry list --output json'))
    .action(withAdmin(listEntries));
  entry
    .command('show <id>')
    .description('show one entry')
    .addHelpText('after', examples('lacre entry show 4c2d…'))
    .action(withAdmin(showEntry));
  entry
    .command('delete <id...>')
    .description('delete entries; what was issued for them is withdrawn')
    .addHelpText('after', examples('lacre entry delete 4c2d…'))
    .action(withAdmin(deleteEntries));
}

/** Help text that shows how a command is used. */
export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`;
}

function filtered(command: Command): Command {
  return command
    .option('--spiffe-id <id>', 'the SPIFFE ID', spiffeIdArgument)
    .option('--parent-id <id>', 'SPIFFE ID of the node, or of an alias of nodes', spiffeIdArgument)
    .option('--selector <type:value>', 'what the workload must have; may be repeated', collect(selectorArgument));
}

function seconds(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('a number of seconds is wanted');
  return Number(text);
}

async function createEntry({ admin, output }: CommandContext, options: EntryOptions): Promise<void> {
  const { spiffeId, parentId, selector } = options;
  if (!spiffeId || !parentId || !selector) {
    throw new LacreError('cli.usage', 'an entry needs --spiffe-id, --parent-id and at least one --selector');
  }
  const { results } = await admin.service(Entry).batchCreateEntry({
    entries: [
      {
        id: options.entryId ?? '',
        spiffeId,
        parentId,
        selectors: selector,
        x509SvidTtl: options.x509SvidTtl ?? 0,
        dnsNames: options.dns ?? [],
        hint: options.hint ?? '',
      },
    ],
  });
  for (const { status, entry } of results) {
    checkStatus(status, 'the entry was not created');
    output.result(entry && facts(entry), () => (entry ? describe(entry) : ''));
  }
}

async function listEntries({ admin, output }: CommandContext, options: EntryOptions): Promise<void> {
  const entries: EntryMessage[] = [];
  let pageToken = '';
  do {
    const page = await admin.service(Entry).listEntries({
      pageSize: 500,
      pageToken,
      filter: {
        ...(options.spiffeId && { bySpiffeId: options.spiffeId }),
        ...(options.parentId && { byParentId: options.parentId }),
        ...(options.selector && {
          bySelectors: { selectors: options.selector, match: SelectorMatch_MatchBehavior.MATCH_SUPERSET },
        }),
      },
    });
    entries.push(...page.entries);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  output.result(entries.map(facts), () =>
    entries.length === 0
      ? 'no entries'
      : table(
          ['ID', 'SPIFFE ID', 'PARENT', 'SELECTORS'],
          entries.map((e) => [
            e.id,
            spiffeIdText(e.spiffeId),
            spiffeIdText(e.parentId),
            e.selectors.map((s) => `${s.type}:${s.value}`).join(' '),
          ]),
        ),
  );
}

async function showEntry({ admin, output }: CommandContext, _options: unknown, id: string): Promise<void> {
  const entry = await admin.service(Entry).getEntry({ id });
  output.result(facts(entry), () => describe(entry));
}

async function deleteEntries({ admin, output }: CommandContext, _options: unknown, ids: string[]): Promise<void> {
  const { results } = await admin.service(Entry).batchDeleteEntry({ ids });
  for (const { status, id } of results) checkStatus(status, `entry ${id} was not deleted`);
  output.result({ deleted: ids }, () => ids.map((id) => `deleted ${id}`).join('\n'));
}

function checkStatus(status: Status | undefined, what: string): void {
  if (!status || status.code === 0) return;
  const code = status.code === Code.NotFound ? 'cli.server.missing' : 'cli.server.refused';
  throw new LacreError(code, `${what}: ${status.message}`, { status: status.code });
}

function facts(entry: EntryMessage): Record<string, unknown> {
  return {
    id: entry.id,
    spiffeId: spiffeIdText(entry.spiffeId),
    parentId: spiffeIdText(entry.parentId),
    selectors: entry.selectors.map((s) => `${s.type}:${s.value}`),
    x509SvidTtlSeconds: entry.x509SvidTtl,
    dnsNames: entry.dnsNames,
    hint: entry.hint,
    revision: entry.revisionNumber,
  };
}

function describe(entry: EntryMessage): string {
  return Object.entries(facts(entry))
    .filter(([, value]) => value !== '' && !(Array.isArray(value) && value.length === 0))
    .map(
      ([name, value]) =>
        `${name.padEnd(18)} ${Array.isArray(value) ? value.join(`\n${' '.repeat(19)}`) : String(value)}`,
    )
    .join('\n');
}
