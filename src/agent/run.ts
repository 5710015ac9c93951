import { isSea } from 'node:sea';
import { flagValues } from '../config-file.ts';
import { openLog } from '../log.ts';
import { comeFirst } from '../priority.ts';
import { stopSignal } from '../stop-signal.ts';
import { startAgent } from './agent.ts';
import { openParts } from './agent-parts.ts';
import { loadAgentConfig } from './config.ts';
import { loadNative } from './native.ts';
import { Notifier } from './notify.ts';
import { spareMemory } from './spare-memory.ts';

/** An agent that hangs in its start or in its own end is ended. */
const STOP_TIMEOUT_MS = 10_000;

/**
 * Runs the agent until SIGTERM or SIGINT. Variables LACRE_AGENT_* lie over the file, flags over both.
 * @param flags further arguments: "--data-dir", "/var/lib/lacre/agent", …
 * Codes: agent.config.invalid, agent.native.unavailable, agent.tpm.*, and those of startAgent.
 */
export async function runAgent(file: string, flags: readonly string[] = []): Promise<void> {
  // Sockets and files of the agent get the modes that it says, whoever started it.
  process.umask(0o022);
  const config = await loadAgentConfig(file, {
    environment: process.env,
    flags: flagValues(flags, 'agent.config.invalid'),
  });
  const log = openLog(config.log);
  const asked = stopSignal();
  void asked.then(() => setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref());
  const native = loadNative({ folder: isSea() ? config.dataDir : undefined });
  native.setNotDumpable();
  if (isSea()) {
    comeFirst();
    spareMemory(native);
  }
  const notifier = new Notifier(native, process.env['NOTIFY_SOCKET'], log);
  const agent = await startAgent(config, await openParts(config, native, log), log);
  notifier.ready();
  await asked;
  notifier.stopping();
  await agent.stop();
  log.info('the agent has stopped');
}
