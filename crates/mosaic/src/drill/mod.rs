//! `mosaic drill`: proves on this machine that a kill leaves nothing alive. Agents in every escape shape run under a
//! server of their own; each shape is killed one agent at a time, then the switch is thrown on all of them together.
//! What is counted is what the system's process table says, not what our records say.

mod report;
mod shapes;
mod stage;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use mosaic_api::Killed;

use crate::config::Config;
use crate::interrupt::Interrupts;
use crate::sent::Sent;
use crate::wire;
pub(crate) use report::Report;
use report::{Row, Switch};
use shapes::{SHAPES, Shape};
pub(crate) use shapes::{SUBCOMMAND, drill_agent_main};
use stage::{Stage, marked};

/// Looks at the process table after a kill: a survivor may hide from one between a fork and its parent's end.
const LOOKS: u32 = 5;
/// Time between two of them: a hydra's processes live 5 ms.
const BETWEEN: Duration = Duration::from_millis(10);

/// Runs the drill with so many agents of each shape. Nothing of it is left afterwards, however it ends.
pub(crate) fn drill(config: &Config, agents: u64, interrupts: &Interrupts) -> anyhow::Result<Report> {
    let (confinement, why) = wire::held_together_by(config);
    let slots = usize::try_from(agents).unwrap_or(1) * SHAPES.len();
    let stage = Stage::set(config, slots, interrupts)?;
    let mut rows = Vec::new();
    for shape in SHAPES {
        rows.push(one_by_one(&stage, shape, agents, interrupts)?);
    }
    let switch = all_at_once(&stage, agents, interrupts)?;
    Ok(Report { confinement, why, rows, switch })
}

/// Starts the agents of a shape and kills each for itself.
fn one_by_one(stage: &Stage, shape: Shape, agents: u64, interrupts: &Interrupts) -> anyhow::Result<Row> {
    let ids = start(stage, &[shape], 1..=agents, interrupts)?;
    let before = (1..=agents).map(|n| marked(&stage.mark_of(shape, n))).sum();
    let answers: Vec<Sent<Killed>> = std::thread::scope(|scope| {
        let kills: Vec<_> = ids.iter().map(|id| scope.spawn(|| stage.kill(id))).collect();
        let joined = kills.into_iter().map(|kill| kill.join().ok().context("a kill broke")?);
        joined.collect::<anyhow::Result<_>>()
    })?;
    let after = (1..=agents).map(|n| left(&stage.mark_of(shape, n))).sum();
    Ok(Row::of(shape, agents, before, after, &answers))
}

/// Starts agents of every shape and throws the switch.
fn all_at_once(stage: &Stage, agents: u64, interrupts: &Interrupts) -> anyhow::Result<Switch> {
    let ids = start(stage, &SHAPES, agents + 1..=agents * 2, interrupts)?;
    let before = marked(stage.mark());
    let begun = Instant::now();
    let answer = stage.kill_all()?;
    let took = begun.elapsed();
    Ok(Switch::of(ids.len(), before, left(stage.mark()), took, &answer))
}

/// Starts agents and waits until all of their processes are there.
fn start(
    stage: &Stage,
    shapes: &[Shape],
    numbers: std::ops::RangeInclusive<u64>,
    interrupts: &Interrupts,
) -> anyhow::Result<Vec<String>> {
    let each = || shapes.iter().flat_map(|shape| numbers.clone().map(|n| (*shape, n)));
    let ids = each().map(|(shape, n)| stage.spawn(shape, n)).collect::<anyhow::Result<_>>()?;
    for (shape, n) in each() {
        stage.await_up(shape, n, interrupts)?;
    }
    Ok(ids)
}

/// Returns the most processes that several looks find.
fn left(mark: &str) -> usize {
    let look = |_| {
        std::thread::sleep(BETWEEN);
        marked(mark)
    };
    (0..LOOKS).map(look).max().unwrap_or(0)
}
