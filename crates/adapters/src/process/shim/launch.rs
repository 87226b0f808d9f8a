//! Starts a job's program: inside its cgroup from its first instruction, with pipes of ours and nothing inherited.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use mosaic_core::limits;
use mosaic_core::ports::processes::{JobSpec, Stdin};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::super::cgroup::{self, Cgroup};
use super::super::containment::Containment;
use super::super::fence::Fence;
use super::super::layout::{JobDir, LAYOUT, ShimFile, SpecFile};
use super::super::linux;
use super::super::output_writer::{ErrorTail, OutputWriter};
use super::super::variables::{AGENT_VARIABLE, JOB_VARIABLE};
use super::clients::Clients;
use super::ladder::Ladder;
use super::stdin::StdinQueue;
use super::supervisor::{Main, Supervisor};
use super::{namespace, priority};

/// Opens everything the job needs, starts it and records who supervises it. A program that cannot be started is
/// not an error here: the supervisor then ends at once and reports it.
pub(super) fn launch(dir: JobDir, spec: SpecFile) -> io::Result<Supervisor> {
    // The socket is there before the program runs, since a server connects as soon as it reads that the
    // program was started.
    let clients = Clients::listen()?;
    let output = OutputWriter::open(&spec.job.output, spec.job.output_limit)?;
    let errors = ErrorTail::open(&spec.job.output);
    let Started { cgroup, fence, namespace, child } = start_inside(&spec, &dir);
    let (child, start_error) = match child {
        Ok(child) => (Some(child), None),
        Err(e) => (None, Some(explain(&spec.job, &e))),
    };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    // The start time is read while the child cannot have given its number away: only this process buries it,
    // and it has not yet.
    let process = |pid: i32| linux::look(pid).map(|seen| seen.process);
    let record = ShimFile {
        version: LAYOUT,
        shim: process(own).ok_or_else(|| io::Error::other("/proc is not mounted"))?,
        child: child.as_ref().and_then(|child| process(i32::try_from(child.id()).ok()?)),
        boot_id: linux::boot_id(),
        cgroup: cgroup.as_ref().and(spec.cgroup.clone()),
        fence: fence.as_ref().and(spec.fence.clone()),
        output_base: output.base(),
        containment: Containment::Subreaper,
    };
    let main = child.map(|child| watch(child, &spec.job.stdin)).transpose()?;
    let mut ladder = Ladder::new(own, cgroup);
    ladder.fence = fence;
    ladder.namespace = main.as_ref().map(|main| main.pid).filter(|_| namespace);
    let record = ShimFile { containment: ladder.containment(), ..record };
    let mut supervisor = Supervisor::new(dir, &spec, main, start_error, clients, output, errors, ladder);
    if let Err(e) = supervisor.dir.save(&record) {
        // Without the record nobody could find the job later, so it must not run.
        supervisor.ladder.order(Instant::now(), std::time::Duration::ZERO, false);
        supervisor.run()?;
        return Err(e);
    }
    Ok(supervisor)
}

/// A program that was started, or why not, and what holds it.
struct Started {
    /// None when it could not be used.
    cgroup: Option<Cgroup>,
    fence: Option<Fence>,
    /// A pid namespace was made, for want of a cgroup.
    namespace: bool,
    child: io::Result<Child>,
}

/// Starts the program with this process inside cgroup and fence for that moment, so that it is born there: moving it
/// afterwards would lose what it forks meanwhile.
fn start_inside(spec: &SpecFile, dir: &JobDir) -> Started {
    let tasks =
        spec.most_processes.unwrap_or(limits::JOB_PROCESSES).saturating_mul(limits::TASKS_PER_PROCESS);
    let cgroup = spec.cgroup.as_deref().map(Cgroup::at);
    let home = cgroup.as_ref().and_then(|_| cgroup::home());
    let cgroup = cgroup.filter(|cgroup| cgroup.make(tasks).and_then(|_| cgroup.enter()).is_ok());
    let fence = spec.fence.as_deref().map(Fence::at).filter(|fence| fence.enter(tasks).is_ok());
    let maker = spec.namespace.as_ref().filter(|_| cgroup.is_none());
    let confined = maker.and_then(|maker| namespace::command(maker, &spec.job, dir, tasks).ok());
    let namespace = confined.is_some();
    let command = prepare(confined.unwrap_or_else(|| plain(&spec.job)), &spec.job, dir);
    let spawn = if namespace { priority::spawn_helper } else { priority::spawn };
    let child = spawn(command, spec.open_files);
    // Killing what this process is in would kill this process too, and closing it would bind it: do without.
    let fence = fence.filter(|fence| fence.leave().is_ok());
    let cgroup = cgroup.filter(|inside| inside.leave(home.as_deref()).is_ok());
    Started { cgroup, fence, namespace, child }
}

/// Returns the program's own command.
fn plain(job: &JobSpec) -> Command {
    let (program, arguments) =
        job.command.split_first().map_or(("", &[][..]), |(p, rest)| (p.as_str(), rest));
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Gives a command the job's directory, environment and pipes.
fn prepare(mut command: Command, job: &JobSpec, dir: &JobDir) -> Command {
    // In a group of its own the program may signal its whole group, as shells do at their end, without
    // hitting its supervisor.
    command.current_dir(&job.cwd).process_group(0);
    command.env_clear().envs(job.env.iter().map(|(name, value)| (name, value)));
    if !job.env.iter().any(|(name, _)| name == AGENT_VARIABLE) {
        command.env(AGENT_VARIABLE, job.agent.to_string());
    }
    command.env(JOB_VARIABLE, dir.path());
    let stdin = if job.stdin == Stdin::Null { Stdio::null() } else { Stdio::piped() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Says why a program could not be started.
fn explain(job: &JobSpec, error: &io::Error) -> String {
    let program = job.command.first().map_or("", String::as_str);
    if job.cwd.is_dir() {
        format!("cannot start {program}: {error}")
    } else {
        format!("cannot start {program}: its working directory {} is not there", job.cwd.display())
    }
}

/// Takes over a started program's pipes.
fn watch(mut child: Child, stdin: &Stdin) -> io::Result<Main> {
    let pid = Pid::from_child(&child);
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let pipes =
        [input.as_ref().map(AsFd::as_fd), output.as_ref().map(AsFd::as_fd), errors.as_ref().map(AsFd::as_fd)];
    // Whether a call blocks is a property of the open file, and the two ends of a pipe are two open files. So
    // the program does not notice that our end never blocks.
    for pipe in pipes.into_iter().flatten() {
        rustix::io::ioctl_fionbio(pipe, true)?;
    }
    let stdin = StdinQueue::new(input, stdin);
    Ok(Main { pid: pid.as_raw_nonzero().get(), handle, stdin, stdout: output, stderr: errors })
}
