import type { ConnectRouter } from '@connectrpc/connect';
import { Health } from '../proto/grpc/health/v1/health_pb.ts';
import { Agent } from '../proto/spire/api/server/agent/v1/agent_pb.ts';
import { Bundle } from '../proto/spire/api/server/bundle/v1/bundle_pb.ts';
import { Entry } from '../proto/spire/api/server/entry/v1/entry_pb.ts';
import { agentService } from './admin-spire-agent.ts';
import { bundleService } from './admin-spire-bundle.ts';
import { entryService } from './admin-spire-entry.ts';
import { healthService } from './health.ts';
import type { ServerDeps } from './server-deps.ts';

/** SPIRE's server API, as far as Lacre serves it, and gRPC health: what an unmodified `spire-server` client speaks. */
export function adminSpireRoutes(deps: ServerDeps): (router: ConnectRouter) => void {
  return (router) => {
    router.service(Entry, entryService(deps));
    router.service(Agent, agentService(deps));
    router.service(Bundle, bundleService(deps));
    router.service(Health, healthService(deps));
  };
}
