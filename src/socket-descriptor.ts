import type { Socket } from 'node:net';

/** A libuv handle shows its descriptor. */
interface HandledSocket extends Socket {
  readonly _handle: { readonly fd: number } | null;
}

/** A socket's descriptor, which stays the socket's; -1 once it is closed. */
export function descriptorOf(socket: Socket): number {
  return (socket as HandledSocket)._handle?.fd ?? -1;
}
