//! The server's side of the port: starts shims, orders them to stop, and does their work where they are gone.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::limits;
use mosaic_core::ports::processes::{
    Adopted, Job, JobSpec, ProcessError, Processes, Stdin, StopReceipt, Usage,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::adopt;
use super::cgroup::{self, CgroupChoice};
use super::connection::Connection;
use super::containment::Containment;
use super::containment_choice::Chosen;
use super::fence::Fence;
use super::freeze;
use super::job::ShimJob;
use super::job_list;
use super::kill_without_shim::{self, Reach};
use super::layout::{self, JobDir, LAYOUT, ShimFile, SpecFile};
use super::output_reader::OutputReader;
use super::protocol::Request;
use super::rung::Rung;
use super::start_error::StartError;
use super::stop;
use super::stray_cgroups;
use super::usage::Meter;
use crate::bounded_file;
use crate::clock_system::since_boot;
use crate::disk::{self, Lane};
use crate::trash::Trash;

/// Readings of usage under way at once.
const READINGS: usize = 4;

/// Options of jobs under shims.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// The data directory; jobs are recorded in `<data>/agents/<agent>/runs/<job>/`.
    pub data_dir: PathBuf,
    /// Program and first arguments of the shim; the job directory follows. In the product: this very binary and `shim`.
    pub shim_command: Vec<String>,
    /// The choice of cgroups for jobs.
    pub cgroup: CgroupChoice,
    /// Takes what is left of ended jobs; without it that is deleted in place.
    pub trash: Option<Arc<Trash>>,
    /// The soft limit of open files that programs get, where this process has raised its own.
    pub open_files: Option<u64>,
}

/// Jobs under shims.
#[derive(Debug, Clone)]
pub struct ShimProcesses {
    pub(super) options: ProcessOptions,
    chosen: Chosen,
    most_processes: Option<u32>,
    /// Tasks that wait for the shims of this server, so that none stays a zombie. They end with their shims.
    reapers: Arc<Mutex<JoinSet<()>>>,
    meter: Arc<Meter>,
    /// Where usage is read: a disk that hangs keeps a few threads only.
    readings: Lane,
    /// Until when jobs of an agent may run, by [`Clock::elapsed`](mosaic_core::ports::clock::Clock::elapsed).
    leases: Arc<Mutex<HashMap<AgentId, Duration>>>,
}

impl ShimProcesses {
    /// Looks for a place for cgroups; starts nothing.
    pub fn new(options: ProcessOptions) -> Self {
        let chosen = Chosen::look(&options.cgroup);
        Self {
            options,
            chosen,
            most_processes: None,
            reapers: Arc::default(),
            meter: Arc::default(),
            readings: Lane::queued(READINGS),
            leases: Arc::default(),
        }
    }

    /// Returns the directory in which jobs get cgroups, `None` when they run without.
    pub fn cgroups(&self) -> Option<&Path> {
        self.chosen.cgroups.as_deref()
    }

    /// Returns what holds a job together here (`cgroup`, `pid namespace` or `subreaper`) and why.
    pub fn containment(&self) -> (&'static str, String) {
        self.chosen.said()
    }

