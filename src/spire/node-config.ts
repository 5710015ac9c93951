import * as z from 'zod';
import { AgentConfigSchema } from '../agent/config-schema.ts';
import { nodeShape } from './workload-config.ts';

/** plugin_data of NodeAttestor "lacre_tpm" of spire-agent. */
export const AgentHalfConfigSchema = z.strictObject({
  data_dir: AgentConfigSchema.shape.data_dir.unwrap().default('/var/lib/lacre/spire-node'),
  ...nodeShape,
});

const socketPath = z
  .string('a path is needed')
  .min(1, 'a path is needed')
  .max(107, "a unix socket's path has at most 107 characters");

/** plugin_data of NodeAttestor "lacre_tpm" of spire-server. */
export const ServerHalfConfigSchema = z.strictObject({
  verifier_socket: socketPath.default('/run/lacre/verifier/verifier.sock'),
  verifier_user: z
    .string('a name or a number in quotes is needed')
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/, 'a name or a number in quotes is needed')
    .optional()
    .meta({ description: "The Lacre server's user, where that is neither root nor spire-server's." }),
  on_host_failure: z.enum(['none', 'evict', 'ban'], 'must be "none", "evict" or "ban"').default('evict'),
  spire_socket: socketPath.default('/tmp/spire-server/private/api.sock'),
});
