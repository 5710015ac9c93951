import { mkdirSync } from 'node:fs';
import { isSea } from 'node:sea';
import type { Logger } from 'pino';
import { loadNative, type Native } from '../agent/native.ts';
import { spareMemory } from '../agent/spare-memory.ts';
import { comeFirst } from '../priority.ts';
import { openPluginLog } from './plugin-log.ts';
import { type Plugin, type PluginType, requireSpire, servePlugin } from './plugin-runtime.ts';

/**
 * Runs WorkloadAttestor "lacre" until SPIRE ends it. Codes: spire.plugin.*, agent.native.unavailable.
 * @param nativeFolder where the executable puts its native part
 */
export async function runWorkloadAttestor(nativeFolder: string): Promise<void> {
  await run('WorkloadAttestor', nativeFolder, async (deps) => {
    const { createWorkloadAttestor } = await import('./workload-attestor.ts');
    return createWorkloadAttestor(deps);
  });
}

/** Runs the agent half of NodeAttestor "lacre_tpm" until SPIRE ends it. Codes: as runWorkloadAttestor. */
export async function runAgentHalf(nativeFolder: string): Promise<void> {
  await run('NodeAttestor', nativeFolder, async (deps) => {
    const { createAgentHalf } = await import('./node-attestor-agent.ts');
    return createAgentHalf(deps);
  });
}

/** Runs its server half. Codes: as runWorkloadAttestor. */
export async function runServerHalf(nativeFolder: string): Promise<void> {
  await run('NodeAttestor', nativeFolder, async (deps) => {
    const { createServerHalf } = await import('./node-attestor-server.ts');
    return createServerHalf(deps);
  });
}

async function run(
  type: PluginType,
  folder: string,
  create: (deps: { readonly native: Native; readonly log: Logger }) => Promise<Plugin>,
): Promise<void> {
  requireSpire(type, process.env);
  process.umask(0o077);
  const log = openPluginLog();
  const native = loadNative({ folder: isSea() ? nativeFolder(folder, log) : undefined });
  native.setNotDumpable();
  if (isSea()) {
    if (type === 'WorkloadAttestor') comeFirst();
    spareMemory(native);
  }
  // A fault that nobody awaited is told and survived: SPIRE does not start a plugin anew.
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'a fault in the plugin was not handled'));
  const plugin = await create({ native, log });
  await servePlugin(plugin, { native, log });
  process.exit(0);
}

function nativeFolder(folder: string, log: Logger): string | undefined {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return folder;
  } catch (error) {
    log.warn({ err: error, folder }, 'the native part goes into a file without a name');
    return undefined;
  }
}
