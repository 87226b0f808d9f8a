//! Jobs that end when the test says so, and supervisors that end them with their lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::ports::processes::{
    Adopted, Exit, Job, JobEvent, JobSpec, ProcessError, Processes, StopReceipt, Usage,
};
use tokio::sync::watch;

use super::knobs;
use super::world::{AgentOnNode, Behaviour, FakeWorld, Part, Program};

impl FakeWorld {
    /// Ends a program when its lease is over, whatever becomes of its server.
    fn supervise(self: &Arc<Self>, place: AgentOnNode) {
        let world = Arc::clone(self);
        let mut until = world.lease(&place);
        let Some(mut stopped) = world.alive.lock().get(&place).map(|program| program.stop.subscribe()) else {
            return;
        };
        // Ends with the program, at the latest with the test's runtime.
        tokio::spawn(async move {
            loop {
                let left = match *until.borrow_and_update() {
                    Some(until) => until.saturating_sub(knobs::elapsed()),
                    None => Duration::from_secs(1 << 30),
                };
                if left.is_zero() {
                    break;
                }
                tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    () = tokio::time::sleep(left) => {}
                    changed = until.changed() => if changed.is_err() { return },
                }
            }
            if let Some(program) = world.alive.lock().remove(&place) {
                program.lapsed.store(true, Ordering::SeqCst);
                program.stop.send_replace(true);
            }
        });
    }

    fn lease(&self, place: &AgentOnNode) -> watch::Receiver<Option<Duration>> {
        self.leases.lock().entry(place.clone()).or_insert_with(|| watch::Sender::new(None)).subscribe()
    }
}

/// A program of an agent that runs until it is stopped or the world releases it.
struct FakeJob {
    world: Arc<FakeWorld>,
    place: AgentOnNode,
    task: String,
    stopped: watch::Receiver<bool>,
    lapsed: Arc<AtomicBool>,
    speech: watch::Receiver<u64>,
}

fn exit(code: Option<i32>) -> Exit {
    Exit {
        code,
        signal: if code.is_none() { Some(15) } else { None },
        timed_out: false,
        leaked: 0,
        output_bytes: 0,
        stderr_tail: String::new(),
        ..Exit::default()
    }
}

#[async_trait]
impl Job for FakeJob {
    async fn next(&mut self) -> Result<JobEvent, ProcessError> {
        let mut behaviour = self.world.behaviour.subscribe();
        let (quick, crash) = (self.task.starts_with("quick-"), self.task.starts_with("crash-"));
        let code = tokio::select! {
            // A stop wins over an end of the same moment. Left to chance, a test about kills would now and then see a
            // program that ended by itself.
            biased;
            // Errors when the stop took the sender away, which is the stop.
            _ = self.stopped.wait_for(|stopped| *stopped) => None,
            ended = behaviour.wait_for(|b| match b {
                Behaviour::RunOn => false,
                Behaviour::ByTask => quick || crash,
                Behaviour::EndAtOnce | Behaviour::CrashAtOnce => true,
            }) => Some(i32::from(ended.is_ok_and(|b| match *b {
                Behaviour::CrashAtOnce => true,
                Behaviour::ByTask => crash,
                Behaviour::EndAtOnce | Behaviour::RunOn => false,
            }))),
            _ = self.speech.changed() => return Ok(JobEvent::Output(b"still here\n".to_vec())),
        };
        if let Some(program) = self.world.alive.lock().remove(&self.place) {
            program.stop.send_replace(true);
        }
        let lapsed = self.lapsed.load(Ordering::SeqCst);
        Ok(JobEvent::Exited(Exit { lapsed, receipt: self.world.knobs.receipt(), ..exit(code) }))
    }
    async fn write(&mut self, bytes: &[u8]) -> Result<(), ProcessError> {
        self.world.knobs.tell(self.place.1, bytes);
        Ok(())
    }
    async fn answer(&mut self, _: u64, bytes: &[u8]) -> Result<(), ProcessError> {
        self.write(bytes).await
    }
    async fn close_stdin(&mut self) -> Result<(), ProcessError> {
        Ok(())
    }
}

/// A job that has ended already: a harvest.
struct EndedJob;

#[async_trait]
impl Job for EndedJob {
    async fn next(&mut self) -> Result<JobEvent, ProcessError> {
        Ok(JobEvent::Exited(exit(Some(0))))
    }
    async fn write(&mut self, _: &[u8]) -> Result<(), ProcessError> {
        Ok(())
    }
    async fn answer(&mut self, _: u64, _: &[u8]) -> Result<(), ProcessError> {
        Ok(())
    }
    async fn close_stdin(&mut self) -> Result<(), ProcessError> {
        Ok(())
    }
}

