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
  // container
  // appraisal
  // identity
  // issuance
  // server
  // agent
  // cli
  // lab
} as const satisfies Record<string, CodeFacts>;

export type ErrorCode = keyof typeof ERROR_CODES;
