import { bytes, date, number, type Row, text } from './store-database.ts';
import type { EpochRow, SerialRow, WorkloadRow } from './store-evidence.ts';

/** Reads a row of the table of the same name. */
export function epochRow(row: Row): EpochRow {
  return {
    epoch: text(row['epoch']),
    akNameHex: text(row['ak_name']),
    resetCount: number(row['reset_count']),
    restartCount: number(row['restart_count']),
    clock: BigInt(text(row['clock'])),
    verifiedIndex: number(row['verified_index']),
    verifiedBytes: number(row['verified_bytes']),
    pcr10: bytes(row['pcr10']) ?? new Uint8Array(32),
    pcr13: bytes(row['pcr13']) ?? new Uint8Array(32),
    pcr14: bytes(row['pcr14']) ?? new Uint8Array(32),
    eventLogSha256Hex: text(row['event_log_sha256']),
    evidenceAt: new Date(number(row['evidence_at'])),
  };
}

/** Reads a row of the table of the same name. */
export function workloadRow(row: Row): WorkloadRow {
  return {
    ekSha256Hex: text(row['ek_sha256']),
    containerId: text(row['container_id']),
    containerName: text(row['container_name']),
    imageName: text(row['image_name']),
    manifestDigest: text(row['manifest_digest']),
    attribution: text(row['attribution']),
    running: number(row['running']) === 1,
    verdict: bytes(row['verdict_pb']) ?? new Uint8Array(),
    withdrawnAt: date(row['withdrawn_at']),
    updatedAt: new Date(number(row['updated_at'])),
  };
}

/** Reads a row of the table of the same name. */
export function serialRow(row: Row): SerialRow {
  return {
    serialHex: text(row['serial']),
    ekSha256Hex: text(row['ek_sha256']),
    containerId: text(row['container_id']),
    spiffeId: text(row['spiffe_id']),
    evidenceAt: new Date(number(row['evidence_at'])),
    expiresAt: new Date(number(row['expires_at'])),
    withdrawnAt: date(row['withdrawn_at']),
  };
}
