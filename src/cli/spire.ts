import type { Command } from 'commander';
import { examples } from './entry.ts';

/** Adds `lacre spire …`: the plugins, which SPIRE starts, and what prepares them. */
export function addSpireCommands(program: Command): void {
  const spire = program.command('spire').description('Lacre as plugins of an unmodified SPIRE (docs/spire.md)');
  spire
    .command('workload-attestor')
    .description('WorkloadAttestor "lacre"; SPIRE starts it')
    .addHelpText('after', examples('plugin_cmd = "/usr/bin/lacre"', 'plugin_args = ["spire", "workload-attestor"]'))
    .action(async () => {
      const { runWorkloadAttestor } = await import('../spire/run.ts');
      await runWorkloadAttestor();
    });
}
