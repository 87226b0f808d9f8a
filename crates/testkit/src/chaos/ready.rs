//! Time until a server with many records is ready: operators wait for it after every restart.

use std::time::{Duration, Instant};

use serde_json::json;

use super::scene::Scene;
use super::{Outcome, Programs};

/// Callers at once while the records are made.
const CALLERS: usize = 8;
/// Most waiting records among them; the others have ended.
const WAITING: usize = 1000;

/// Measured times of several starts.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Records in the store.
    pub records: usize,
    /// From the start of the program to its first `/health/ready` with 200, in order.
    pub times: Vec<Duration>,
}

/// Fills a store with ended records and some that wait, then starts servers on it and waits until each is ready.
pub fn measure(programs: &Programs, records: usize, starts: u32) -> Outcome<Ready> {
    let mut scene = Scene::new(programs, 1)?;
    scene.deadline = Instant::now() + Duration::from_secs(1800);
    // Nothing starts here: what is measured is the store, not agents.
    scene.call("POST", "/v1/queue/pause", None, Some(&json!({"reason": "measuring"})))?;
    let waiting = records.min(WAITING);
    fill(&mut scene, "ended", records - waiting)?;
    scene.call("POST", "/v1/agents/kill-all", None, Some(&json!({"reason": "measuring"})))?;
    fill(&mut scene, "waits", waiting)?;
    let mut times = Vec::new();
    for _ in 0..starts {
        scene.kill_9();
        let begun = Instant::now();
        let api = scene.api()?;
        while !matches!(api.send("GET", "/health/ready", None, None), Ok(answer) if answer.status == 200) {
            if begun.elapsed() > Duration::from_secs(120) {
                return Err("the server is not ready after two minutes".to_owned());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        times.push(begun.elapsed());
    }
    Ok(Ready { records, times })
}

fn fill(scene: &mut Scene, name: &str, count: usize) -> Outcome<()> {
    let api = scene.api()?;
    let (place, api) = (&scene.place, &api);
    let one = |n: usize| -> Outcome<()> {
        let answer = api.send("POST", "/v1/agents", None, Some(&place.task(&format!("{name}-{n}"), 0)))?;
        if answer.is_success() { Ok(()) } else { Err(format!("a spawn was answered {answer}")) }
    };
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| scope.spawn(move || (caller..count).step_by(CALLERS).try_for_each(one)))
            .collect();
        callers.into_iter().try_for_each(|caller| caller.join().map_err(|_| "a caller broke".to_owned())?)
    })
}
