import { setTimeout as sleep } from 'node:timers/promises';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { type Health, HealthCheckResponse_ServingStatus } from '../proto/grpc/health/v1/health_pb.ts';
import type { ServerDeps } from './server-deps.ts';

const WATCH_INTERVAL_MS = 1000;
const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

/** True while the server can do its work: the database answers and an authority can sign. */
export function isServing(deps: Pick<ServerDeps, 'store' | 'keeper' | 'clock'>): boolean {
  try {
    return deps.store.healthy() && deps.keeper.current().notAfter > deps.clock.now();
  } catch {
    return false;
  }
}

/** grpc.health.v1.Health, for the server as a whole (the empty service name). */
export function healthService(deps: Pick<ServerDeps, 'store' | 'keeper' | 'clock'>): ServiceImpl<typeof Health> {
  const status = () => (isServing(deps) ? SERVING : NOT_SERVING);
  return {
    check: (request) => {
      if (request.service !== '') throw new ConnectError('unknown service', Code.NotFound);
      return { status: status() };
    },
    async *watch(request, context) {
      let told: number | undefined;
      while (!context.signal.aborted) {
        const now = request.service === '' ? status() : SERVICE_UNKNOWN;
        if (now !== told) yield { status: now };
        told = now;
        await sleep(WATCH_INTERVAL_MS, undefined, { signal: context.signal, ref: false }).catch(() => undefined);
      }
    },
  };
}
