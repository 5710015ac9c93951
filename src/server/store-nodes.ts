import type { SQLInputValue } from 'node:sqlite';
import { LacreError } from '../lacre-error.ts';
import { bytes, type Database, date, number, type Row, text } from './store-database.ts';

/** `expected`: in the inventory, not enrolled. `parked`: an unknown EK that asked; nothing is ever issued to it. */
export type NodeState = 'expected' | 'parked' | 'enrolled' | 'attested' | 'lost' | 'refused';

/** What the server knows of one node. Its key is SHA-256 over the EK's SubjectPublicKeyInfo. */
export interface NodeRow {
  readonly ekSha256Hex: string;
  /** For people; unique, or empty. */
  readonly name: string;
  /** Name of the approved host reference values; empty: any. */
  readonly hostReference: string;
  readonly spiffeId: string;
  readonly state: NodeState;
  readonly rootOfTrust: '' | 'hardware' | 'vtpm' | 'software';
  /** TPMT_PUBLIC of the attestation key bound to this EK by credential activation. */
  readonly akPublic: Uint8Array | undefined;
  readonly akNameHex: string;
  /** As the agent says. */
  readonly agentVersion: string;
  /** As the agent says. */
  readonly kernel: string;
  readonly banned: boolean;
  readonly certificateSerialHex: string;
  readonly certificateExpiresAt: Date | undefined;
  readonly lastEvidenceAt: Date | undefined;
  readonly verifiedEntries: number;
  readonly resetCount: number;
  /** lacre.v1.Verdict, encoded. */
  readonly hostVerdict: Uint8Array | undefined;
  readonly createdAt: Date;
}

/** Fields that may be changed after a node was added. */
export type NodeChange = Partial<Omit<NodeRow, 'ekSha256Hex' | 'spiffeId' | 'createdAt'>>;

const COLUMNS: Readonly<Record<keyof NodeChange, string>> = {
  name: 'name',
  hostReference: 'host_reference',
  state: 'state',
  rootOfTrust: 'root_of_trust',
  akPublic: 'ak_public',
  akNameHex: 'ak_name',
  agentVersion: 'agent_version',
  kernel: 'kernel',
  banned: 'banned',
  certificateSerialHex: 'certificate_serial',
  certificateExpiresAt: 'certificate_expires_at',
  lastEvidenceAt: 'last_evidence_at',
  verifiedEntries: 'verified_entries',
  resetCount: 'reset_count',
  hostVerdict: 'host_verdict_pb',
};

/** The inventory. */
export class NodeStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  get(ekSha256Hex: string): NodeRow | undefined {
    return row(this.#db.get('SELECT * FROM nodes WHERE ek_sha256 = ?', ekSha256Hex));
  }

