import { readFile, writeFile } from 'node:fs/promises';
import { create, fromJsonString, toJson } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import { bootReferenceOf } from '../appraisal/reference/host-reference.ts';
import { describeEvent } from '../boot/event-data.ts';
import { parseEventLog } from '../boot/event-log.ts';
import { type LearntBoot, learnBoot } from '../boot/learn-boot.ts';
import { matchBoot } from '../boot/match-boot.ts';
import { bankOf, type ReplayedBoot, replayEventLog } from '../boot/replayed-boot.ts';
import { toHex } from '../bytes/hex.ts';
import { LacreError } from '../lacre-error.ts';
import { Admin, type HostReference, HostReferenceSchema } from '../proto/lacre/v1/admin_pb.ts';
import { type CommandContext, outputOf, withAdmin } from './context.ts';
import { examples } from './entry.ts';
import { type Output, safeText, table } from './output.ts';
import { collect } from './spiffe.ts';

interface LearnOptions {
  readonly name: string;
  readonly eventLog: string;
  readonly commandLine?: string[];
  readonly out?: string;
}

interface CheckOptions {
  readonly eventLog: string;
  readonly host?: string;
  readonly boot?: string;
}

/** Adds `lacre host learn`, `lacre host check` and `lacre host events`: reference values of boots, from event logs. */
export function addBootCommands(host: Command): void {
  host
    .command('learn')
    .description(
      'draw up reference values from the event log of a machine that is known to be good; nothing is approved',
    )
    .requiredOption('--name <name>', 'what to call these values')
    .requiredOption('--event-log <file>', 'its binary_bios_measurements')
    .option('--command-line <text>', 'its /proc/cmdline, and what the loader may have made of it', collect(String))
    .option('--out <file>', 'where to write them, JSON (default: standard output)')
    .addHelpText('after', examples('lacre host learn --name debian-13 --event-log good.log --out boot.json'))
    .action(learn);
  host
    .command('check')
    .description('hold an event log against reference values, without a node and without changing anything')
    .requiredOption('--event-log <file>', 'binary_bios_measurements of a machine')
    .option('--host <name>', 'approved reference values, from the server')
    .option('--boot <file>', 'reference values in a file of lacre host learn')
    .addHelpText(
      'after',
      examples(
        'lacre host check --event-log node7.log --host debian-13',
        'lacre host check --event-log node7.log --boot boot.json',
      ),
    )
    .action(async (options: CheckOptions, command: Command) => {
      if ((options.host === undefined) === (options.boot === undefined)) {
        throw new LacreError('cli.usage', 'give either --host or --boot');
      }
      if (options.boot === undefined) await withAdmin(checkApproved)(options, command);
      else report(outputOf(command), await replayFile(options.eventLog), await bootFile(options.boot));
    });
  host
    .command('events <event-log>')
    .description('show an event log: each event, what it says, and whether its digest confirms that')
    .addHelpText('after', examples('lacre host events /sys/kernel/security/tpm0/binary_bios_measurements'))
    .action(events);
}

async function learn(options: LearnOptions, command: Command): Promise<void> {
  const boot = await replayFile(options.eventLog);
  const learnt = learnBoot(boot, options.commandLine);
  const message = referenceMessage(options.name, boot, learnt);
  const json = toJson(HostReferenceSchema, message);
  const output = outputOf(command);
  if (options.out !== undefined) await writeFile(options.out, `${JSON.stringify(json, null, 2)}\n`, { flag: 'wx' });
  if (learnt.commandLines.length === 0) output.note('no command line was recognised: give it with --command-line');
  output.result(json, () => (options.out === undefined ? JSON.stringify(json, null, 2) : `wrote ${options.out}`));
}

async function checkApproved({ admin, output }: CommandContext, options: CheckOptions): Promise<void> {
  const boot = await replayFile(options.eventLog);
  const { hosts } = await admin.service(Admin).listHosts({});
  const found = hosts.find(({ host }) => host?.name === options.host)?.host;
  if (found === undefined) throw new LacreError('cli.server.missing', `no approved host is called ${options.host}`);
  report(output, boot, found);
}

/** All findings; exit status 3 where one of them would fail a node. */
function report(output: Output, boot: ReplayedBoot, message: HostReference): void {
  const { findings, ...recognised } = matchBoot(boot, bootReferenceOf(message));
  const isRefused = findings.some(({ fatal }) => fatal);
  const lines = findings.map(({ fatal, code, detail }) => `${fatal ? 'fails' : 'told '}  ${code}: ${safeText(detail)}`);
  output.result({ bank: boot.bank, accepted: !isRefused, ...recognised, findings }, () =>
    [...lines, `the boot would be ${isRefused ? 'refused' : 'accepted'} (bank ${boot.bank})`].join('\n'),
  );
  if (isRefused) process.exitCode = 3;
}

async function events(path: string, _options: unknown, command: Command): Promise<void> {
  const boot = await replayFile(path);
  const rows = boot.events.map((event) => ({
    index: event.index,
    pcr: event.pcr,
    type: event.typeName,
    digest: toHex(event.digests[boot.bank] ?? new Uint8Array()),
    ...describeEvent(event, boot.bank),
  }));
  outputOf(command).result(rows, () =>
    table(
      ['#', 'PCR', 'TYPE', boot.bank.toUpperCase(), 'CONFIRMED', 'TEXT'],
      rows.map(({ index, pcr, type, digest, confirmed, text }) => [
        String(index),
        String(pcr),
        type,
        digest.slice(0, 16),
        confirmed ? 'yes' : '-',
        text.slice(0, 80),
      ]),
    ),
  );
}

/** Replays a log in the bank that evidence of it would be of. Throws cli.file.missing, boot.*. */
async function replayFile(path: string): Promise<ReplayedBoot> {
  const found = parseEventLog(await readBytes(path));
  return replayEventLog(found, bankOf(found));
}

async function readBytes(path: string): Promise<Uint8Array> {
  return readFile(path).catch((cause) => {
    throw new LacreError('cli.file.missing', `${path} cannot be read`, { path }, { cause });
  });
}

/** Reference values as `lacre host learn` writes them. Throws cli.file.missing, cli.file.invalid. */
export async function bootFile(path: string): Promise<HostReference> {
  const text = Buffer.from(await readBytes(path)).toString('utf8');
  try {
    return fromJsonString(HostReferenceSchema, text);
  } catch (cause) {
    throw new LacreError(
      'cli.file.invalid',
      `${path} holds no reference values of lacre host learn`,
      { path },
      { cause },
    );
  }
}

function referenceMessage(name: string, { bank }: ReplayedBoot, learnt: LearntBoot): HostReference {
  const { kernels, initrds, commandLines, components, pcrs, secureBoot } = learnt;
  const values =
    bank === 'sha256'
      ? {
          kernelSha256: [...kernels],
          initrdSha256: [...initrds],
          pcrs: Object.fromEntries([...pcrs].map(([pcr, sha256]) => [pcr, { sha256: [...sha256] }])),
        }
      : {
          sha384: {
            kernels: [...kernels],
            initrds: [...initrds],
            pcrs: [...pcrs].map(([pcr, each]) => ({ pcr, values: [...each] })),
          },
        };
  return create(HostReferenceSchema, {
    name,
    commandLines: [...commandLines],
    components: components.map((each) => ({ ...each, sha256: [...each.sha256], sha384: [...each.sha384] })),
    secureBoot,
    ...values,
  });
}
