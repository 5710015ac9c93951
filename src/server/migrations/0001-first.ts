/** Schema 1. Times are Unix milliseconds; hex is lower case; `*_pb` columns hold lacre.v1 messages. */
export const FIRST = `
CREATE TABLE nodes (
  ek_sha256 TEXT PRIMARY KEY CHECK (length(ek_sha256) = 64),
  name TEXT NOT NULL,
  host_reference TEXT NOT NULL,
  spiffe_id TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL CHECK (state IN ('expected', 'parked', 'enrolled', 'attested', 'lost', 'refused')),
  root_of_trust TEXT NOT NULL CHECK (root_of_trust IN ('', 'hardware', 'vtpm', 'software')),
  ak_public BLOB,
  ak_name TEXT NOT NULL,
  agent_version TEXT NOT NULL,
  kernel TEXT NOT NULL,
  banned INTEGER NOT NULL CHECK (banned IN (0, 1)),
  certificate_serial TEXT NOT NULL,
  certificate_expires_at INTEGER,
  last_evidence_at INTEGER,
  verified_entries INTEGER NOT NULL,
  reset_count INTEGER NOT NULL,
  host_verdict_pb BLOB,
  fence INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX nodes_name ON nodes (name) WHERE name <> '';

CREATE TABLE entries (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  spiffe_id TEXT NOT NULL,
  parent_id TEXT NOT NULL,
  x509_svid_ttl INTEGER NOT NULL,
  jwt_svid_ttl INTEGER NOT NULL,
  admin INTEGER NOT NULL,
  downstream INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  dns_names TEXT NOT NULL,
  store_svid INTEGER NOT NULL,
  hint TEXT NOT NULL,
  disable_x509_svid_prefetch INTEGER,
  jwt_svid_include_jti INTEGER,
  revision INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX entries_spiffe_id ON entries (spiffe_id);
CREATE INDEX entries_parent_id ON entries (parent_id);
CREATE TABLE entry_selectors (
  entry_id TEXT NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
  type TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (entry_id, type, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX entry_selectors_value ON entry_selectors (type, value);
CREATE TABLE entry_federations (
  entry_id TEXT NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
  trust_domain TEXT NOT NULL,
  PRIMARY KEY (entry_id, trust_domain)
) STRICT, WITHOUT ROWID;

CREATE TABLE images (
  manifest_digest TEXT PRIMARY KEY,
  reference_pb BLOB NOT NULL,
  approved_at INTEGER NOT NULL
) STRICT;
CREATE TABLE image_files (
  manifest_digest TEXT PRIMARY KEY REFERENCES images (manifest_digest) ON DELETE CASCADE,
  files_pb BLOB NOT NULL
) STRICT;
CREATE TABLE hosts (
  name TEXT PRIMARY KEY,
  reference_pb BLOB NOT NULL,
  approved_at INTEGER NOT NULL
) STRICT;
CREATE TABLE host_files (
  name TEXT PRIMARY KEY REFERENCES hosts (name) ON DELETE CASCADE,
  files_pb BLOB NOT NULL
) STRICT;

CREATE TABLE epochs (
  ek_sha256 TEXT PRIMARY KEY REFERENCES nodes (ek_sha256) ON DELETE CASCADE,
  epoch TEXT NOT NULL,
  ak_name TEXT NOT NULL,
  reset_count INTEGER NOT NULL,
  restart_count INTEGER NOT NULL,
  clock TEXT NOT NULL,
  verified_index INTEGER NOT NULL,
  verified_bytes INTEGER NOT NULL,
  pcr10 BLOB NOT NULL CHECK (length(pcr10) = 32),
  pcr13 BLOB NOT NULL CHECK (length(pcr13) = 32),
  pcr14 BLOB NOT NULL CHECK (length(pcr14) = 32),
  event_log_sha256 TEXT NOT NULL,
  evidence_at INTEGER NOT NULL
) STRICT;
CREATE TABLE taints (
  ek_sha256 TEXT NOT NULL REFERENCES nodes (ek_sha256) ON DELETE CASCADE,
  epoch TEXT NOT NULL,
  domain TEXT NOT NULL,
  log_index INTEGER NOT NULL,
  finding_pb BLOB NOT NULL,
  PRIMARY KEY (ek_sha256, epoch, domain, log_index, finding_pb)
) STRICT, WITHOUT ROWID;
CREATE TABLE books (
  ek_sha256 TEXT PRIMARY KEY REFERENCES nodes (ek_sha256) ON DELETE CASCADE,
  epoch TEXT NOT NULL,
  memory TEXT NOT NULL
) STRICT;
CREATE TABLE workloads (
  ek_sha256 TEXT NOT NULL REFERENCES nodes (ek_sha256) ON DELETE CASCADE,
  container_id TEXT NOT NULL,
  container_name TEXT NOT NULL,
  image_name TEXT NOT NULL,
  manifest_digest TEXT NOT NULL,
  attribution TEXT NOT NULL,
  running INTEGER NOT NULL,
  verdict_pb BLOB NOT NULL,
  withdrawn_at INTEGER,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (ek_sha256, container_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE serials (
  serial TEXT PRIMARY KEY,
  ek_sha256 TEXT NOT NULL,
  container_id TEXT NOT NULL,
  spiffe_id TEXT NOT NULL,
  evidence_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  withdrawn_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX serials_container ON serials (ek_sha256, container_id);
CREATE INDEX serials_expires ON serials (expires_at);

CREATE TABLE ledger (
  leaf_index INTEGER PRIMARY KEY AUTOINCREMENT,
  body BLOB NOT NULL
) STRICT;
CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
`;
