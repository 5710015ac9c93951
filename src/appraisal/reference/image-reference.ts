import { create } from '@bufbuild/protobuf';
import { LacreError } from '../../lacre-error.ts';
import { type ImageReference as ImageMessage, ImageReferenceSchema } from '../../proto/lacre/v1/admin_pb.ts';
import { FileTable, type ReferenceFile } from './file-table.ts';
import { listSpelling } from './reference-path.ts';

/** Reference values of one image: what an approver says a container of it may be. OCI image-spec, config.md. */
export interface ImageReference {
  /** "sha256:" and 64 hex digits */
  readonly manifestDigest: string;
  readonly configDigest: string;
  /** Names under which it was approved. */
  readonly names: readonly string[];
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  /** "" as "/". */
  readonly workingDir: string;
  /** As in the configuration, names replaced by numbers where the image's passwd and group have them: "1000:1000", "0:0". */
  readonly user: string;
  readonly labels: ReadonlyMap<string, string>;
  /** Regular file that the first word of entrypoint and command leads to; empty: the image has neither. */
  readonly entrypointPath: string;
  readonly files: FileTable;
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** As it travels, without its files. */
export function imageReferenceMessage(image: ImageReference): ImageMessage {
  return create(ImageReferenceSchema, {
    manifestDigest: image.manifestDigest,
    configDigest: image.configDigest,
    names: [...image.names],
    entrypoint: [...image.entrypoint],
    command: [...image.command],
    environment: [...image.environment].map(([name, value]) => `${name}=${value}`),
    workingDir: image.workingDir,
    user: image.user,
    labels: [...image.labels].map(([name, value]) => `${name}=${value}`),
    fileCount: BigInt(image.files.size),
    entrypointPath: image.entrypointPath,
  });
}

/**
 * From the wire or the store. Throws appraisal.image.malformed where a digest is none, the count of files is another,
 * or the entrypoint is no file of it; appraisal.files.malformed.
 */
export function imageReferenceOf(message: ImageMessage, files: FileTable | Iterable<ReferenceFile>): ImageReference {
  const table = files instanceof FileTable ? files : FileTable.of(files);
  const fail = (why: string) =>
    new LacreError('appraisal.image.malformed', `the reference values of an image are not usable: ${why}`);
  if (!DIGEST.test(message.manifestDigest) || !DIGEST.test(message.configDigest))
    throw fail('a digest is not sha256: and 64 hex digits');
  if (message.fileCount !== BigInt(table.size))
    throw fail(`${message.fileCount} files are announced, ${table.size} were given`);
  if (message.entrypointPath !== '' && table.get(message.entrypointPath) === undefined)
    throw fail('the entrypoint is none of its files');
  return {
    manifestDigest: message.manifestDigest,
    configDigest: message.configDigest,
    names: message.names,
    entrypoint: message.entrypoint,
    command: message.command,
    environment: pairs(message.environment),
    workingDir: message.workingDir,
    user: message.user,
    labels: pairs(message.labels),
    entrypointPath: listSpelling(message.entrypointPath),
    files: table,
  };
}

/** "name=value" texts as a map; the last of a name wins. */
export function pairs(texts: readonly string[]): Map<string, string> {
  return new Map(
    texts.map((text) => {
      const at = text.indexOf('=');
      return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}
