//! Kills of agents with many processes: from the end of the grace until it is verified that none is left, as the receipt
//! says it. The processes ignore SIGTERM, so that the whole grace passes and all of them are there at its end.

use std::path::Path;
use std::time::{Duration, Instant};

use mosaic_api::{Killed, Spawned};
use serde_json::json;

use crate::server::Server;
use crate::table::{Table, median};
use crate::{Options, Outcome, remote};

/// Processes of one agent.
const SIZES: [usize; 3] = [1, 100, 1000];
/// Longest wait for an agent's processes to be there.
const GROWN: Duration = Duration::from_secs(60);
/// Past the grace, of an agent with a handful of processes and with a thousand.
const TARGET_MS: f64 = 1000.0;

/// Measures each size.
pub(crate) fn run(options: &Options, dir: &Path, table: &mut Table) -> Outcome<()> {
    for size in SIZES {
        let mut past = Vec::new();
        for round in 0..options.rounds {
            past.push(measure_one(options, &dir.join(format!("{size}-{round}")), size)?);
        }
        let slowest = past.iter().copied().fold(0.0, f64::max);
        let figure = format!("{:.0} ms (slowest of {}: {slowest:.0} ms)", median(&past), past.len());
        let name = format!("grace to empty, {size} processes");
        table.row(&name, &figure, &format!("≤ {TARGET_MS:.0} ms"), Some(slowest <= TARGET_MS));
    }
    Ok(())
}

/// Kills one agent with so many processes; returns the milliseconds past its grace.
fn measure_one(options: &Options, dir: &Path, size: usize) -> Outcome<f64> {
    std::fs::create_dir_all(dir)?;
    let bare = remote::make(dir)?;
    let (script, up) = (dir.join("agent.sh"), dir.join("up"));
    let text = format!(
        "trap '' TERM\ncat > /dev/null\ni=1\nwhile [ $i -lt {size} ]; do sleep 86400 & i=$((i + 1)); done\n: > '{}'\nwait\nsleep 86400\n",
        up.display()
    );
    std::fs::write(&script, text)?;
    let server = Server::start(&options.mosaic, dir, 1, &format!("sh '{}'", script.display()))?;
    let mut client = server.client()?;
    let task = json!({
        "taskId": "crowd", "agentType": "worker", "gateProfile": "minimal",
        "context": {"repository": bare.to_string_lossy(), "branch": "main", "workItems": ["grow"]},
    });
    let Spawned { agent_id: id, .. } = client.json("POST", "/agents/spawn", &task.to_string())?;
    let until = Instant::now() + GROWN;
    while !up.exists() {
        if Instant::now() > until {
            return Err(format!("{size} processes were not there after {} s", GROWN.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed: Killed = client.json("POST", &format!("/agents/{id}/kill"), "{}")?;
    if !killed.verified {
        return Err(format!("the kill was not verified: {killed:?}").into());
    }
    server.stop()?;
    let past_grace = killed.receipt.as_ref().and_then(|receipt| receipt.past_grace_ms);
    let past_grace = past_grace.ok_or_else(|| format!("the receipt has no time: {killed:?}"))?;
    Ok(past_grace as f64)
}
