import { ERROR_CODES, type ErrorCode, type GrpcStatus } from './error-code.ts';

/** Facts of an error for logs and for people: never keys, tokens or raw evidence. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | bigint>>;

/**
 * The one error class. Thrown for input that is malformed or cannot be proven, and for faults of the environment; a
 * failed appraisal is a value (Verdict), not an error.
 */
export class LacreError extends Error {
  override readonly name = 'LacreError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  /** @param sentence what is wrong, where, and what to do, in one sentence for a person. */
  constructor(code: ErrorCode, sentence: string, details: ErrorDetails = {}, options?: { cause?: unknown }) {
    super(sentence, options);
    this.code = code;
    this.details = details;
  }

  get link(): string {
    return this.code.slice(0, this.code.indexOf('.'));
  }

  get grpcStatus(): GrpcStatus {
    return ERROR_CODES[this.code].grpc;
  }

  get exitCode(): number {
    return ERROR_CODES[this.code].exit;
  }
}

/** True for a LacreError with one of these codes, or any LacreError where none is given. */
export function isLacreError(error: unknown, ...codes: ErrorCode[]): error is LacreError {
  return error instanceof LacreError && (codes.length === 0 || codes.includes(error.code));
}
