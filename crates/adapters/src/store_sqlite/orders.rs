//! The standing orders: one row with the newest kill-all and the kill switch while it is engaged.

use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::domain::orders::{Barrier, KillOrder, Latch, StandingOrders};
use mosaic_core::ports::store::{OrderChange, StoreError};
use rusqlite::{Connection, params};
use serde::Serialize;
use uuid::Uuid;

use super::columns::{key, uint};
use super::failure::Fault;
use super::journal;
use super::writer::Writing;

/// Changes the standing orders; see the port.
pub(super) fn set(
    w: &mut Writing<'_>,
    change: OrderChange,
    facts: Vec<LogRecord>,
) -> Result<StandingOrders, Fault> {
    let before = read(w.conn)?;
    let mut orders = before.clone();
    match change {
        OrderChange::Raise(barrier) => {
            let seq = Some(barrier.seq.map_or_else(|| highest(w.conn), Ok)?);
            orders.raise_placed(Barrier { seq, ..barrier });
        }
        OrderChange::Engage(latch) => {
            orders.latch.get_or_insert(latch);
        }
        OrderChange::Release => orders.latch = None,
        OrderChange::Kill(kill) => orders.order_kill(kill),
        OrderChange::Killed(agent) => orders.kill_done(agent),
    }
    if orders != before {
        let row = params![json(orders.barrier.as_ref())?, json(orders.latch.as_ref())?];
        w.conn.prepare_cached("UPDATE orders SET barrier = ?1, latch = ?2")?.execute(row)?;
        write_kills(w.conn, &before.kills, &orders.kills)?;
        facts.into_iter().try_for_each(|fact| journal::append(w, fact))?;
    }
    Ok(orders)
}

/// Returns the highest place that was ever given, whatever became of the record.
fn highest(conn: &Connection) -> Result<u64, Fault> {
    let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'agents'";
    Ok(uint(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?))
}

/// Reads the standing orders. A latch that cannot be read counts as engaged, a barrier that cannot is left out: the
/// state directory has a copy of it.
pub(super) fn read(conn: &Connection) -> Result<StandingOrders, Fault> {
    let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (barrier, latch): (Option<String>, Option<String>) =
        conn.prepare_cached("SELECT barrier, latch FROM orders")?.query_row([], columns)?;
    let barrier = barrier.and_then(|text| {
        let read = serde_json::from_str::<Barrier>(&text);
        read.inspect_err(
            |e| tracing::error!(error = %e, "the store's record of the newest kill-all is damaged"),
        )
        .ok()
    });
    let latch = latch.map(|text| {
        serde_json::from_str::<Latch>(&text).unwrap_or_else(|e| {
            let reason = Some(format!("the record of the kill switch is damaged: {e}"));
            Latch { by: "the store".to_owned(), reason, at: Timestamp(0) }
        })
    });
    Ok(StandingOrders { barrier, latch, kills: kills(conn)? })
}

/// Reads the orders about single agents. One that cannot be read says all the same which agent it is about.
fn kills(conn: &Connection) -> Result<Vec<KillOrder>, Fault> {
    let mut statement = conn.prepare_cached("SELECT agent, body FROM kills ORDER BY agent")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, String>(1)?)))?;
    let read = |(agent, body): ([u8; 16], String)| {
        serde_json::from_str(&body).unwrap_or_else(|e| KillOrder {
            agent: AgentId(Uuid::from_bytes(agent)),
            by: "the store".to_owned(),
            reason: Some(format!("the record of this order is damaged: {e}")),
            at: Timestamp(0),
        })
    };
    rows.map(|row| row.map(read)).collect::<Result<_, _>>().map_err(Fault::from)
}

fn write_kills(conn: &Connection, before: &[KillOrder], after: &[KillOrder]) -> Result<(), Fault> {
    for kill in after.iter().filter(|kill| !before.contains(kill)) {
        let sql = "INSERT INTO kills (agent, body) VALUES (?1, ?2)";
        conn.prepare_cached(sql)?.execute(params![key(kill.agent), json(Some(kill))?])?;
    }
    for kill in before.iter().filter(|kill| !after.contains(kill)) {
        conn.prepare_cached("DELETE FROM kills WHERE agent = ?1")?.execute([key(kill.agent)])?;
    }
    Ok(())
}

/// Tells whether the kill switch is engaged.
pub(super) fn is_engaged(conn: &Connection) -> Result<bool, Fault> {
    let sql = "SELECT latch IS NOT NULL FROM orders";
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

fn json<T: Serialize>(order: Option<&T>) -> Result<Option<String>, Fault> {
    let text = order.map(serde_json::to_string).transpose();
    text.map_err(|e| StoreError::Unavailable(format!("an order cannot be written as JSON: {e}")).into())
}
