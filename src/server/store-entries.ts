import type { SQLInputValue } from 'node:sqlite';
import { type Database, number, type Row, text } from './store-database.ts';

export interface SelectorRow {
  readonly type: string;
  readonly value: string;
}

/** A registration entry, with SPIRE's fields (spire.api.types.Entry). SPIFFE IDs as text, times in Unix seconds. */
export interface EntryRow {
  readonly id: string;
  readonly spiffeId: string;
  readonly parentId: string;
  /** Sorted by type, then value. */
  readonly selectors: readonly SelectorRow[];
  /** Seconds; 0: the server's default. */
  readonly x509SvidTtl: number;
  readonly jwtSvidTtl: number;
  /** Trust domain names, sorted. */
  readonly federatesWith: readonly string[];
  readonly admin: boolean;
  readonly downstream: boolean;
  /** 0: never. */
  readonly expiresAt: number;
  readonly dnsNames: readonly string[];
  readonly storeSvid: boolean;
  readonly hint: string;
  readonly additionalAttributes:
    | { readonly disableX509SvidPrefetch: boolean; readonly jwtSvidIncludeJti: boolean }
    | undefined;
  readonly revision: number;
  readonly createdAt: number;
}

/** SPIRE's four ways to compare a set of an entry with a wanted one. */
export type SetMatch = 'exact' | 'subset' | 'superset' | 'any';

export interface EntryFilter {
  readonly spiffeId?: string;
  readonly parentId?: string;
  readonly selectors?: { readonly values: readonly SelectorRow[]; readonly match: SetMatch };
  readonly federatesWith?: { readonly values: readonly string[]; readonly match: SetMatch };
  readonly hint?: string;
  readonly downstream?: boolean;
}

const SELECT = `SELECT e.*,
  (SELECT json_group_array(json_array(type, value)) FROM
    (SELECT type, value FROM entry_selectors s WHERE s.entry_id = e.id ORDER BY type, value)) AS selectors,
  (SELECT json_group_array(trust_domain) FROM
    (SELECT trust_domain FROM entry_federations f WHERE f.entry_id = e.id ORDER BY trust_domain)) AS federations
  FROM entries e`;

/** Registration entries. */
export class EntryStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  get(id: string): EntryRow | undefined {
    const row = this.#db.get(`${SELECT} WHERE e.id = ?`, id);
    return row === undefined ? undefined : entryRow(row);
  }

  /** All entries of a filter, in the order of their creation. */
  list(filter: EntryFilter = {}): EntryRow[] {
    const { where, values } = conditions(filter);
    return this.#db.all(`${SELECT} WHERE ${where} ORDER BY e.number`, ...values).map(entryRow);
  }

  /** A page of at most `size` entries after the one that `token` names; the next token is empty at the end. */
  page(filter: EntryFilter, size: number, token: string): { entries: EntryRow[]; nextToken: string } {
    const { where, values } = conditions(filter);
    const after = token === '' ? 0 : Number(token);
    const rows = this.#db.all(
      `${SELECT} WHERE ${where} AND e.number > ? ORDER BY e.number LIMIT ?`,
      ...values,
      after,
      size + 1,
    );
    const last = rows.length > size ? rows[size - 1] : undefined;
    return {
      entries: rows.slice(0, size).map(entryRow),
      nextToken: last === undefined ? '' : String(number(last['number'])),
    };
  }

  count(filter: EntryFilter = {}): number {
    const { where, values } = conditions(filter);
    return number(this.#db.get(`SELECT count(*) AS n FROM entries e WHERE ${where}`, ...values)?.['n']);
  }

  /** The entry with the same SPIFFE ID, parent and selectors: SPIRE allows one of each. */
  similar(entry: Pick<EntryRow, 'spiffeId' | 'parentId' | 'selectors'>): EntryRow | undefined {
    const { spiffeId, parentId, selectors } = entry;
    return this.list({ spiffeId, parentId, selectors: { values: selectors, match: 'exact' } })[0];
  }

  /** Adds a new entry, or writes all fields of a known one (same id). */
  put(entry: EntryRow): void {
    this.#db.transaction(() => {
      const known = this.#db.get('SELECT number FROM entries WHERE id = ?', entry.id);
      if (known !== undefined) {
        this.#db.run('DELETE FROM entry_selectors WHERE entry_id = ?', entry.id);
        this.#db.run('DELETE FROM entry_federations WHERE entry_id = ?', entry.id);
      }
      this.#write(entry);
      for (const { type, value } of entry.selectors) {
        this.#db.run('INSERT OR IGNORE INTO entry_selectors VALUES (?, ?, ?)', entry.id, type, value);
      }
      for (const trustDomain of entry.federatesWith) {
        this.#db.run('INSERT OR IGNORE INTO entry_federations VALUES (?, ?)', entry.id, trustDomain);
      }
    });
  }

  /** False where there was none. */
  remove(id: string): boolean {
    return this.#db.run('DELETE FROM entries WHERE id = ?', id).changes > 0;
  }

  #write(entry: EntryRow): void {
    const extra = entry.additionalAttributes;
    this.#db.run(
      `INSERT INTO entries (id, spiffe_id, parent_id, x509_svid_ttl, jwt_svid_ttl, admin, downstream, expires_at, dns_names,
        store_svid, hint, disable_x509_svid_prefetch, jwt_svid_include_jti, revision, created_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET spiffe_id = excluded.spiffe_id, parent_id = excluded.parent_id,
        x509_svid_ttl = excluded.x509_svid_ttl, jwt_svid_ttl = excluded.jwt_svid_ttl, admin = excluded.admin,
        downstream = excluded.downstream, expires_at = excluded.expires_at, dns_names = excluded.dns_names,
        store_svid = excluded.store_svid, hint = excluded.hint,
        disable_x509_svid_prefetch = excluded.disable_x509_svid_prefetch,
        jwt_svid_include_jti = excluded.jwt_svid_include_jti, revision = excluded.revision`,
      entry.id,
      entry.spiffeId,
      entry.parentId,
      entry.x509SvidTtl,
      entry.jwtSvidTtl,
      Number(entry.admin),
      Number(entry.downstream),
      entry.expiresAt,
      JSON.stringify(entry.dnsNames),
      Number(entry.storeSvid),
      entry.hint,
      extra === undefined ? null : Number(extra.disableX509SvidPrefetch),
      extra === undefined ? null : Number(extra.jwtSvidIncludeJti),
      entry.revision,
      entry.createdAt,
    );
  }
}

