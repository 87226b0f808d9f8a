//! Our side of the benchmarks: one measurement per process, as JSON, in the words of `bench.mjs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mosaic_adapters::store_valkey::LinkOptions;
use mosaic_core::domain::ids::Timestamp;
use mosaic_testkit::bare_queue::{Ended, Keep, NewJob, Queue, QueueError};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::admission;

/// The measurement that a process makes: the server's port, the kind, the number of jobs, those in flight, and a job's data.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct What {
    pub(super) port: u16,
    pub(super) prefix: String,
    pub(super) queue: String,
    pub(super) what: String,
    pub(super) count: usize,
    pub(super) flight: usize,
    pub(super) priority: bool,
    pub(super) data: Value,
}

pub(super) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures, and returns the figures.
pub(super) async fn measure(what: What) -> Outcome<Value> {
    let mut figures = match what.what.as_str() {
        "add" => add(what).await?,
        "bulk" => bulk(what).await?,
        "take" => take(what).await?,
        "latency" => latency(what).await?,
        "evalsha" => evalsha(what).await?,
        "admit" => admission::admit(what).await?,
        "turns" => admission::turns(what).await?,
        other => return Err(format!("nothing is called {other}").into()),
    };
    figures["rss"] = json!(rss());
    Ok(figures)
}

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

pub(super) fn options(what: &What) -> LinkOptions {
    LinkOptions {
        host: "127.0.0.1".to_owned(),
        port: what.port,
        prefix: what.prefix.clone(),
        accept_risk: true,
        ..LinkOptions::default()
    }
}

async fn queue(what: &What) -> Outcome<Arc<Queue>> {
    Ok(Arc::new(Queue::connect(what.port, &what.prefix, &what.queue).await?))
}

fn job(what: &What, n: usize) -> NewJob {
    let priority = if what.priority { 1 + u32::try_from(n % 10).unwrap_or(0) } else { 0 };
    let options =
        if priority == 0 { json!({"attempts": 0}) } else { json!({"attempts": 0, "priority": priority}) };
    NewJob {
        id: None,
        name: "spawn".to_owned(),
        data: what.data.to_string(),
        options: options.to_string(),
        priority,
        delay: 0,
        at: now(),
    }
}

pub(super) fn rate(count: usize, since: Instant) -> Value {
    // Exact enough: counts of jobs are far below 2^52.
    json!({"rate": count as f64 / since.elapsed().as_secs_f64()})
}

async fn add(what: What) -> Outcome<Value> {
    let queue = queue(&what).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let what = Arc::new(what);
    let since = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..what.flight {
        let (queue, next, what) = (Arc::clone(&queue), Arc::clone(&next), Arc::clone(&what));
        lanes.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= what.count {
                    return Ok::<(), QueueError>(());
                }
                queue.add(job(&what, n)).await?;
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(rate(what.count, since))
}

async fn bulk(what: What) -> Outcome<Value> {
    let queue = queue(&what).await?;
    let since = Instant::now();
    for _ in 0..what.count / 100 {
        queue.add_bulk((0..100).map(|n| job(&what, n)).collect()).await?;
    }
    Ok(rate(what.count, since))
}

async fn take(what: What) -> Outcome<Value> {
    let queue = queue(&what).await?;
    let ended = Arc::new(AtomicUsize::new(0));
    let since = Instant::now();
    let mut workers = JoinSet::new();
    for n in 0..what.flight {
        let (queue, all, count) = (Arc::clone(&queue), Arc::clone(&ended), what.count);
        workers.spawn(async move {
            let token = format!("bench:{n}");
            let mut done = 0;
            let mut turned = queue.take(&token, 30_000, now()).await?;
            while let Some(job) = turned.next {
                let ended = Ended { id: job.id, result: Ok("null".to_owned()), keep: Keep::AsItsOptionsSay };
                turned = queue.finish_and_take(ended, &token, 30_000, now()).await?;
                assert_eq!(turned.refused, None, "the end of a job was refused");
                done += 1;
                if all.fetch_add(1, Ordering::Relaxed) + 1 >= count {
                    break;
                }
            }
            Ok::<usize, QueueError>(done)
        });
    }
    let mut done = 0;
    while let Some(worker) = workers.join_next().await {
        done += worker??;
    }
    let figures = rate(done, since);
    if done < what.count {
        return Err(format!("only {done} of {} jobs were taken", what.count).into());
    }
    Ok(figures)
}

async fn latency(what: What) -> Outcome<Value> {
    let queue = queue(&what).await?;
    let (tell, mut started) = tokio::sync::mpsc::channel::<Instant>(1);
    let worker = tokio::spawn(work(Arc::clone(&queue), tell));
    let mut took = Vec::new();
    for n in 0..what.count {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let since = Instant::now();
        queue.add(job(&what, n)).await?;
        let start = started.recv().await.ok_or("the worker ended")?;
        took.push(start.duration_since(since).as_secs_f64() * 1e3);
    }
    worker.abort();
    took.sort_by(f64::total_cmp);
    let part = |p: usize| took[(took.len() * p / 100).min(took.len() - 1)];
    Ok(json!({"p50": part(50), "p99": part(99)}))
}

async fn work(queue: Arc<Queue>, tell: tokio::sync::mpsc::Sender<Instant>) -> Outcome<()> {
    let mut waiter = queue.waiter("bench").await?;
    let mut turned = queue.take("bench:w", 30_000, now()).await?;
    loop {
        match turned.next {
            Some(job) => {
                tell.send(Instant::now()).await?;
                let ended = Ended { id: job.id, result: Ok("null".to_owned()), keep: Keep::AsItsOptionsSay };
                turned = queue.finish_and_take(ended, "bench:w", 30_000, now()).await?;
            }
            None => {
                waiter.wait(Duration::from_secs(5)).await?;
                turned = queue.take("bench:w", 30_000, now()).await?;
            }
        }
    }
}

/// Measures the most that the server can do: a script that does nothing with the arguments of a job.
async fn evalsha(what: What) -> Outcome<Value> {
    let client = redis::Client::open(("127.0.0.1", what.port))?;
    let connection = client.get_multiplexed_async_connection().await?;
    let sha: String =
        redis::cmd("SCRIPT").arg("LOAD").arg("return #ARGV").query_async(&mut connection.clone()).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let (what, sha) = (Arc::new(what), Arc::new(sha));
    let since = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..what.flight {
        let (mut connection, next) = (connection.clone(), Arc::clone(&next));
        let (what, sha) = (Arc::clone(&what), Arc::clone(&sha));
        lanes.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < what.count {
                let mut cmd = redis::cmd("EVALSHA");
                cmd.arg(&*sha).arg(0).arg("spawn").arg(what.data.to_string()).arg("{\"attempts\":0}");
                cmd.query_async::<i64>(&mut connection).await?;
            }
            Ok::<(), redis::RedisError>(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(rate(what.count, since))
}
