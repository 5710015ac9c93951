import { LacreError } from '../lacre-error.ts';
import { bytes, type Database, number, text } from './store-database.ts';
import { epochRow, serialRow, workloadRow } from './store-evidence-row.ts';
import type { NodeState } from './store-nodes.ts';

/** What is kept of a node's epoch (DESIGN section 8): the point up to which a quote has explained its list. */
export interface EpochRow {
  /** Drawn by the server at a whole-list replay. */
  readonly epoch: string;
  readonly akNameHex: string;
  readonly resetCount: number;
  readonly restartCount: number;
  /** TPMS_CLOCK_INFO.clock, milliseconds. */
  readonly clock: bigint;
  /** Entries of the list that a quote has explained, and their bytes. */
  readonly verifiedIndex: number;
  readonly verifiedBytes: number;
  /** Running SHA-256 PCRs at the verified index, 32 bytes each. */
  readonly pcr10: Uint8Array;
  readonly pcr13: Uint8Array;
  readonly pcr14: Uint8Array;
  readonly eventLogSha256Hex: string;
  /** When the nonce of the newest quote was made. */
  readonly evidenceAt: Date;
}

/** A bad entry of a domain; it stays for the epoch (DESIGN section 5). */
export interface TaintRow {
  /** Domain id, "host", "shared" or "unattributed". */
  readonly domain: string;
  /** Entry of the list; -1: not from the list. */
  readonly logIndex: number;
  /** lacre.v1.Finding, encoded. */
  readonly finding: Uint8Array;
}

/** Last verdict over one container. */
export interface WorkloadRow {
  readonly ekSha256Hex: string;
  readonly containerId: string;
  readonly containerName: string;
  readonly imageName: string;
  readonly manifestDigest: string;
  readonly attribution: string;
  readonly running: boolean;
  /** lacre.v1.Verdict, encoded. */
  readonly verdict: Uint8Array;
  readonly withdrawnAt: Date | undefined;
  readonly updatedAt: Date;
}

/** One issued X.509-SVID. An agent's own has an empty container id. */
export interface SerialRow {
  readonly serialHex: string;
  readonly ekSha256Hex: string;
  readonly containerId: string;
  readonly spiffeId: string;
  readonly evidenceAt: Date;
  readonly expiresAt: Date;
  readonly withdrawnAt: Date | undefined;
}

/** Everything that one piece of evidence changes: all of it is written, or none. */
export interface EvidenceCommit {
  readonly ekSha256Hex: string;
  /** From NodeStore.nextFence, at the start of the session. */
  readonly fence: number;
  /** Epoch and verified index that this commit builds on; undefined: there was no epoch row, or it is replaced. */
  readonly expected: { readonly epoch: string; readonly verifiedIndex: number } | undefined;
  /** State after this evidence. Another `epoch` than expected begins a new one: workloads and taints of the old go. */
  readonly epoch: EpochRow;
  readonly node: {
    readonly state: NodeState;
    readonly hostVerdict: Uint8Array;
    readonly kernel?: string;
    readonly agentVersion?: string;
  };
  readonly taints: readonly TaintRow[];
  /** What must be remembered of the epoch's domains (BookMemory of src/container, JSON); undefined: as it was. */
  readonly book?: string | undefined;
  readonly workloads: readonly Omit<WorkloadRow, 'ekSha256Hex' | 'updatedAt'>[];
  readonly issued: readonly Omit<SerialRow, 'ekSha256Hex' | 'withdrawnAt'>[];
  /** Containers whose unexpired serials are withdrawn by this evidence. */
  readonly withdrawnContainers: readonly string[];
  /** Bodies of new ledger leaves, in order. */
  readonly ledger: readonly Uint8Array[];
  readonly now: Date;
}