  bySpiffeId(spiffeId: string): NodeRow | undefined {
    return row(this.#db.get('SELECT * FROM nodes WHERE spiffe_id = ?', spiffeId));
  }

  /** All nodes whose name or SPIFFE ID is `subject`, or whose EK hash begins with it (at least 4 digits). */
  find(subject: string): NodeRow[] {
    const prefix = /^[0-9a-f]{4,64}$/.test(subject) ? `${subject}*` : '';
    const sql =
      "SELECT * FROM nodes WHERE spiffe_id = ? OR (name <> '' AND name = ?) OR ek_sha256 GLOB ? ORDER BY ek_sha256";
    return this.#db.all(sql, subject, subject, prefix).map(mustRow);
  }

  list(): NodeRow[] {
    return this.#db.all('SELECT * FROM nodes ORDER BY created_at, ek_sha256').map(mustRow);
  }

  /** Puts an EK into the inventory; a parked one becomes expected. Codes: server.node.exists. */
  add(node: { ekSha256Hex: string; spiffeId: string; name?: string; hostReference?: string }, now: Date): NodeRow {
    return this.#db.transaction(() => {
      const name = node.name ?? '';
      const named = name === '' ? undefined : this.#db.get('SELECT ek_sha256 FROM nodes WHERE name = ?', name);
      const known = this.get(node.ekSha256Hex);
      if (known !== undefined && known.state !== 'parked') throw exists(`EK ${node.ekSha256Hex}`);
      if (named !== undefined && named['ek_sha256'] !== node.ekSha256Hex) throw exists(`the name ${name}`);
      this.#insert(node.ekSha256Hex, node.spiffeId, name, node.hostReference ?? '', 'expected', now);
      return this.#must(node.ekSha256Hex);
    });
  }

  /**
   * Remembers an EK that asked and is in no inventory, so that people can see it. Known nodes stay as they are. At
   * most `limit` are kept: the oldest goes.
   */
  park(node: { ekSha256Hex: string; spiffeId: string }, now: Date, limit = 1000): void {
    this.#db.transaction(() => {
      if (this.get(node.ekSha256Hex) !== undefined) return;
      this.#insert(node.ekSha256Hex, node.spiffeId, '', '', 'parked', now);
      const surplus =
        "SELECT ek_sha256 FROM nodes WHERE state = 'parked' ORDER BY created_at DESC, ek_sha256 LIMIT -1 OFFSET ?";
      this.#db.run(`DELETE FROM nodes WHERE ek_sha256 IN (${surplus})`, limit);
    });
  }

  /** Codes: server.node.missing. */
  update(ekSha256Hex: string, change: NodeChange): NodeRow {
    const names: string[] = [];
    const values: SQLInputValue[] = [];
    for (const key of Object.keys(COLUMNS) as (keyof NodeChange)[]) {
      if (!(key in change)) continue;
      names.push(`${COLUMNS[key]} = ?`);
      values.push(column(change[key]));
    }
    if (names.length > 0)
      this.#db.run(`UPDATE nodes SET ${names.join(', ')} WHERE ek_sha256 = ?`, ...values, ekSha256Hex);
    return this.#must(ekSha256Hex);
  }

  /** A verdict over the host that no evidence goes with: it only takes. Nothing where a newer session has begun. */
  judged(ekSha256Hex: string, fence: number, hostVerdict: Uint8Array): void {
    const sql = 'UPDATE nodes SET host_verdict_pb = ? WHERE ek_sha256 = ? AND fence = ?';
    this.#db.run(sql, hostVerdict, ekSha256Hex, fence);
  }

  /** Takes a node out of the inventory, with its epoch, taints and workloads. False where there is none. */
  remove(ekSha256Hex: string): boolean {
    return this.#db.run('DELETE FROM nodes WHERE ek_sha256 = ?', ekSha256Hex).changes > 0;
  }

  /**
   * Draws the fence of a new session: commits with a lower one fail from now on. The disk is not waited for: what is
   * committed under the fence brings it there. Codes: server.node.missing.
   */
  nextFence(ekSha256Hex: string): number {
    const drawn = this.#db.get('UPDATE nodes SET fence = fence + 1 WHERE ek_sha256 = ? RETURNING fence', ekSha256Hex);
    if (drawn === undefined) throw missing(ekSha256Hex);
    return number(drawn['fence']);
  }

  #insert(ek: string, spiffeId: string, name: string, hostReference: string, state: NodeState, now: Date): void {
    const sql = `INSERT INTO nodes VALUES (?, ?, ?, ?, ?, '', NULL, '', '', '', 0, '', NULL, NULL, 0, 0, NULL, 0, ?)
      ON CONFLICT (ek_sha256) DO UPDATE SET name = excluded.name, host_reference = excluded.host_reference, state = excluded.state`;
    this.#db.run(sql, ek, name, hostReference, spiffeId, state, now.getTime());
  }

  #must(ekSha256Hex: string): NodeRow {
    const found = this.get(ekSha256Hex);
    if (found === undefined) throw missing(ekSha256Hex);
    return found;
  }
}

function exists(what: string): LacreError {
  return new LacreError('server.node.exists', `${what} is in the inventory already`);
}

function missing(ekSha256Hex: string): LacreError {
  return new LacreError('server.node.missing', `no node with EK ${ekSha256Hex} is in the inventory`);
}

function column(value: NodeChange[keyof NodeChange]): SQLInputValue {
  if (value === undefined) return null;
  if (value instanceof Date) return value.getTime();
  return typeof value === 'boolean' ? Number(value) : value;
}

function row(found: Row | undefined): NodeRow | undefined {
  return found === undefined ? undefined : mustRow(found);
}

function mustRow(found: Row): NodeRow {
  return {
    ekSha256Hex: text(found['ek_sha256']),
    name: text(found['name']),
    hostReference: text(found['host_reference']),
    spiffeId: text(found['spiffe_id']),
    state: text(found['state']) as NodeState,
    rootOfTrust: text(found['root_of_trust']) as NodeRow['rootOfTrust'],
    akPublic: bytes(found['ak_public']),
    akNameHex: text(found['ak_name']),
    agentVersion: text(found['agent_version']),
    kernel: text(found['kernel']),
    banned: number(found['banned']) === 1,
    certificateSerialHex: text(found['certificate_serial']),
    certificateExpiresAt: date(found['certificate_expires_at']),
    lastEvidenceAt: date(found['last_evidence_at']),
    verifiedEntries: number(found['verified_entries']),
    resetCount: number(found['reset_count']),
    hostVerdict: bytes(found['host_verdict_pb']),
    createdAt: new Date(number(found['created_at'])),
  };
}
