import { PodmanFiles } from './podman-files.ts';
import { PodmanRest } from './podman-rest.ts';
import type { ContainerSource, PodmanPlace } from './podman-source.ts';

/** podman, run by root, by its REST socket if one is given, else by its files. */
export function openPodman(place: PodmanPlace): ContainerSource {
  return place.socket === undefined ? new PodmanFiles(place) : new PodmanRest({ ...place, socket: place.socket });
}
