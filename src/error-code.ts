/**
 * Every error code, and what becomes of it: gRPC status, exit status, and what it means. The only place where an
 * error turns into something a user sees. docs/errors.md is generated from this table; a test holds both together.
 */
export type GrpcStatus =
  | 'INVALID_ARGUMENT'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'UNAUTHENTICATED'
  | 'DEADLINE_EXCEEDED';

interface CodeFacts {
  readonly grpc: GrpcStatus;
  /** Exit status of a command that ends with this error (docs/cli.md): 1 fault, 2 usage, 3 refused, 4 not found, 5 unavailable. */
  readonly exit: 1 | 2 | 3 | 4 | 5;
  readonly meaning: string;
}

const invalid = (meaning: string): CodeFacts => ({ grpc: 'INVALID_ARGUMENT', exit: 2, meaning });
const refused = (meaning: string): CodeFacts => ({ grpc: 'PERMISSION_DENIED', exit: 3, meaning });
const missing = (meaning: string): CodeFacts => ({ grpc: 'NOT_FOUND', exit: 4, meaning });
const unavailable = (meaning: string): CodeFacts => ({ grpc: 'UNAVAILABLE', exit: 5, meaning });
const exhausted = (meaning: string): CodeFacts => ({ grpc: 'RESOURCE_EXHAUSTED', exit: 1, meaning });
const fault = (meaning: string): CodeFacts => ({ grpc: 'INTERNAL', exit: 1, meaning });

export const ERROR_CODES = {
  // bytes
  'bytes.truncated': invalid('a structure ends before its length says'),
  'bytes.trailing': invalid('bytes are left after a structure'),
  'bytes.oversized': invalid('a length or count is over its bound'),
  'bytes.hex': invalid('text is not hexadecimal'),
  // tpm
  // boot
  // ima
  'ima.policy.pool': invalid('the uid pool of an IMA policy lies where users of the host may be'),
  // container
  // appraisal
  // identity
  // issuance
  // server
  'server.store.busy': unavailable('another process holds the database'),
  'server.store.full': unavailable('the disk of the database is full; nothing was written or issued'),
  'server.store.corrupt': fault('the database is damaged or not ours'),
  'server.store.newer': fault('the database was written by a newer Lacre'),
  'server.store.failed': fault('the database failed'),
  'server.store.fenced': { grpc: 'ABORTED', exit: 1, meaning: 'a newer session of the node wrote first, so this one may write no more' },
  'server.node.exists': { grpc: 'ALREADY_EXISTS', exit: 3, meaning: 'a node with this EK or name is in the inventory' },
  'server.node.missing': missing('no such node in the inventory'),
  'server.nonce.unknown': refused('a nonce that was not given out on this connection, was used, or has expired'),
  'server.protocol': invalid('a message that the node protocol does not allow at this point, or with these values'),
  'server.limit': exhausted('a bound of the node protocol or the admin API was passed'),
  // agent
  // cli
  'cli.usage': invalid('a command is called with options that do not fit together'),
  'cli.file.missing': missing('a file that a command names does not exist'),
  'cli.file.invalid': invalid('a file that a command names does not hold what it should'),
  'cli.image.invalid': invalid('a file or folder is no OCI image, or a blob of it is not what its digest says'),
  'cli.image.ambiguous': invalid('an archive holds several images, or none that fits'),
  'cli.server.unreachable': unavailable('no lacre server answers at the admin socket'),
  'cli.server.missing': missing('the server knows nothing of what was asked for'),
  'cli.server.invalid': invalid('the server says that a request is not well-formed'),
  'cli.server.refused': refused('the server refuses a request'),
  'cli.server.failed': fault('the server could not do what was asked'),
  'cli.workload.refused': refused('the Workload API gives the caller no identity'),
  'cli.workload.unreachable': unavailable('no Workload API answers at the socket'),
  'cli.prepare.incomplete': refused('a node lacks something that its grade asks for'),
  // lab
} as const satisfies Record<string, CodeFacts>;

export type ErrorCode = keyof typeof ERROR_CODES;