    /// Says who counts and bounds the processes of a job here.
    pub fn bounded_by(&self) -> &'static str {
        self.chosen.bounded_by()
    }

    /// Ends jobs with more processes at once than this; without it with more than [`limits::JOB_PROCESSES`].
    #[must_use]
    pub fn with_most_processes(mut self, most: u32) -> Self {
        self.most_processes = Some(most);
        self
    }

    /// Starts a job. Every step may block.
    async fn start_now(self, spec: JobSpec) -> Result<Box<dyn Job>, ProcessError> {
        let dir = JobDir::at(layout::runs(&self.options.data_dir, spec.agent).join(spec.name.as_str()));
        if let Some(above) = spec.output.parent() {
            // That it could not be made shows when the output is opened.
            let _ = private_dir(above);
        }
        dir.make().map_err(|e| StartError::Directory(e).of(&dir))?;
        let spec = self.spec_file(spec);
        dir.save(&without_secrets(&spec))?;
        // A caller that gave up while the disk hung is noticed here, before anything runs.
        tokio::task::yield_now().await;
        let mut child = self.spawn(&dir).map_err(|e| StartError::Spawn(e).of(&dir))?;
        // The shim says `ready` after it has recorded who it is. From then on the job outlives this server;
        // before that, this server answers for it.
        let ready = timeout(limits::SHIM_START, Self::await_ready(&mut child, &spec)).await;
        let failure = match ready {
            Ok(Ok(())) => {
                self.reap(child);
                // An extension that came while the shim was starting reached nobody, as the shim had no
                // socket yet, and its specification has the older end.
                let now = self.leases().get(&spec.job.agent).copied();
                if now != spec.lease_until
                    && let Err(e) = self.tell_lease(spec.job.agent, now).await
                {
                    tracing::debug!(job = %dir.label(), error = %e, "a lease that moved while its job began was not told");
                }
                return Self::follow(dir, &spec.job).await;
            }
            Ok(Err(failure)) => failure,
            Err(_) => StartError::Silent,
        };
        // It must not start late.
        // Killing the shim alone is enough to hold it back, not to be sure: it may have started the program a
        // moment ago. So the job is ended without it, which looks at the system.
        let _ = child.start_kill();
        self.reap(child);
        let (late, agent, cgroups) = (dir.clone(), spec.job.agent, self.chosen.cgroups.clone());
        spawn_blocking(move || kill_without_shim::end(&late, agent, Reach::Job, cgroups.as_deref()))
            .await
            .map_err(io::Error::other)??;
        Err(failure.of(&dir))
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<AgentId, Duration>> {
        self.leases.lock()
    }

    /// Tells all running supervisors of the agent when its lease ends.
    async fn tell_lease(&self, agent: AgentId, until: Option<Duration>) -> Result<(), ProcessError> {
        let until_ms = until.map(|until| u64::try_from(until.as_millis()).unwrap_or(u64::MAX));
        let extend = move |id| Request::Extend { id, until_ms };
        freeze::ask_all(&self.options.data_dir, agent, extend).await?;
        Ok(())
    }

    /// Says everything that a shim must know about its job.
    fn spec_file(&self, job: JobSpec) -> SpecFile {
        let name = cgroup::name_of(Some(&self.options.data_dir), job.agent, job.name.as_str());
        let cgroup = self.chosen.cgroups.as_ref().map(|parent| parent.join(&name));
        let namespace = self.chosen.namespace.clone();
        let (lease_until, most_processes) = (self.leases().get(&job.agent).copied(), self.most_processes);
        let fence = self.chosen.fences.as_ref().map(|parent| parent.join(&name));
        let open_files = self.options.open_files;
        SpecFile { version: LAYOUT, job, cgroup, lease_until, namespace, most_processes, fence, open_files }
    }

    /// Starts the shim with nothing inherited but the specification on its standard input.
    fn spawn(&self, dir: &JobDir) -> io::Result<Child> {
        let (program, arguments) =
            self.options.shim_command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let errors =
            // The errors of the shim go to a file and not to a pipe. The shim outlives this server, and a
            // message to a pipe without a reader would end it.
            std::fs::File::options().write(true).create_new(true).open(dir.path().join("shim.err"))?;
        let mut command = Command::new(program);
        command.args(arguments).arg(dir.path()).env_clear().current_dir(dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn()
    }

    /// Hands the specification over and waits until the shim says that the program runs.
    async fn await_ready(child: &mut Child, spec: &SpecFile) -> Result<(), StartError> {
        let (mut input, output) = child.stdin.take().zip(child.stdout.take()).ok_or(StartError::NoPipes)?;
        let text = serde_json::to_vec(spec)?;
        // A shim that refuses closes its end; its answer says why.
        let _ = input.write_all(&text).await;
        drop(input);
        let mut line = String::new();
        let mut output = BufReader::new(output).take(4096);
        output.read_line(&mut line).await?;
        match line.trim_end() {
            "ready" => Ok(()),
            "" => Err(StartError::EndedAtOnce),
            other => Err(StartError::Refused(other.strip_prefix("failed ").unwrap_or(other).to_owned())),
        }
    }

    /// Keeps a task that waits for the shim's end.
    fn reap(&self, mut child: Child) {
        let mut reapers = self.reapers.lock();
        while reapers.try_join_next().is_some() {}
        reapers.spawn(async move {
            // How a shim ended stands in the job directory.
            let _ = child.wait().await;
        });
    }

    /// Follows a job that runs.
    async fn follow(dir: JobDir, spec: &JobSpec) -> Result<Box<dyn Job>, ProcessError> {
        let shim: ShimFile = dir.load()?.ok_or_else(|| ProcessError::Lost(dir.label()))?;
        let reader = OutputReader::open(&spec.output, shim.output_base, spec.output_limit)?;
        // A short job may be over already: then its files say everything.
        let connection = Connection::open(&dir).await.ok();
        Ok(Box::new(ShimJob::new(dir, reader, connection)))
    }
}

/// Makes a directory that only its owner may enter; that it exists already is fine.
fn private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Returns what is written to disk of a specification: no values that may be secret, no long texts.
fn without_secrets(spec: &SpecFile) -> SpecFile {
    let mut public = spec.clone();
    for (_, value) in &mut public.job.env {
        value.clear();
    }
    if let Stdin::Text(text) | Stdin::Open { first: text } = &mut public.job.stdin {
        text.clear();
    }
    public
}

#[async_trait]
impl Processes for ShimProcesses {
    async fn start(&self, spec: JobSpec) -> Result<Box<dyn Job>, ProcessError> {
        let label = format!("{}/{}", spec.agent, spec.name);
        let started = disk::drive_for(limits::SHIM_START * 2, self.clone().start_now(spec)).await;
        let why = "the state directory does not answer".to_owned();
        started.unwrap_or(Err(ProcessError::NotStarted { job: label, why }))
    }

    async fn adopt(&self, agent: AgentId, name: &Word) -> Result<Option<Adopted>, ProcessError> {
        let dir = JobDir::at(layout::runs(&self.options.data_dir, agent).join(name.as_str()));
        let late =
            || ProcessError::Io(io::Error::new(io::ErrorKind::TimedOut, "its job records do not answer"));
        disk::drive_for(limits::SHIM_START * 2, adopt::adopt(dir)).await.unwrap_or_else(|| Err(late()))
    }

    async fn stop(&self, agent: AgentId, grace: Duration) -> Result<StopReceipt, ProcessError> {
        let begun = Instant::now();
        // The records lie where the agent can write: whatever is wrong with them keeps nothing alive, and nothing that
        // they say is believed. The last look asks the system.
        let suspects = stop::suspects(self.options.data_dir.clone(), agent);
        let jobs = disk::drive_for(limits::JOB_POLL + limits::DISK_ANSWER, suspects).await;
        let jobs = jobs.unwrap_or_else(|| {
            tracing::warn!(agent.id = %agent, "the agent's job records do not answer; it is stopped without them");
            Ok(Vec::new())
        })?;
        let parent = self.cgroups();
        let mut receipt = StopReceipt::default();
        let mut rung = Rung::None;
        // Jobs with a living shim first: ending the others looks for everything that is the agent's, without grace.
        let (lost, living): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.is_lost);
        let stops = living.iter().map(|job| stop::stop(&job.dir, agent, grace, parent));
        let mut all = join_all(stops).await;
        all.push(stop::stop_lost(lost, agent, parent).await);
        let mut weakest = None;
        for stopped in all {
            receipt.processes_before += stopped.before;
            rung = rung.max(stopped.rung);
            weakest = weakest.into_iter().chain(stopped.containment).min();
        }
        let (cgroups, fences) = (self.chosen.cgroups.clone(), self.chosen.fences.clone());
        let data = self.options.data_dir.clone();
        let swept = spawn_blocking(move || {
            kill_without_shim::sweep(&data, agent, cgroups.as_deref(), fences.as_deref())
        })
        .await;
        let swept = swept.map_err(io::Error::other)??;
        receipt.processes_after = swept.after;
        if swept.before > 0 {
            receipt.processes_before += swept.before;
            rung = Rung::Sweep;
        }
        receipt.rung = rung.word().to_owned();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let took = begun.elapsed();
        (receipt.took_ms, receipt.past_grace_ms) = (ms(took), ms(took.saturating_sub(grace)));
        receipt.confinement = weakest.map(Containment::word).unwrap_or_default().to_owned();
        if receipt.processes_after > 0 {
            return Err(ProcessError::Survivors(receipt.processes_after));
        }
        Ok(receipt)
    }

    async fn freeze(&self, agent: AgentId) -> Result<u32, ProcessError> {
        Ok(freeze::ask_all(&self.options.data_dir, agent, |id| Request::Freeze { id }).await?.frozen)
    }

    async fn thaw(&self, agent: AgentId) -> Result<u32, ProcessError> {
        Ok(freeze::ask_all(&self.options.data_dir, agent, |id| Request::Thaw { id }).await?.asked)
    }

    async fn frozen_for(&self, agent: AgentId) -> Result<Option<Duration>, ProcessError> {
        Ok(freeze::ask_all(&self.options.data_dir, agent, |id| Request::Status { id }).await?.longest)
    }

    async fn extend(&self, agent: AgentId, until: Option<Duration>) -> Result<(), ProcessError> {
        {
            let mut leases = self.leases();
            match until {
                Some(until) => leases.insert(agent, until),
                None => leases.remove(&agent),
            };
            if leases.len() > limits::USAGE_LEDGERS {
                // Whoever has one that is over is told anew before anything of it starts.
                leases.retain(|_, until| *until > since_boot());
            }
        }
        self.tell_lease(agent, until).await
    }

    async fn usage(&self, agent: AgentId) -> Result<Usage, ProcessError> {
        let (meter, data, cgroups) =
            (Arc::clone(&self.meter), self.options.data_dir.clone(), self.chosen.cgroups.clone());
        let read = move || meter.read(&data, agent, cgroups.as_deref());
        Ok(self.readings.run(limits::DISK_ANSWER, read).await??)
    }

    async fn unfinished(&self) -> Result<Vec<AgentId>, ProcessError> {
        let data = self.options.data_dir.clone();
        Ok(disk::run(move || job_list::unfinished(&data)).await??)
    }

    async fn forget(&self, agent: AgentId) -> Result<(), ProcessError> {
        let runs = layout::runs(&self.options.data_dir, agent);
        let (own, place) = (self.clone_for_removal(), runs.clone());
        disk::run(move || own.remove_jobs(&place, agent)).await??;
        if let Some(parent) = &self.chosen.cgroups {
            stray_cgroups::remove(parent, &self.options.data_dir, agent);
        }
        self.leases().remove(&agent);
        // The last one to release it deletes the agent's directory.
        Ok(disk::run(move || runs.parent().map_or(Ok(()), remove_empty)).await??)
    }

    async fn grouped(&self) -> Result<Vec<AgentId>, ProcessError> {
        let Some(parent) = self.chosen.cgroups.clone() else { return Ok(Vec::new()) };
        let (data, fences) = (self.options.data_dir.clone(), self.chosen.fences.clone());
        Ok(disk::run(move || stray_cgroups::agents(&parent, fences.as_deref(), &data)).await?)
    }
}

