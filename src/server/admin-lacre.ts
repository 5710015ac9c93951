import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from '@connectrpc/connect';
import { Admin } from '../proto/lacre/v1/admin_pb.ts';
import { addNode, deleteNode, getNode, listNodes } from './admin-lacre-nodes.ts';
import { approveHost, approveImage, deleteHost, deleteImage, listHosts, listImages } from './admin-lacre-references.ts';
import { listWorkloads, why } from './admin-lacre-workloads.ts';
import { Watcher } from './events.ts';
import { LIMITS } from './limits.ts';
import type { ServerDeps } from './server-deps.ts';
import { statusOf } from './session-status.ts';

/** lacre.v1.Admin: inventory, reference values, workloads, events. Whoever reaches the admin socket may call all of it. */
export function adminLacreRoutes(deps: ServerDeps): (router: ConnectRouter) => void {
  return (router) => router.service(Admin, adminService(deps));
}

function adminService(deps: ServerDeps): ServiceImpl<typeof Admin> {
  const watchers = { open: 0 };
  return {
    addNode: (request) => answered(() => addNode(deps, request)),
    listNodes: () => answered(() => listNodes(deps)),
    getNode: (request) => answered(() => getNode(deps, request.node)),
    deleteNode: (request) => answered(() => deleteNode(deps, request.node)),
    approveImage: (requests) => answered(() => approveImage(deps, requests)),
    listImages: () => answered(() => listImages(deps)),
    deleteImage: (request) => answered(() => deleteImage(deps, request.manifestDigest)),
    approveHost: (requests) => answered(() => approveHost(deps, requests)),
    listHosts: () => answered(() => listHosts(deps)),
    deleteHost: (request) => answered(() => deleteHost(deps, request.name)),
    listWorkloads: (request) => answered(() => listWorkloads(deps, request.node)),
    why: (request) => answered(() => why(deps, request.subject)),
    watch: (_request, context) => watch(deps, watchers, context.signal),
  };
}

/** The events from now on. A reader that is too slow is dropped, and told so. */
async function* watch(deps: ServerDeps, watchers: { open: number }, signal: AbortSignal) {
  if (watchers.open >= LIMITS.watchers) {
    throw new ConnectError(`${LIMITS.watchers} watchers are connected: the bound`, Code.ResourceExhausted);
  }
  watchers.open += 1;
  try {
    const watcher = new Watcher(deps.events, signal);
    yield* watcher;
    if (watcher.overrun) throw new ConnectError('events came faster than they were read', Code.ResourceExhausted);
  } finally {
    watchers.open -= 1;
  }
}

async function answered<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw statusOf(error);
  }
}
