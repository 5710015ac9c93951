import { create } from '@bufbuild/protobuf';
import { hostReferenceOf } from '../appraisal/reference/host-reference.ts';
import { imageReferenceOf } from '../appraisal/reference/image-reference.ts';
import { LacreError } from '../lacre-error.ts';
import {
  type ApproveHostRequest,
  type ApproveImageRequest,
  type HostInfo,
  HostInfoSchema,
  type ImageInfo,
  ImageInfoSchema,
  type ReferenceFile,
} from '../proto/lacre/v1/admin_pb.ts';
import { tell } from './events.ts';
import { LIMITS } from './limits.ts';
import type { ServerDeps } from './server-deps.ts';

/**
 * Approves an image: its description first, then its files in parts. What is stored was read back as appraisal will
 * read it. Codes: server.reference.invalid, server.limit, appraisal.*.
 */
export async function approveImage(deps: ServerDeps, requests: AsyncIterable<ApproveImageRequest>): Promise<ImageInfo> {
  const { first, files } = await readParts(requests, 'image');
  if (first.case !== 'image') throw headless('image');
  const reference = first.value;
  imageReferenceOf(reference, files);
  const now = deps.clock.now();
  deps.store.images.put(reference, files, now);
  deps.events.emit('referencesChanged', { image: reference.manifestDigest });
  tell(deps, { kind: 'node', sentence: `image ${reference.names[0] ?? ''} ${reference.manifestDigest} is approved` });
  return create(ImageInfoSchema, { image: reference, approvedAtUnixMs: BigInt(now.getTime()) });
}

export function listImages(deps: ServerDeps): { images: ImageInfo[] } {
  const images = deps.store.images
    .list()
    .map(({ reference, approvedAt }) =>
      create(ImageInfoSchema, { image: reference, approvedAtUnixMs: BigInt(approvedAt.getTime()) }),
    );
  return { images };
}

/** Codes: server.subject.missing. */
export function deleteImage(deps: ServerDeps, manifestDigest: string): Record<never, never> {
  if (!deps.store.images.remove(manifestDigest)) throw missing(`image ${manifestDigest.slice(0, 128)}`);
  deps.events.emit('referencesChanged', { image: manifestDigest });
  tell(deps, { kind: 'node', sentence: `image ${manifestDigest} is no longer approved` });
  return {};
}

/** As approveImage, for the reference values of a host. */
export async function approveHost(deps: ServerDeps, requests: AsyncIterable<ApproveHostRequest>): Promise<HostInfo> {
  const { first, files } = await readParts(requests, 'host');
  if (first.case !== 'host') throw headless('host');
  const reference = first.value;
  reference.fileCount = BigInt(files.length);
  hostReferenceOf(reference, files);
  const now = deps.clock.now();
  deps.store.hosts.put(reference, files, now);
  deps.events.emit('referencesChanged', { host: reference.name });
  tell(deps, { kind: 'node', sentence: `host reference values ${reference.name} are approved` });
  return create(HostInfoSchema, { host: reference, approvedAtUnixMs: BigInt(now.getTime()) });
}

export function listHosts(deps: ServerDeps): { hosts: HostInfo[] } {
  const hosts = deps.store.hosts
    .list()
    .map(({ reference, approvedAt }) =>
      create(HostInfoSchema, { host: reference, approvedAtUnixMs: BigInt(approvedAt.getTime()) }),
    );
  return { hosts };
}

/** Codes: server.subject.missing. */
export function deleteHost(deps: ServerDeps, name: string): Record<never, never> {
  if (!deps.store.hosts.remove(name)) throw missing(`host ${name.slice(0, 128)}`);
  deps.events.emit('referencesChanged', { host: name });
  tell(deps, { kind: 'node', sentence: `host reference values ${name} are no longer approved` });
  return {};
}

type Part = ApproveImageRequest['part'] | ApproveHostRequest['part'];

async function readParts(
  requests: AsyncIterable<{ readonly part: Part }>,
  what: string,
): Promise<{ readonly first: Part; readonly files: ReferenceFile[] }> {
  let first: Part | undefined;
  const files: ReferenceFile[] = [];
  for await (const { part } of requests) {
    if (first === undefined) {
      first = part;
      continue;
    }
    if (part.case !== 'files') throw headless(what);
    const { files: more } = part.value;
    if (more.length > LIMITS.referenceFilesPerMessage || files.length + more.length > LIMITS.referenceFiles) {
      throw new LacreError('server.limit', `${what} has more files than can be approved, or too many in one message`);
    }
    for (const file of more) files.push(file);
  }
  if (first === undefined) throw headless(what);
  return { first, files };
}

function headless(what: string): LacreError {
  return new LacreError('server.reference.invalid', `first comes the ${what}, then its files`);
}

function missing(what: string): LacreError {
  return new LacreError('server.subject.missing', `there are no reference values of ${what}`);
}
