//! Lists of records. Filters are columns, so a damaged record is found by its columns, noticed when it is read,
//! and left out.

use std::fmt::Write;

use mosaic_core::domain::ids::{AgentId, TaskId};
use mosaic_core::limits;
use mosaic_core::ports::store::{Damaged, Query, Versioned};
use rusqlite::types::Value;
use rusqlite::{Connection, Params, params_from_iter};

use super::columns::{int, key};
use super::failure::Fault;
use super::rows::{self, COLUMNS, Unreadable};

/// Runs a query of [`COLUMNS`] and parts the records from the damaged rows; stops after `limit` records.
pub(super) fn gather(
    conn: &Connection,
    sql: &str,
    values: impl Params,
    limit: usize,
) -> Result<(Vec<Versioned>, Vec<Unreadable>), Fault> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut found = statement.query(values)?;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    while good.len() < limit {
        let Some(row) = found.next()? else { break };
        match rows::read(row)? {
            Ok(kept) => good.push(kept.versioned),
            Err(one) => bad.push(one),
        }
    }
    Ok((good, bad))
}

/// Lists records by a query; see the port. Each status is looked up by itself in its index, newest first, so
/// that few agents that run are found among many that ended.
pub(super) fn list(conn: &Connection, query: &Query) -> Result<(Vec<Versioned>, Vec<Unreadable>), Fault> {
    let Some(filter) = Filter::of(query) else { return Ok((Vec::new(), Vec::new())) };
    let limit = query.limit.clamp(1, limits::STORE_PAGE);
    gather(conn, &statement(query, &filter, limit), params_from_iter(filter.values), limit)
}

/// Returns the statement of a query.
fn statement(query: &Query, filter: &Filter, limit: usize) -> String {
    let mut statuses: Vec<Option<&str>> = query.status.iter().map(|status| Some(status.as_str())).collect();
    statuses.dedup();
    if statuses.is_empty() {
        statuses.push(None);
    }
    let mut parts = Vec::new();
    for status in statuses {
        let mut part = "SELECT seq FROM agents WHERE 1".to_owned();
        if let Some(word) = status {
            // A closed list of plain words, so it may stand in the statement. With a sign before it the column's own index is
            // not used: what else is asked for finds fewer.
            let sign = if filter.is_indexed { "+" } else { "" };
            let _ = write!(part, " AND {sign}status = '{word}'");
        }
        part.push_str(&filter.sql);
        let _ = write!(part, " ORDER BY seq DESC LIMIT {limit}");
        parts.push(format!("SELECT seq FROM ({part})"));
    }
    let seqs = parts.join(" UNION ");
    format!("SELECT {COLUMNS} FROM agents WHERE seq IN ({seqs}) ORDER BY seq DESC")
}

/// The conditions of a query other than its statuses.
#[derive(Default)]
struct Filter {
    sql: String,
    /// An index finds what is asked for.
    is_indexed: bool,
    values: Vec<Value>,
}

impl Filter {
    /// Returns the conditions, or `None` when no record can meet them.
    fn of(query: &Query) -> Option<Self> {
        let mut this = Self::default();
        this.phases(query);
        let texts = [
            ("agent_type = ", query.agent_type.map(|kind| kind.as_str().to_owned())),
            ("repository = ", query.repository.clone()),
            ("branch = ", query.branch.clone()),
            ("task_id = ", query.task.clone()),
        ];
        for (condition, text) in texts {
            if let Some(text) = text {
                this.and(condition, Value::Text(text));
            }
        }
        if let Some((key, value)) = &query.label {
            // The column has labels as `key=value`, line by line: key `a=b` with value `c` would find the label `a`
            // with the value `b=c`.
            if key.contains(['\n', '=']) || value.contains('\n') {
                return None;
            }
            this.is_indexed = true;
            this.values.push(Value::Text(format!("{key}={value}")));
            let at = this.values.len();
            let _ = write!(this.sql, " AND seq IN (SELECT seq FROM agent_labels WHERE line = ?{at})");
        }
        if let Some(text) = &query.text {
            let text = text.to_lowercase();
            if text.chars().count() >= 3 && !text.contains('\0') {
                this.is_indexed = true;
                // In quotes the whole text is one phrase. Without them, words such as `NOT` and signs such as `*` would
                // be operators of the query, and a stray one an error.
                this.values.push(Value::Text(format!("\"{}\"", text.replace('"', "\"\""))));
                let at = this.values.len();
                let _ = write!(
                    this.sql,
                    " AND seq IN (SELECT rowid FROM agents_text WHERE agents_text MATCH ?{at})"
                );
            }
            this.contains("search", text);
        }
        if let Some(prefix) = &query.id_prefix {
            let (low, high) = id_range(prefix)?;
            this.is_indexed |= prefix.len() >= 2;
            this.and("id >= ", Value::Blob(key(low).to_vec()));
            this.and("id <= ", Value::Blob(key(high).to_vec()));
        }
        let numbers = [
            ("spawned_at >= ", query.since.map(|at| at.0)),
            ("spawned_at < ", query.until.map(|at| at.0)),
            ("seq < ", query.before_seq),
        ];
        for (condition, number) in numbers {
            if let Some(number) = number {
                this.and(condition, Value::Integer(int(number)));
            }
        }
        this.is_indexed |= query.repository.is_some() || query.task.is_some();
        if query.dead {
            this.sql.push_str(" AND dead = 1");
        }
        Some(this)
    }