function conditions(filter: EntryFilter): { where: string; values: SQLInputValue[] } {
  const parts: string[] = ['1'];
  const values: SQLInputValue[] = [];
  const plain: readonly [string, SQLInputValue | undefined][] = [
    ['e.spiffe_id = ?', filter.spiffeId],
    ['e.parent_id = ?', filter.parentId],
    ['e.hint = ?', filter.hint],
    ['e.downstream = ?', filter.downstream === undefined ? undefined : Number(filter.downstream)],
  ];
  for (const [sql, value] of plain) {
    if (value === undefined) continue;
    parts.push(sql);
    values.push(value);
  }
  if (filter.selectors !== undefined) {
    const wanted = JSON.stringify(filter.selectors.values.map(({ type, value }) => [type, value]));
    const same = "s.type = json_extract(w.value, '$[0]') AND s.value = json_extract(w.value, '$[1]')";
    parts.push(setCondition(filter.selectors.match, 'entry_selectors', same));
    values.push(...wantedValues(filter.selectors.match, wanted));
  }
  if (filter.federatesWith !== undefined) {
    const { match, values: wanted } = filter.federatesWith;
    parts.push(setCondition(match, 'entry_federations', 's.trust_domain = w.value'));
    values.push(...wantedValues(match, JSON.stringify(wanted)));
  }
  return { where: parts.join(' AND '), values };
}

/** SQL over an entry's set `s` and the wanted set `w` (JSON, bound once for each `?`). */
function setCondition(match: SetMatch, table: string, same: string): string {
  const common = `EXISTS (SELECT 1 FROM ${table} s, json_each(?) w WHERE s.entry_id = e.id AND ${same})`;
  const subset = `NOT EXISTS (SELECT 1 FROM ${table} s WHERE s.entry_id = e.id AND NOT EXISTS (SELECT 1 FROM json_each(?) w WHERE ${same}))`;
  const superset = `NOT EXISTS (SELECT 1 FROM json_each(?) w WHERE NOT EXISTS (SELECT 1 FROM ${table} s WHERE s.entry_id = e.id AND ${same}))`;
  if (match === 'any') return common;
  if (match === 'superset') return superset;
  return match === 'subset' ? `${subset} AND ${common}` : `${subset} AND ${superset}`;
}

function wantedValues(match: SetMatch, wanted: string): string[] {
  return match === 'any' || match === 'superset' ? [wanted] : [wanted, wanted];
}

function entryRow(row: Row): EntryRow {
  const selectors = JSON.parse(text(row['selectors'])) as [string, string][];
  const prefetch = row['disable_x509_svid_prefetch'];
  return {
    id: text(row['id']),
    spiffeId: text(row['spiffe_id']),
    parentId: text(row['parent_id']),
    selectors: selectors.map(([type, value]) => ({ type, value })),
    x509SvidTtl: number(row['x509_svid_ttl']),
    jwtSvidTtl: number(row['jwt_svid_ttl']),
    federatesWith: JSON.parse(text(row['federations'])) as string[],
    admin: number(row['admin']) === 1,
    downstream: number(row['downstream']) === 1,
    expiresAt: number(row['expires_at']),
    dnsNames: JSON.parse(text(row['dns_names'])) as string[],
    storeSvid: number(row['store_svid']) === 1,
    hint: text(row['hint']),
    additionalAttributes:
      prefetch === null || prefetch === undefined
        ? undefined
        : {
            disableX509SvidPrefetch: number(prefetch) === 1,
            jwtSvidIncludeJti: number(row['jwt_svid_include_jti']) === 1,
          },
    revision: number(row['revision']),
    createdAt: number(row['created_at']),
  };
}
