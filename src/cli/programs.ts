import { type Command, Option } from 'commander';
import { examples } from './entry.ts';

/** Adds the programs themselves: `lacre server run`, `lacre agent run`, `lacre lab up|down`. Each is loaded when it is called. */
export function addProgramCommands(program: Command): void {
  addServer(program);
  addAgent(program);
  addLab(program);
}

function addServer(program: Command): void {
  program
    .command('server')
    .description('verifier and authority')
    .command('run')
    .description('run the server until SIGTERM')
    .requiredOption('--config <file>', 'its configuration (docs/server.md)')
    .argument('[settings...]', 'any scalar key of the file as a flag, such as --ca-svid-ttl 5m')
    .allowUnknownOption()
    .addHelpText(
      'after',
      examples(
        'lacre server run --config /etc/lacre/server.yaml',
        'lacre server run --config server.yaml --listen 0.0.0.0:8443',
      ),
    )
    .action(async (settings: string[], options: { config: string }) => {
      const { runServer } = await import('../server/run.ts');
      await runServer(options.config, settings);
    });
}

function addAgent(program: Command): void {
  program
    .command('agent')
    .description('evidence and Workload API on a node')
    .command('run')
    .description('run the agent until SIGTERM')
    .requiredOption('--config <file>', 'its configuration (docs/agent.md)')
    .addHelpText('after', examples('lacre agent run --config /etc/lacre/agent.yaml'))
    .action(async (options: { config: string }) => {
      const { runAgent } = await import('../agent/run.ts');
      await runAgent(options.config);
    });
}

interface LabOptions {
  readonly keep?: true;
  readonly spire?: true;
  readonly reads?: true;
  readonly grades?: true;
  readonly attacks?: true;
  readonly kernel: string;
}

function addLab(program: Command): void {
  const lab = program
    .command('lab')
    .description('a node in a box: QEMU, a stock kernel with IMA, a software TPM, real containers');
  lab
    .command('up')
    .description('build and boot the node, run the demonstration, and end with a summary')
    .option('--keep', 'leave everything running and say what to try')
    .option('--spire', "identities come from an unmodified SPIRE with Lacre's plugins (needs Go)")
    .option('--reads', 'services in Python, JavaScript and shell, some of them with a changed script or setting')
    .option('--grades', 'boots that reach a host grade each, and what takes it from them')
    .addOption(
      new Option('--attacks', 'attacks by real processes in real containers, instead of the demonstration').conflicts([
        ...['keep', 'spire', 'reads', 'grades'],
      ]),
    )
    .option('--kernel <series>', "the node's kernel: 6.12, or 6.1", '6.12')
    .addHelpText('after', examples('lacre lab up', 'lacre lab up --keep', 'lacre lab up --output json > result.json'))
    .action(async (options: LabOptions, command: Command) => {
      const { labUp } = await import('../lab/lab.ts');
      process.exitCode = await labUp({
        keep: options.keep ?? false,
        spire: options.spire ?? false,
        reads: options.reads ?? false,
        grades: options.grades ?? false,
        attacks: options.attacks ?? false,
        kernel: options.kernel,
        json: command.optsWithGlobals()['output'] === 'json',
      });
    });
  lab
    .command('down')
    .description('end a lab that was kept')
    .addHelpText('after', examples('lacre lab down'))
    .action(async () => {
      const { labDown } = await import('../lab/lab.ts');
      process.exitCode = await labDown();
    });
}
