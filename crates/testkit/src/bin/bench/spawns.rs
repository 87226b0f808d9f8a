//! Acknowledged spawns per second. Dispatch is paused, so that what is measured is admission alone: each answer
//! means that the agent is on the disk.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mosaic_api::Queue;

use crate::server::Server;
use crate::table::{Table, quantile};
use crate::{Options, Outcome};

/// Clients of each run.
const CLIENTS: [usize; 3] = [1, 8, 64];
/// Most spawns of one run: far below what the queue takes.
const MOST: u64 = 500_000;
/// Acknowledged spawns per second that 64 clients must get.
const TARGET: f64 = 3000.0;

/// Measurements of one client, in seconds.
struct ClientLatencies {
    latencies: Vec<f64>,
}

/// Measures with each number of clients, each on a server of its own.
pub(crate) fn run(options: &Options, dir: &Path, table: &mut Table) -> Outcome<()> {
    for clients in CLIENTS {
        let server = Server::start(&options.mosaic, &dir.join(clients.to_string()), 1, "true")?;
        server.client()?.done("POST", "/v1/queue/pause", "{}")?;
        let (seen, took) = load(&server, clients, options.length)?;
        let latencies: Vec<f64> = seen.into_iter().flat_map(|seen| seen.latencies).collect();
        let queue: Queue = server.client()?.json("GET", "/v1/queue?limit=1", "")?;
        if queue.counts.waiting != latencies.len() as u64 {
            let text = format!(
                "{} spawns were acknowledged, but the queue counts {:?}",
                latencies.len(),
                queue.counts
            );
            return Err(text.into());
        }
        server.stop()?;
        let rate = latencies.len() as f64 / took.as_secs_f64();
        let ms = |share| quantile(&latencies, share) * 1000.0;
        let name = format!("acknowledged spawns, {clients} client{}", if clients == 1 { "" } else { "s" });
        let figure = format!("{rate:.0}/s (p50 {:.2} ms, p99 {:.2} ms)", ms(0.5), ms(0.99));
        let judged = clients == 64;
        table.row(&name, &figure, if judged { "≥ 3,000/s" } else { "" }, judged.then_some(rate >= TARGET));
    }
    Ok(())
}

/// Lets the clients spawn for this long, and returns what they saw and how long it really took.
fn load(server: &Server, clients: usize, length: Duration) -> Outcome<(Vec<ClientLatencies>, Duration)> {
    let numbers = AtomicU64::new(0);
    let connections = (0..clients).map(|_| server.client()).collect::<Outcome<Vec<_>>>()?;
    let began = Instant::now();
    let until = began + length;
    let seen = std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .into_iter()
            .map(|client| scope.spawn(|| one_client(client, &numbers, until)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a client broke")?)
            .collect::<Outcome<Vec<_>>>()
    })?;
    Ok((seen, began.elapsed()))
}

fn one_client(
    mut client: crate::http::Client,
    numbers: &AtomicU64,
    until: Instant,
) -> Outcome<ClientLatencies> {
    let mut latencies = Vec::new();
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        if began > until || number >= MOST {
            return Ok(ClientLatencies { latencies });
        }
        let body = format!(
            r#"{{"taskId":"bench-{number}","agentType":"worker","context":{{"repository":"https://git.example.com/acme/shop.git","branch":"main","workItems":["US-{number}"]}}}}"#
        );
        let (status, answer) = client.send("POST", "/agents/spawn", &body)?;
        if status != 200 && status != 201 {
            return Err(format!("a spawn was answered {status}: {}", String::from_utf8_lossy(answer)).into());
        }
        latencies.push(began.elapsed().as_secs_f64());
    }
}
