import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { equalBytes } from '../bytes/equal.ts';
import { sha256 } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { type Container, ContainerSchema, type Record, RecordSchema } from '../proto/lacre/v1/record_pb.ts';
import { checkContainer, checkRecord } from './record-check.ts';
import { rangeOf, type UidRange } from './uid-map.ts';

/** Bytes that one canonical Container or Record may have. */
export const MAX_CONTAINER_BYTES = 256 * 1024;
export const MAX_RECORD_BYTES = 64 * 1024;

/** What a node says of one container, and nothing else. Nothing of it is proven. */
export interface ClaimedContainer {
  readonly claim: Container;
  /** SHA-256 of the canonical bytes: what a Record names. */
  readonly sha256: Uint8Array;
  /** The host's uids of its user namespace; undefined: it has no namespace of its own, or not exactly one extent. */
  readonly range: UidRange | undefined;
}

/** What a node says of a calling process. Nothing of it is proven. */
export interface ClaimedRecord {
  readonly claim: Record;
  /** SHA-256 of the canonical bytes: goes into the workload leaf (DESIGN section 8). */
  readonly sha256: Uint8Array;
}

/**
 * Reads a Container: bounded, every field well-formed, lists in their order, and encoding it anew gives the very same
 * bytes, so that one container state has one hash. All of it stays a claim of the node.
 * Throws container.oversized, container.malformed, container.not-canonical.
 */
export function decodeContainer(bytes: Uint8Array): ClaimedContainer {
  const claim = decode(ContainerSchema, bytes, MAX_CONTAINER_BYTES);
  checkContainer(claim);
  return { claim, sha256: sha256(bytes), range: rangeOf(claim.uidMap) };
}

/** Reads a Record under the same rules. Throws container.oversized, container.malformed, container.not-canonical. */
export function decodeRecord(bytes: Uint8Array): ClaimedRecord {
  const claim = decode(RecordSchema, bytes, MAX_RECORD_BYTES);
  checkRecord(claim);
  return { claim, sha256: sha256(bytes) };
}

/**
 * The canonical bytes of a Container that decodeContainer accepts.
 * Throws container.oversized, container.malformed (a field that no server would take).
 */
export function encodeContainer(container: Container): Uint8Array {
  checkContainer(container);
  return encode(ContainerSchema, container, MAX_CONTAINER_BYTES);
}

/** The canonical bytes of a Record. Throws container.oversized, container.malformed. */
export function encodeRecord(record: Record): Uint8Array {
  checkRecord(record);
  return encode(RecordSchema, record, MAX_RECORD_BYTES);
}

function encode<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>, maxBytes: number): Uint8Array {
  const bytes = toBinary(schema, message, { writeUnknownFields: false });
  if (bytes.length > maxBytes) throw oversized(schema, bytes.length, maxBytes);
  return bytes;
}

function decode<Desc extends DescMessage>(schema: Desc, bytes: Uint8Array, maxBytes: number): MessageShape<Desc> {
  if (bytes.length > maxBytes) throw oversized(schema, bytes.length, maxBytes);
  let message: MessageShape<Desc>;
  try {
    message = fromBinary(schema, bytes);
  } catch (cause) {
    throw new LacreError('container.malformed', `a ${schema.name} is not protobuf`, { bytes: bytes.length }, { cause });
  }
  if (!equalBytes(bytes, toBinary(schema, message, { writeUnknownFields: false }))) {
    throw new LacreError(
      'container.not-canonical',
      `a ${schema.name} is not encoded in the one canonical way: fields in order, no defaults, nothing unknown`,
      { bytes: bytes.length },
    );
  }
  return message;
}

function oversized(schema: DescMessage, length: number, maxBytes: number): LacreError {
  return new LacreError('container.oversized', `a ${schema.name} of ${length} bytes is over ${maxBytes}`, {
    length,
    maxBytes,
  });
}

/** A Container with these fields, the others empty. */
export function makeContainer(fields: Omit<Partial<Container>, '$typeName' | '$unknown'>): Container {
  return create(ContainerSchema, { version: 1, ...fields });
}

/** A Record with these fields, the others empty. */
export function makeRecord(fields: Omit<Partial<Record>, '$typeName' | '$unknown'>): Record {
  return create(RecordSchema, { version: 1, ...fields });
}

/**
 * By what the reference values of a container's image are looked up: the manifest's digest, or where its engine tells none
 * (Docker, containerd and CRI-O know of many images only an index) that of the configuration, which names every layer.
 * Empty: by nothing.
 */
export function imageKeyOf({
  manifestDigest,
  configDigest,
}: Pick<Container, 'manifestDigest' | 'configDigest'>): string {
  return manifestDigest || configDigest;
}
