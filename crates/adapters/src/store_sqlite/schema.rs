//! The file format: one script per version, forward only. `PRAGMA user_version` says which ran last.

use mosaic_core::ports::store::StoreError;
use rusqlite::Connection;

use super::failure::Fault;

/// Version 1. A task is the set of agents with its id; `queue` is 1 for ready, 2 for delayed, 0 for not queued;
/// `rank` and all columns left of it never change after admission; `tally` has the sums, so that nobody counts.
const V1: &str = "
CREATE TABLE agents (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL,
    task_id TEXT NOT NULL,
    agent_type TEXT NOT NULL,
    repository TEXT NOT NULL,
    branch TEXT NOT NULL,
    labels TEXT,
    search TEXT NOT NULL,
    spawned_at INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    status TEXT NOT NULL,
    phase TEXT NOT NULL,
    terminal INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    not_before INTEGER,
    node TEXT,
    epoch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    logged_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX agents_id ON agents (id);
CREATE UNIQUE INDEX agents_active ON agents (task_id, agent_type) WHERE terminal = 0;
CREATE INDEX agents_task ON agents (task_id);
CREATE INDEX agents_status ON agents (status);
CREATE INDEX agents_ready ON agents (rank) WHERE queue = 1;
CREATE INDEX agents_delayed ON agents (not_before) WHERE queue = 2;
CREATE INDEX agents_leased ON agents (node) WHERE node IS NOT NULL;
CREATE INDEX agents_dead ON agents (dead) WHERE dead = 1;

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    agent BLOB,
    task TEXT,
    at INTEGER NOT NULL,
    data TEXT NOT NULL
) STRICT;

CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    agent BLOB NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE pause (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    by TEXT NOT NULL,
    reason TEXT,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE quarantine (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    why TEXT NOT NULL,
    task_id TEXT,
    agent_type TEXT,
    status TEXT,
    body BLOB
) STRICT;
CREATE INDEX quarantine_id ON quarantine (id);

CREATE TABLE tally (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    ready INTEGER NOT NULL,
    delayed INTEGER NOT NULL,
    active INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    killed INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    checks INTEGER NOT NULL
) STRICT;
INSERT INTO tally VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0);
";

/// Records can be removed. `ended_at` is when an agent ended, so that old ones are found without reading them; of a
/// record that cannot be read it stays empty, and such a one is never taken for old. `tombstones` are the notes.
const REMOVAL: &str = "
ALTER TABLE agents ADD COLUMN ended_at INTEGER;
UPDATE agents SET ended_at = CASE WHEN json_valid(body) THEN json_extract(body, '$.state.at') END WHERE terminal = 1;
CREATE INDEX agents_ended ON agents (ended_at, seq) WHERE ended_at IS NOT NULL;

CREATE TABLE tombstones (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    at INTEGER NOT NULL,
    why TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX tombstones_id ON tombstones (id);
";

/// The standing orders, as JSON: the newest kill-all, and the kill switch while it is engaged.
const ORDERS: &str = "
CREATE TABLE orders (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    barrier TEXT,
    latch TEXT
) STRICT;
INSERT INTO orders VALUES (1, NULL, NULL);
";

/// Where an agent ran last, and orders about single agents, as JSON.
const FLEET: &str = "
ALTER TABLE agents ADD COLUMN home TEXT;
CREATE TABLE kills (
    agent BLOB PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Lines about the life of an agent whose record was moved here out of a shared store.
const ARCHIVE: &str = "
ALTER TABLE agents ADD COLUMN history TEXT;
";

/// Indexes that lists find records by: repository, label (a row for each line of the column), three letters in a row of name, task
/// and id. Triggers keep the last two whatever writes or deletes a record; its words never change.
const SEARCH: &str = "
CREATE INDEX agents_repository ON agents (repository);

CREATE TABLE agent_labels (
    line TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (line, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_labels_seq ON agent_labels (seq);
CREATE VIRTUAL TABLE agents_text USING fts5(
    search, content = '', contentless_delete = 1, tokenize = 'trigram case_sensitive 1'
);
CREATE TRIGGER agents_searched AFTER INSERT ON agents BEGIN
    INSERT INTO agents_text (rowid, search) VALUES (new.seq, new.search);
    INSERT INTO agent_labels (line, seq)
        WITH RECURSIVE lines (line, rest) AS (
            SELECT NULL, substr(new.labels, 2) WHERE new.labels IS NOT NULL
            UNION ALL
            SELECT substr(rest, 1, instr(rest, char(10)) - 1), substr(rest, instr(rest, char(10)) + 1)
            FROM lines WHERE rest <> ''
        )
        SELECT line, new.seq FROM lines WHERE line IS NOT NULL;
END;
CREATE TRIGGER agents_forgotten AFTER DELETE ON agents BEGIN
    DELETE FROM agents_text WHERE rowid = old.seq;
    DELETE FROM agent_labels WHERE seq = old.seq;
END;
INSERT INTO agents_text (rowid, search) SELECT seq, search FROM agents;
INSERT INTO agent_labels (line, seq)
    WITH RECURSIVE lines (seq, line, rest) AS (
        SELECT seq, NULL, substr(labels, 2) FROM agents WHERE labels IS NOT NULL
        UNION ALL
        SELECT seq, substr(rest, 1, instr(rest, char(10)) - 1), substr(rest, instr(rest, char(10)) + 1)
        FROM lines WHERE rest <> ''
    )
    SELECT line, seq FROM lines WHERE line IS NOT NULL;
";

/// The scripts in order; the first makes version 1.
const MIGRATIONS: &[&str] = &[V1, REMOVAL, ORDERS, FLEET, ARCHIVE, SEARCH];

/// Brings the file to this build's version in one transaction. Errors with `Unusable` when it is newer.
pub(super) fn migrate(conn: &Connection) -> Result<(), Fault> {
    let newest = i64::try_from(MIGRATIONS.len()).expect("a handful of versions");
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > newest {
        let path = conn.path().unwrap_or("mosaic.db");
        return Err(StoreError::Unusable(format!(
            "the database {path} has version {found}, but this program knows versions up to {newest}; start the \
             newer program that wrote it, or use another data directory"
        ))
        .into());
    }
    if found == newest {
        return Ok(());
    }
    let done = usize::try_from(found).unwrap_or(0);
    let tx = conn.unchecked_transaction()?;
    for script in &MIGRATIONS[done..] {
        tx.execute_batch(script)?;
    }
    tx.pragma_update(None, "user_version", newest)?;
    tx.commit()?;
    Ok(())
}