    fn and(&mut self, condition: &str, value: Value) {
        self.values.push(value);
        let _ = write!(self.sql, " AND {condition}?{}", self.values.len());
    }

    fn contains(&mut self, column: &str, text: String) {
        self.values.push(Value::Text(text));
        let _ = write!(self.sql, " AND instr({column}, ?{}) > 0", self.values.len());
    }

    fn phases(&mut self, query: &Query) {
        let words: Vec<String> = query.phase.iter().map(|phase| format!("'{}'", phase.as_str())).collect();
        if !words.is_empty() {
            let _ = write!(self.sql, " AND phase IN ({})", words.join(", "));
        }
    }
}

/// Returns the lowest and the highest id that start with this text; `None` when none does.
fn id_range(prefix: &str) -> Option<(AgentId, AgentId)> {
    const LOW: &str = "00000000-0000-0000-0000-000000000000";
    const HIGH: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    if !prefix.is_ascii() || prefix.len() > LOW.len() || prefix.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let fill = |rest: &str| format!("{prefix}{}", &rest[prefix.len()..]).parse().ok();
    Some((fill(LOW)?, fill(HIGH)?))
}

/// Lists what is leased; see the port.
pub(super) fn leased(conn: &Connection) -> Result<(Vec<Versioned>, Vec<Unreadable>), Fault> {
    let sql =
        format!("SELECT {COLUMNS} FROM agents INDEXED BY agents_leased WHERE node IS NOT NULL ORDER BY seq");
    gather(conn, &sql, [], usize::MAX)
}

/// Lists the agents of one task; see the port.
pub(super) fn of_task(conn: &Connection, task: &TaskId) -> Result<(Vec<Versioned>, Vec<Unreadable>), Fault> {
    let sql =
        format!("SELECT {COLUMNS} FROM agents INDEXED BY agents_task WHERE task_id = ?1 ORDER BY seq DESC");
    gather(conn, &sql, [task.as_str()], usize::MAX)
}

/// Lists what was set aside.
pub(super) fn damaged(conn: &Connection) -> Result<Vec<Damaged>, Fault> {
    let mut statement = conn.prepare_cached("SELECT id, why FROM quarantine ORDER BY seq LIMIT ?1")?;
    let rows = statement
        .query_map([limits::STORE_PAGE as i64], |row| Ok(Damaged { id: row.get(0)?, why: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use mosaic_core::domain::agent::Status;

    use super::super::schema;
    use super::*;

    /// Says how SQLite would carry out a query.
    fn plan(query: &Query) -> String {
        let conn = Connection::open_in_memory().unwrap();
        schema::migrate(&conn).unwrap();
        let filter = Filter::of(query).unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {}", statement(query, &filter, 50));
        let mut statement = conn.prepare(&sql).unwrap();
        let steps =
            statement.query_map(params_from_iter(filter.values), |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn labels_repositories_names_and_ids_are_found_by_an_index() {
        let text = |text: &str| Some(text.to_owned());
        let label = Some(("team".to_owned(), "core".to_owned()));
        let queries = [
            Query { label: label.clone(), ..Query::default() },
            Query { label, status: vec![Status::Completed], ..Query::default() },
            Query { repository: text("https://git.example/x"), ..Query::default() },
            Query {
                repository: text("https://git.example/x"),
                status: vec![Status::Failed],
                ..Query::default()
            },
            Query { text: text("us-1"), ..Query::default() },
            Query { text: text("us-1"), status: vec![Status::Killed], ..Query::default() },
            Query { id_prefix: text("7d0c"), ..Query::default() },
            Query { id_prefix: text("7d0c"), status: vec![Status::Completed], ..Query::default() },
        ];
        for query in queries {
            let plan = plan(&query);
            assert!(!plan.contains("SCAN agents\n") && !plan.ends_with("SCAN agents"), "{query:?}\n{plan}");
            assert!(!plan.contains("agents_status"), "{query:?}\n{plan}");
        }
    }
}
