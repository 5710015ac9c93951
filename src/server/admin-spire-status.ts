import type { Code } from '@connectrpc/connect';
import { isLacreError, type LacreError } from '../lacre-error.ts';
import { statusOf } from './session-status.ts';

/** spire.api.types.Status of one item of a batch; codes are gRPC's. */
export interface ItemStatus {
  readonly code: number;
  readonly message: string;
}

export const ITEM_OK: ItemStatus = { code: 0, message: 'OK' };

export function itemStatus(code: Code, message: string): ItemStatus {
  return { code, message };
}

/** Status of an item that failed; what is no LacreError is thrown on, and fails the whole call. */
export function itemFault(doing: string, error: unknown): ItemStatus {
  if (!isLacreError(error)) throw error;
  return { code: grpcCode(error), message: `${doing}: ${error.message}` };
}

function grpcCode(error: LacreError): Code {
  return statusOf(error).code;
}

/** Runs a handler; a LacreError becomes the caller's status, with `doing` before its sentence where that is given. */
export async function answered<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw statusOf(error);
  }
}
