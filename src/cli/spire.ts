import type { Command } from 'commander';
import { outputOf } from './context.ts';
import { examples } from './entry.ts';
import { safeText } from './output.ts';

interface PluginOptions {
  readonly nativeFolder: string;
}

/** A command that SPIRE starts. */
function plugin(spire: Command, name: string): Command {
  const option = 'where its native part is put, for the kernel to name it by';
  return spire.command(name).option('--native-folder <path>', option, '/var/lib/lacre/plugin');
}

/** Adds `lacre spire …`: the plugins, which SPIRE starts, and what prepares them. */
export function addSpireCommands(program: Command): void {
  const spire = program.command('spire').description('Lacre as plugins of an unmodified SPIRE (docs/spire.md)');
  plugin(spire, 'workload-attestor')
    .description('WorkloadAttestor "lacre"; SPIRE starts it')
    .addHelpText('after', examples('plugin_cmd = "/usr/bin/lacre"', 'plugin_args = ["spire", "workload-attestor"]'))
    .action(async ({ nativeFolder }: PluginOptions) => {
      const { runWorkloadAttestor } = await import('../spire/run.ts');
      await runWorkloadAttestor(nativeFolder);
    });
  spire
    .command('check')
    .description('read SPIRE configurations and entries, and say what is missing for Lacre')
    .option('--config <file...>', 'of spire-server or spire-agent, HCL or JSON')
    .option('--entries <file>', 'what `spire-server entry show -output json` printed')
    .addHelpText('after', examples('lacre spire check --config server.conf agent.conf --entries entries.json'))
    .action(async (options: { config?: string[]; entries?: string }, command: Command) => {
      const { checkSpireFiles } = await import('../spire/check.ts');
      const notes = await checkSpireFiles(options.config ?? [], options.entries);
      const text = () =>
        notes.map(({ missing, sentence }) => `${missing ? 'missing' : 'note   '}  ${safeText(sentence)}`).join('\n');
      outputOf(command).result(notes, () => (notes.length === 0 ? 'nothing is missing' : text()));
      if (notes.some(({ missing }) => missing)) process.exitCode = 3;
    });
  plugin(spire, 'agent-node-attestor')
    .description('NodeAttestor "lacre_tpm" of spire-agent; SPIRE starts it')
    .addHelpText('after', examples('plugin_cmd = "/usr/bin/lacre"', 'plugin_args = ["spire", "agent-node-attestor"]'))
    .action(async ({ nativeFolder }: PluginOptions) => {
      const { runAgentHalf } = await import('../spire/run.ts');
      await runAgentHalf(nativeFolder);
    });
  plugin(spire, 'server-node-attestor')
    .description('NodeAttestor "lacre_tpm" of spire-server; SPIRE starts it')
    .addHelpText('after', examples('plugin_cmd = "/usr/bin/lacre"', 'plugin_args = ["spire", "server-node-attestor"]'))
    .action(async ({ nativeFolder }: PluginOptions) => {
      const { runServerHalf } = await import('../spire/run.ts');
      await runServerHalf(nativeFolder);
    });
}
