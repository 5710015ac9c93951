import { execFile } from 'node:child_process';
import { request } from 'node:http';

/** Where a container is stopped: podman's socket if one is configured, else its command. */
export interface StopPlace {
  readonly socket: string | undefined;
  /** Path of the podman command. */
  readonly podman: string;
  /** After this the engine hangs. */
  readonly timeoutMs?: number;
}

const ID = /^[0-9a-f]{64}$/;
/** Between SIGTERM and SIGKILL: what runs there is not trusted. */
const GRACE_SECONDS = 1;
const TIMEOUT_MS = 20_000;

/**
 * Stops a container through its engine, which keeps it: its uid range isn't handed out again. Rejects with a reason; a
 * container that has stopped already is stopped.
 */
export function stopContainer(place: StopPlace, containerId: string): Promise<void> {
  const { socket, podman, timeoutMs = TIMEOUT_MS } = place;
  if (!ID.test(containerId)) return Promise.reject(new Error(`${containerId} is no container's id`));
  return socket === undefined
    ? stopByCommand(podman, containerId, timeoutMs)
    : stopBySocket(socket, containerId, timeoutMs);
}

function stopByCommand(podman: string, containerId: string, timeoutMs: number): Promise<void> {
  const args = ['stop', '--time', String(GRACE_SECONDS), containerId];
  return new Promise((resolve, reject) => {
    execFile(podman, args, { timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 }, (error, _out, said) => {
      if (error === null) resolve();
      else reject(new Error(`podman stop failed: ${said.trim().slice(0, 500) || error.message}`));
    });
  });
}

function stopBySocket(socketPath: string, containerId: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const path = `/v4.0.0/libpod/containers/${containerId}/stop?timeout=${GRACE_SECONDS}`;
    const stop = request({ socketPath, path, method: 'POST', headers: { host: 'podman' }, signal }, (response) => {
      response.resume();
      response.on('end', () => {
        // 304: it had stopped already.
        if (response.statusCode === 204 || response.statusCode === 304) resolve();
        else reject(new Error(`podman answers ${response.statusCode} to the stop of a container`));
      });
      response.on('error', reject);
    });
    stop.on('error', (error) => reject(signal.aborted ? new Error(`podman gave no answer in ${timeoutMs} ms`) : error));
    stop.end();
  });
}
