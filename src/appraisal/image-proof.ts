import type { ContainerEvidence } from './container-evidence.ts';
import type { ImageReference } from './reference/image-reference.ts';
import { EXECUTED_PCR, READ_PCR } from './sighting.ts';

/** Files of a domain that are looked at before its image counts as claimed: those that set an image apart may come late. */
const MAX_LOOKED_AT = 1024;

/**
 * Programs that run what they are given: that one of them ran says little of the image. By the last part of their path, a
 * version after it aside.
 */
const INTERPRETER =
  /^(sh|ash|bash|dash|ksh|zsh|busybox|toybox|env|awk|gawk|mawk|perl|python|pypy|ruby|node|nodejs|deno|bun|php|php-cgi|php-fpm|java|lua|luajit|tclsh|guile|Rscript|R|erl|beam\.smp|dotnet|mono|wasmtime|tini|dumb-init|catatonit|ld-linux.*|ld-musl.*)[-.\d]*$/;

/**
 * Whether the list itself shows that this image ran in the container's range (DESIGN section 6): a file that no other
 * approved image has was executed there, or under coverage of reads was read there. Else the image is what the node
 * claims, though nothing contradicts it. Needs exact attribution and a range that nobody had before: what an earlier
 * container left in the list says nothing of this one. In a pod it says that one of its containers is of this image.
 */
export function isImageProven(
  { evidence, image }: { readonly evidence: ContainerEvidence; readonly image: ImageReference },
  { exact, reads }: { readonly exact: boolean; readonly reads: boolean },
): boolean {
  const { standing, epoch, domain, isDistinctive } = evidence;
  if (!exact || standing.rangeUse !== 'fresh') return false;
  const startsInterpreter = INTERPRETER.test(image.entrypointPath.slice(image.entrypointPath.lastIndexOf('/') + 1));
  return epoch
    .domain(domain.id)
    .sightings.list.slice(0, MAX_LOOKED_AT)
    .some(({ pcr, path, hex, digestState }) => {
      const counts = pcr === EXECUTED_PCR ? !startsInterpreter : reads && pcr === READ_PCR;
      return counts && digestState === 'usable' && isDistinctive(image, path, hex);
    });
}