#[async_trait]
impl Processes for Part {
    async fn start(&self, spec: JobSpec) -> Result<Box<dyn Job>, ProcessError> {
        if !spec.name.as_str().starts_with("run-") {
            return Ok(Box::new(EndedJob));
        }
        let place = self.place(spec.agent);
        let program = Program { stop: watch::Sender::new(false), lapsed: Arc::default() };
        let (stopped, lapsed) = (program.stop.subscribe(), Arc::clone(&program.lapsed));
        {
            let mut alive = self.0.alive.lock();
            // A second program is counted and not refused, on whatever node it runs: the test asserts at its end that
            // there never was one, and sees what would follow.
            if alive.keys().any(|(_, agent)| *agent == spec.agent) {
                self.0.double_runs.fetch_add(1, Ordering::SeqCst);
            }
            alive.insert(place.clone(), program);
        }
        self.0.supervise(place.clone());
        let speech = self.0.knobs.speech.subscribe();
        let task = spec.env.into_iter().find(|(name, _)| name == "MOSAIC_TASK_ID");
        let task = task.map(|(_, id)| id).unwrap_or_default();
        self.0.tasks.lock().insert(spec.agent, task.clone());
        Ok(Box::new(FakeJob { world: Arc::clone(&self.0), place, task, stopped, lapsed, speech }))
    }
    async fn adopt(&self, agent: AgentId, _: &Word) -> Result<Option<Adopted>, ProcessError> {
        let place = self.place(agent);
        let alive = self.0.alive.lock();
        let found = alive.get(&place).map(|p| (p.stop.subscribe(), Arc::clone(&p.lapsed)));
        Ok(found.map(|(stopped, lapsed)| {
            let speech = self.0.knobs.speech.subscribe();
            let task = self.0.tasks.lock().get(&agent).cloned().unwrap_or_default();
            let job = Box::new(FakeJob { world: Arc::clone(&self.0), place, task, stopped, lapsed, speech });
            Adopted { job, memo: None, rebooted: false }
        }))
    }
    async fn extend(&self, agent: AgentId, until: Option<Duration>) -> Result<(), ProcessError> {
        let place = self.place(agent);
        drop(self.0.lease(&place));
        if let Some(lease) = self.0.leases.lock().get(&place) {
            lease.send_replace(until);
        }
        Ok(())
    }
    async fn stop(&self, agent: AgentId, _: Duration) -> Result<StopReceipt, ProcessError> {
        self.0.frozen.lock().remove(&agent);
        self.0.stops.lock().push(agent);
        let stopped = self.0.alive.lock().remove(&self.place(agent));
        let processes_before = u32::from(stopped.is_some());
        if let Some(program) = stopped {
            program.stop.send_replace(true);
        }
        Ok(StopReceipt {
            processes_before,
            rung: "term".to_owned(),
            confinement: "fake".to_owned(),
            ..StopReceipt::default()
        })
    }
    async fn freeze(&self, agent: AgentId) -> Result<u32, ProcessError> {
        self.0.freezes.send_modify(|begun| *begun += 1);
        let _ = self.0.freezes_held.subscribe().wait_for(|held| !held).await;
        let runs = self.runs_here(agent);
        if runs {
            self.0.frozen.lock().insert(agent);
        }
        Ok(u32::from(runs))
    }
    async fn thaw(&self, agent: AgentId) -> Result<u32, ProcessError> {
        self.0.frozen.lock().remove(&agent);
        Ok(u32::from(self.runs_here(agent)))
    }
    async fn frozen_for(&self, agent: AgentId) -> Result<Option<Duration>, ProcessError> {
        Ok(self.0.frozen.lock().contains(&agent).then_some(Duration::ZERO))
    }
    async fn usage(&self, _: AgentId) -> Result<Usage, ProcessError> {
        Ok(self.0.knobs.usage())
    }
    async fn unfinished(&self) -> Result<Vec<AgentId>, ProcessError> {
        Ok(self.0.alive_on(self.1.as_str()))
    }
    async fn forget(&self, _: AgentId) -> Result<(), ProcessError> {
        Ok(())
    }
    async fn grouped(&self) -> Result<Vec<AgentId>, ProcessError> {
        Ok(Vec::new())
    }
}