/// The settings that the removal of ended jobs needs.
struct Removal {
    cgroups: Option<PathBuf>,
    trash: Option<Arc<Trash>>,
}

impl ShimProcesses {
    fn clone_for_removal(&self) -> Removal {
        Removal { cgroups: self.chosen.cgroups.clone(), trash: self.options.trash.clone() }
    }
}

impl Removal {
    /// Removes the records of jobs that have ended and whatever else lies beside them: the agent could write there. What
    /// a supervisor still works on stays. Blocks.
    fn remove_jobs(&self, runs: &Path, agent: AgentId) -> io::Result<()> {
        let (mut lives, mut ended) = (false, Vec::new());
        for dir in job_list::jobs(runs)? {
            // A supervisor goes right after it wrote the end.
            if !dir.has_ended() && matches!(dir.try_lock(), Ok(None)) {
                lives = true;
            } else {
                ended.push(dir);
            }
        }
        for dir in &ended {
            self.remove_groups(dir, agent)?;
        }
        if !lives {
            return self.discard(runs);
        }
        ended.iter().try_for_each(|dir| self.discard(dir.path()))
    }

    /// Removes an ended job's cgroup and fence.
    fn remove_groups(&self, dir: &JobDir, agent: AgentId) -> io::Result<()> {
        let spec = dir.load::<SpecFile>().unwrap_or_default();
        let recorded = spec.as_ref().and_then(|spec| spec.cgroup.clone());
        if let Some(cgroup) = cgroup::of_job(dir, agent, recorded.as_deref(), self.cgroups.as_deref()) {
            cgroup.remove()?;
        }
        if let Some(fence) = Fence::of_job(dir, agent, spec.and_then(|spec| spec.fence).as_deref()) {
            fence.remove()?;
        }
        Ok(())
    }

    /// Takes a file or directory away, whatever it is.
    fn discard(&self, path: &Path) -> io::Result<()> {
        if let Some(trash) = &self.trash {
            return trash.discard(path);
        }
        let removed = match path.symlink_metadata() {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
            Ok(_) => std::fs::remove_file(path),
            Err(e) => Err(e),
        };
        match removed {
            Err(e) if e.kind() == io::ErrorKind::NotFound || bounded_file::is_wrong_kind(&e) => Ok(()),
            other => other,
        }
    }
}

/// Removes a directory in which nothing is left; one that has something is kept, and so is what is no directory.
fn remove_empty(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir(dir) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Ok(()),
        Err(e) if bounded_file::is_wrong_kind(&e) => Ok(()),
        removed => removed,
    }
}