/** Epochs, taints, workloads, serials and ledger. */
export class EvidenceStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Writes what one piece of evidence changed, as one transaction. On return it is on disk, and what it allows may
   * leave the server; where it throws nothing was written and nothing may be issued.
   * Codes: server.store.fenced (older fence, or the epoch moved on), server.node.missing, server.store.*.
   */
  commitEvidence(commit: EvidenceCommit): void {
    this.#db.transaction(() => {
      this.#compare(commit);
      this.#writeEpoch(commit);
      for (const taint of commit.taints) this.#writeTaint(commit, taint);
      if (commit.book !== undefined) this.#writeBook(commit, commit.book);
      for (const workload of commit.workloads)
        this.putWorkload({ ...workload, ekSha256Hex: commit.ekSha256Hex, updatedAt: commit.now });
      for (const serial of commit.issued) this.#writeSerial({ ...serial, ekSha256Hex: commit.ekSha256Hex });
      for (const container of commit.withdrawnContainers) this.withdraw(commit.ekSha256Hex, container, commit.now);
      for (const body of commit.ledger) this.#db.run('INSERT INTO ledger (body) VALUES (?)', body);
    });
  }

  /** Writes serials that were issued on evidence committed before (reused evidence), if the fence is still the newest. */
  commitIssued(commit: Pick<EvidenceCommit, 'ekSha256Hex' | 'fence' | 'issued' | 'ledger'>): void {
    this.#db.transaction(() => {
      this.requireFence(commit);
      for (const serial of commit.issued) this.#writeSerial({ ...serial, ekSha256Hex: commit.ekSha256Hex });
      for (const body of commit.ledger) this.#db.run('INSERT INTO ledger (body) VALUES (?)', body);
    });
  }

  /** Keeps a bad entry, and what else is held against containers: it can only lower trust, so no index is compared. */
  commitTaints(commit: {
    readonly ekSha256Hex: string;
    readonly fence: number;
    readonly epoch: string;
    readonly taints: readonly TaintRow[];
    readonly book?: string | undefined;
  }): void {
    const { ekSha256Hex, epoch, book } = commit;
    this.#db.transaction(() => {
      this.requireFence(commit);
      for (const taint of commit.taints) this.#writeTaint({ ekSha256Hex, epoch: { epoch } }, taint);
      if (book !== undefined) this.#writeBook({ ekSha256Hex, epoch: { epoch } }, book);
    });
  }

  epoch(ekSha256Hex: string): EpochRow | undefined {
    const found = this.#db.get('SELECT * FROM epochs WHERE ek_sha256 = ?', ekSha256Hex);
    return found === undefined ? undefined : epochRow(found);
  }

  /** Memory of the epoch's domains, JSON; undefined where none was written in this epoch. */
  book(ekSha256Hex: string, epoch: string): string | undefined {
    const found = this.#db.get('SELECT memory FROM books WHERE ek_sha256 = ? AND epoch = ?', ekSha256Hex, epoch);
    return found === undefined ? undefined : text(found['memory']);
  }

  taints(ekSha256Hex: string, epoch: string): TaintRow[] {
    const sql = 'SELECT * FROM taints WHERE ek_sha256 = ? AND epoch = ? ORDER BY domain, log_index';
    return this.#db.all(sql, ekSha256Hex, epoch).map((row) => ({
      domain: text(row['domain']),
      logIndex: number(row['log_index']),
      finding: bytes(row['finding_pb']) ?? new Uint8Array(),
    }));
  }

  putWorkload(workload: WorkloadRow): void {
    this.#db.run(
      'INSERT OR REPLACE INTO workloads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      workload.ekSha256Hex,
      workload.containerId,
      workload.containerName,
      workload.imageName,
      workload.manifestDigest,
      workload.attribution,
      Number(workload.running),
      workload.verdict,
      workload.withdrawnAt?.getTime() ?? null,
      workload.updatedAt.getTime(),
    );
  }

  /** Of one node, or of all. */
  workloads(ekSha256Hex?: string): WorkloadRow[] {
    const rows =
      ekSha256Hex === undefined
        ? this.#db.all('SELECT * FROM workloads ORDER BY ek_sha256, container_name, container_id')
        : this.#db.all(
            'SELECT * FROM workloads WHERE ek_sha256 = ? ORDER BY container_name, container_id',
            ekSha256Hex,
          );
    return rows.map(workloadRow);
  }

  /** Marks containers as gone. */
  stopped(ekSha256Hex: string, containerIds: readonly string[], now: Date): void {
    this.#db.transaction(() => {
      const sql = 'UPDATE workloads SET running = 0, updated_at = ? WHERE ek_sha256 = ? AND container_id = ?';
      for (const id of containerIds) this.#db.run(sql, now.getTime(), ekSha256Hex, id);
    });
  }

  /** Withdraws every serial of a container that is valid yet, and says which. The workload is marked too. */
  withdraw(ekSha256Hex: string, containerId: string, now: Date): SerialRow[] {
    return this.#db.transaction(() => {
      const time = now.getTime();
      this.#db.run(
        'UPDATE workloads SET withdrawn_at = ? WHERE ek_sha256 = ? AND container_id = ?',
        time,
        ekSha256Hex,
        containerId,
      );
      const sql = `UPDATE serials SET withdrawn_at = ? WHERE ek_sha256 = ? AND container_id = ?
        AND withdrawn_at IS NULL AND expires_at > ? RETURNING *`;
      return this.#db.all(sql, time, ekSha256Hex, containerId, time).map(serialRow);
    });
  }

  /** Withdraws these serials alone, where they are valid yet. */
  withdrawSerials(serialsHex: readonly string[], now: Date): void {
    this.#db.transaction(() => {
      const sql = 'UPDATE serials SET withdrawn_at = ? WHERE serial = ? AND withdrawn_at IS NULL AND expires_at > ?';
      for (const serialHex of serialsHex) this.#db.run(sql, now.getTime(), serialHex, now.getTime());
    });
  }

  /** Keeps the serial of an agent's own SVID, which belongs to no session. */
  putAgentSerial(serial: Omit<SerialRow, 'withdrawnAt' | 'containerId'>): void {
    this.#writeSerial({ ...serial, containerId: '' });
  }

  /** As `withdraw`, for every container of a node and, where `agent` is true, for the agent's own SVIDs. */
  withdrawNode(ekSha256Hex: string, now: Date, agent: boolean): SerialRow[] {
    return this.#db.transaction(() => {
      const time = now.getTime();
      this.#db.run(
        'UPDATE workloads SET withdrawn_at = ? WHERE ek_sha256 = ? AND withdrawn_at IS NULL',
        time,
        ekSha256Hex,
      );
      const sql = `UPDATE serials SET withdrawn_at = ? WHERE ek_sha256 = ? AND (container_id <> '' OR ? = 1)
        AND withdrawn_at IS NULL AND expires_at > ? RETURNING *`;
      return this.#db.all(sql, time, ekSha256Hex, Number(agent), time).map(serialRow);
    });
  }

  serial(serialHex: string): SerialRow | undefined {
    const found = this.#db.get('SELECT * FROM serials WHERE serial = ?', serialHex);
    return found === undefined ? undefined : serialRow(found);
  }

  /** Serials that are neither expired nor withdrawn; of one container, of one node, or of all. */
  activeSerials(now: Date, ekSha256Hex?: string, containerId?: string): SerialRow[] {
    const active = 'SELECT * FROM serials WHERE expires_at > ? AND withdrawn_at IS NULL';
    const time = now.getTime();
    const rows =
      ekSha256Hex === undefined
        ? this.#db.all(`${active} ORDER BY serial`, time)
        : containerId === undefined
          ? this.#db.all(`${active} AND ek_sha256 = ? ORDER BY serial`, time, ekSha256Hex)
          : this.#db.all(
              `${active} AND ek_sha256 = ? AND container_id = ? ORDER BY serial`,
              time,
              ekSha256Hex,
              containerId,
            );
    return rows.map(serialRow);
  }

  /** Serials for a CRL: withdrawn, not expired yet. */
  withdrawnSerials(now: Date): SerialRow[] {
    return this.#db
      .all('SELECT * FROM serials WHERE withdrawn_at IS NOT NULL AND expires_at > ? ORDER BY serial', now.getTime())
      .map(serialRow);
  }

  /** Forgets serials that expired before `before`, and says how many. */
  pruneSerials(before: Date): number {
    return this.#db.run('DELETE FROM serials WHERE expires_at < ?', before.getTime()).changes;
  }

  /** Leaves of the ledger from `from` (0 is the first), at most `limit`. */
  ledger(from: number, limit: number): Uint8Array[] {
    return this.#db
      .all('SELECT body FROM ledger WHERE leaf_index > ? ORDER BY leaf_index LIMIT ?', from, limit)
      .map((row) => bytes(row['body']) ?? new Uint8Array());
  }

  get ledgerSize(): number {
    return number(this.#db.get('SELECT coalesce(max(leaf_index), 0) AS size FROM ledger')?.['size']);
  }

  /** Whether this session of the node is its newest one. Codes: server.store.fenced, server.node.missing. */
  requireFence(commit: { ekSha256Hex: string; fence: number }): void {
    const node = this.#db.get('SELECT fence FROM nodes WHERE ek_sha256 = ?', commit.ekSha256Hex);
    if (node === undefined) throw new LacreError('server.node.missing', 'the node was taken out of the inventory');
    if (number(node['fence']) !== commit.fence) {
      throw new LacreError('server.store.fenced', 'a newer session of this node has begun', {
        fence: commit.fence,
        newest: number(node['fence']),
      });
    }
  }

  #compare(commit: EvidenceCommit): void {
    this.requireFence(commit);
    const { expected } = commit;
    if (expected === undefined) return;
    const found = this.#db.get('SELECT epoch, verified_index FROM epochs WHERE ek_sha256 = ?', commit.ekSha256Hex);
    if (text(found?.['epoch']) !== expected.epoch || number(found?.['verified_index']) !== expected.verifiedIndex) {
      throw new LacreError('server.store.fenced', 'the epoch of this node has moved on since this evidence was taken', {
        expected: expected.verifiedIndex,
        found: number(found?.['verified_index']),
      });
    }
    if (commit.epoch.epoch === expected.epoch && commit.epoch.verifiedIndex < expected.verifiedIndex) {
      throw new LacreError('server.store.fenced', 'the verified index of an epoch never falls');
    }
  }

  #writeEpoch(commit: EvidenceCommit): void {
    const { epoch, node } = commit;
    const before = this.#db.get('SELECT epoch FROM epochs WHERE ek_sha256 = ?', commit.ekSha256Hex);
    if (before !== undefined && text(before['epoch']) !== epoch.epoch) {
      this.#db.run('DELETE FROM taints WHERE ek_sha256 = ? AND epoch <> ?', commit.ekSha256Hex, epoch.epoch);
      this.#db.run('DELETE FROM workloads WHERE ek_sha256 = ?', commit.ekSha256Hex);
    }
    this.#db.run(
      'INSERT OR REPLACE INTO epochs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      commit.ekSha256Hex,
      epoch.epoch,
      epoch.akNameHex,
      epoch.resetCount,
      epoch.restartCount,
      epoch.clock.toString(),
      epoch.verifiedIndex,
      epoch.verifiedBytes,
      epoch.pcr10,
      epoch.pcr13,
      epoch.pcr14,
      epoch.eventLogSha256Hex,
      epoch.evidenceAt.getTime(),
    );
    this.#db.run(
      `UPDATE nodes SET state = ?, host_verdict_pb = ?, last_evidence_at = ?, verified_entries = ?, reset_count = ?,
        kernel = coalesce(?, kernel), agent_version = coalesce(?, agent_version) WHERE ek_sha256 = ?`,
      node.state,
      node.hostVerdict,
      epoch.evidenceAt.getTime(),
      epoch.verifiedIndex,
      epoch.resetCount,
      node.kernel ?? null,
      node.agentVersion ?? null,
      commit.ekSha256Hex,
    );
  }

  #writeBook(commit: { ekSha256Hex: string; epoch: { readonly epoch: string } }, memory: string): void {
    this.#db.run('INSERT OR REPLACE INTO books VALUES (?, ?, ?)', commit.ekSha256Hex, commit.epoch.epoch, memory);
  }

  #writeTaint(commit: { ekSha256Hex: string; epoch: { readonly epoch: string } }, taint: TaintRow): void {
    const sql = 'INSERT OR IGNORE INTO taints VALUES (?, ?, ?, ?, ?)';
    this.#db.run(sql, commit.ekSha256Hex, commit.epoch.epoch, taint.domain, taint.logIndex, taint.finding);
  }

  #writeSerial(serial: Omit<SerialRow, 'withdrawnAt'>): void {
    this.#db.run(
      'INSERT INTO serials VALUES (?, ?, ?, ?, ?, ?, NULL)',
      serial.serialHex,
      serial.ekSha256Hex,
      serial.containerId,
      serial.spiffeId,
      serial.evidenceAt.getTime(),
      serial.expiresAt.getTime(),
    );
  }
}
