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
  spire
    .command('agent-node-attestor')
    .description('NodeAttestor "lacre_tpm" of spire-agent; SPIRE starts it')
    .addHelpText('after', examples('plugin_cmd = "/usr/bin/lacre"', 'plugin_args = ["spire", "agent-node-attestor"]'))
    .action(async () => {
      const { runAgentHalf } = await import('../spire/run.ts');
      await runAgentHalf();
    });
  spire
    .command('server-node-attestor')
    .description('NodeAttestor "lacre_tpm" of spire-server; SPIRE starts it')
    .addHelpText('after', examples('plugin_cmd = "/usr/bin/lacre"', 'plugin_args = ["spire", "server-node-attestor"]'))
    .action(async () => {
      const { runServerHalf } = await import('../spire/run.ts');
      await runServerHalf();
    });
}
