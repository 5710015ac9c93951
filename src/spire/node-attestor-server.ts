import { Code, ConnectError, type ConnectRouter, type HandlerContext } from '@connectrpc/connect';
import type { Logger } from 'pino';
import type { Native } from '../agent/native.ts';
import { LacreError } from '../lacre-error.ts';
import {
  type AttestRequest,
  type AttestResponse,
  NodeAttestor as Service,
} from '../proto/spire/plugin/server/nodeattestor/v1/nodeattestor_pb.ts';
import { UnixClient } from '../unix-client.ts';
import { HostWatch } from './host-watch.ts';
import { ServerHalfConfigSchema } from './node-config.ts';
import { relay } from './node-relay.ts';
import { checkPluginConfig, readPluginConfig } from './plugin-config.ts';
import type { Plugin } from './plugin-runtime.ts';
import { statusOf, statusOfCall } from './plugin-status.ts';
import { peerCheck, uidOf } from './trusted-peer.ts';

interface Running {
  readonly trustDomain: string;
  readonly verifier: UnixClient;
  readonly watch: HostWatch | undefined;
}

/**
 * NodeAttestor "lacre_tpm", server half. It judges nothing itself: a Lacre server's verifier does, with its inventory,
 * endorsement roots and reference values; the plugin carries the steps there, and its answer to SPIRE.
 */
export function createServerHalf({ native, log }: { readonly native: Native; readonly log: Logger }): Plugin {
  let running: Running | undefined;
  const stop = async (): Promise<void> => {
    const former = running;
    running = undefined;
    await former?.watch?.stop();
    former?.verifier[Symbol.dispose]();
  };
  async function* attest(
    requests: AsyncIterable<AttestRequest>,
    { signal }: HandlerContext,
  ): AsyncGenerator<AttestResponse> {
    try {
      if (running === undefined) throw new LacreError('spire.plugin.unconfigured', 'the plugin has no configuration');
      yield* relay(running, requests[Symbol.asyncIterator](), signal);
    } catch (error) {
      const status = error instanceof ConnectError ? statusOfCall(error) : statusOf(error, log);
      log.warn({ status: Code[status.code] ?? '' }, `a node was not attested: ${status.rawMessage}`);
      throw status;
    }
  }
  return {
    type: 'NodeAttestor',
    service: Service,
    routes: (router: ConnectRouter) => router.service(Service, { attest }),
    configure: async (trustDomain, text) => {
      const file = readPluginConfig({ schema: ServerHalfConfigSchema, text });
      const { verifier_socket: path, spire_socket: spire, on_host_failure: action } = file;
      const user = file.verifier_user;
      const verifierUids = user === undefined ? [] : [uidOf('verifier_user', user)];
      const check = peerCheck(native, path, verifierUids, "verifier_user names the Lacre server's user");
      await stop();
      // SPIRE started this process, so its user is ours.
      const own = peerCheck(native, spire, [], "it should be spire-server's, which runs as this user");
      const open = () => ({ verifier: new UnixClient(path, check), spire: new UnixClient(spire, own) });
      const watch = action === 'none' ? undefined : new HostWatch({ ...open(), action, trustDomain, log });
      running = { trustDomain, verifier: new UnixClient(path, check), watch };
      watch?.start();
    },
    validate: async (_trustDomain, text) => checkPluginConfig({ schema: ServerHalfConfigSchema, text }).faults,
    stop,
  };
}
