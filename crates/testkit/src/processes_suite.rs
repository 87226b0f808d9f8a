//! Requirements on everything that runs jobs, with real programs. What ends with the test cannot be adopted and says so with
//! `adopts: false`.

use std::path::Path;
use std::time::Duration;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::processes::{Exit, Job, JobEvent, JobSpec, Processes, Stdin, Usage};

/// Longest wait of a check for anything.
const DEADLINE: Duration = Duration::from_secs(60);
/// Time that a stopped job has to end by itself.
const GRACE: Duration = Duration::from_millis(200);

/// Something that runs jobs, below a directory of its own.
pub trait ProcessesFixture {
    /// Returns what runs the jobs.
    fn processes(&self) -> &dyn Processes;
    /// Returns a directory for output.
    fn directory(&self) -> &Path;
    /// Forgets everything that is in memory, as the death of a server does. False when nothing outlives it.
    fn restart(&mut self) -> bool;
}

/// Runs every check, each in a fresh place.
pub async fn run<P: ProcessesFixture>(fresh: impl Fn() -> P) {
    a_job_reports_its_output_and_its_end(&fresh()).await;
    a_program_that_is_not_there_is_an_end(&fresh()).await;
    standard_input_reaches_the_program(&fresh()).await;
    a_stop_ends_every_job_counts_and_may_be_repeated(&fresh()).await;
    the_time_limit_ends_a_job(&fresh()).await;
    a_frozen_job_stands_still_until_it_is_thawed(&fresh()).await;
    ended_jobs_are_forgotten(&fresh()).await;
    let mut place = fresh();
    if place.restart() {
        a_job_outlives_its_server_and_is_adopted_from_its_first_byte(fresh()).await;
    }
}

fn spec(place: &impl ProcessesFixture, agent: AgentId, name: &str, script: &str) -> JobSpec {
    JobSpec {
        agent,
        name: name.parse().expect("it is a word"),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned()), ("ONLY".to_owned(), "this".to_owned())],
        cwd: place.directory().to_owned(),
        stdin: Stdin::Null,
        output: place.directory().join(format!("{agent}-{name}.out")),
        output_limit: 1 << 20,
        interrupt: None,
        time_limit: None,
        memo: Some("a note".to_owned()),
    }
}

fn agent() -> AgentId {
    AgentId(uuid::Uuid::new_v4())
}

async fn next(job: &mut dyn Job) -> JobEvent {
    tokio::time::timeout(DEADLINE, job.next()).await.expect("something happens").expect("the job is there")
}

/// Follows a job to its end.
async fn follow(job: &mut dyn Job) -> (String, Exit) {
    let mut output = Vec::new();
    loop {
        match next(job).await {
            JobEvent::Output(bytes) => {
                assert!(!bytes.is_empty() && bytes.len() <= 64 * 1024, "{} bytes", bytes.len());
                output.extend(bytes);
            }
            JobEvent::Gap(bytes) => panic!("{bytes} bytes of little output are missing"),
            JobEvent::Exited(exit) => return (String::from_utf8_lossy(&output).into_owned(), exit),
        }
    }
}

/// Waits until the job has written this line.
async fn until_line(job: &mut dyn Job, line: &str) {
    let mut output = Vec::new();
    while !String::from_utf8_lossy(&output).lines().any(|seen| seen == line) {
        match next(job).await {
            JobEvent::Output(bytes) => output.extend(bytes),
            other => panic!("{other:?} before {line}"),
        }
    }
}

async fn a_job_reports_its_output_and_its_end(place: &impl ProcessesFixture) {
    let spec = spec(
        place,
        agent(),
        "run-1",
        "echo out; echo err >&2; env | grep -c ONLY; test -z \"$HOME\"; exit 3",
    );
    let mut job = place.processes().start(spec.clone()).await.expect("started");
    let (output, exit) = follow(job.as_mut()).await;
    assert_eq!((output.as_str(), exit.code, exit.signal), ("out\n1\n", Some(3), None));
    assert_eq!((exit.output_bytes, exit.stderr_tail.as_str(), exit.timed_out), (6, "err\n", false));
    assert_eq!(std::fs::read_to_string(spec.output).expect("the output is kept"), "out\n1\n");
}

async fn a_program_that_is_not_there_is_an_end(place: &impl ProcessesFixture) {
    let mut spec = spec(place, agent(), "run-1", "");
    spec.command = vec!["/nonexistent/program".to_owned()];
    let mut job = place.processes().start(spec).await.expect("a job, whose end says why");
    let (_, exit) = follow(job.as_mut()).await;
    assert!(exit.start_error.is_some() && exit.code.is_none(), "{exit:?}");
}

async fn standard_input_reaches_the_program(place: &impl ProcessesFixture) {
    let text =
        JobSpec { stdin: Stdin::Text("all of it\n".to_owned()), ..spec(place, agent(), "run-1", "cat") };
    let mut job = place.processes().start(text).await.expect("started");
    assert_eq!(follow(job.as_mut()).await.0, "all of it\n");
    let first = Stdin::Open { first: "first\n".to_owned() };
    let open = JobSpec { stdin: first, ..spec(place, agent(), "run-1", "cat") };
    let mut job = place.processes().start(open).await.expect("started");
    job.write(b"second\n").await.expect("written");
    job.close_stdin().await.expect("closed");
    job.close_stdin().await.expect("closing it again changes nothing");
    let (output, exit) = follow(job.as_mut()).await;
    assert_eq!((output.as_str(), exit.code), ("first\nsecond\n", Some(0)));
}

async fn a_stop_ends_every_job_counts_and_may_be_repeated(place: &impl ProcessesFixture) {
    let (one, other) = (agent(), agent());
    let nothing = place.processes().stop(one, GRACE).await.expect("nothing to stop");
    assert_eq!((nothing.processes_before, nothing.processes_after), (0, 0));
    // The jobs ignore SIGTERM, so that the stop has to go on past its grace.
    let script = "echo ready; trap '' TERM; while :; do sleep 0.1; done";
    let mut jobs = Vec::new();
    for (id, name) in [(one, "run-1"), (one, "gate-1"), (other, "run-1")] {
        let mut job = place.processes().start(spec(place, id, name, script)).await.expect("started");
        until_line(job.as_mut(), "ready").await;
        jobs.push(job);
    }
    let mut unfinished = place.processes().unfinished().await.expect("listed");
    unfinished.sort_unstable();
    let mut both = vec![one, other];
    both.sort_unstable();
    assert_eq!(unfinished, both);
    let stop = place.processes().stop(one, GRACE);
    let receipt = tokio::time::timeout(DEADLINE, stop).await.expect("a stop ends").expect("stopped");
    assert!(receipt.processes_before >= 2 && receipt.processes_after == 0, "{receipt:?}");
    for job in &mut jobs[..2] {
        let (_, exit) = follow(job.as_mut()).await;
        assert!(exit.code != Some(0), "{exit:?}");
    }
    let again = place.processes().stop(one, GRACE).await.expect("stopped again");
    assert_eq!((again.processes_before, again.processes_after), (0, 0));
    assert_eq!(place.processes().unfinished().await.expect("listed"), [other], "another agent runs on");
    place.processes().stop(other, Duration::ZERO).await.expect("stopped");
}

async fn the_time_limit_ends_a_job(place: &impl ProcessesFixture) {
    let limit = Some(Duration::from_millis(300));
    let spec = JobSpec { time_limit: limit, ..spec(place, agent(), "run-1", "exec sleep 600") };
    let mut job = place.processes().start(spec).await.expect("started");
    let (_, exit) = follow(job.as_mut()).await;
    assert!(exit.timed_out && exit.code.is_none(), "{exit:?}");
}

async fn a_frozen_job_stands_still_until_it_is_thawed(place: &impl ProcessesFixture) {
    let id = agent();
    assert_eq!(place.processes().freeze(id).await.expect("nothing to freeze"), 0);
    let stdin = Stdin::Open { first: String::new() };
    let spec = JobSpec { stdin, ..spec(place, id, "run-1", "echo ready; read -r line; echo \"$line\"") };
    let mut job = place.processes().start(spec).await.expect("started");
    until_line(job.as_mut(), "ready").await;
    assert_eq!(place.processes().frozen_for(id).await.expect("looked"), None);
    for _ in 0..2 {
        assert_eq!(place.processes().freeze(id).await.expect("frozen"), 1);
    }
    assert!(place.processes().frozen_for(id).await.expect("looked").is_some());
    // It would answer at once if it ran: what it does not say while it stands still, it says afterwards.
    job.write(b"after the thaw\n").await.expect("written");
    assert_eq!(place.processes().thaw(id).await.expect("thawed"), 1);
    assert_eq!(place.processes().frozen_for(id).await.expect("looked"), None);
    let (output, exit) = follow(job.as_mut()).await;
    assert_eq!((output.as_str(), exit.code), ("after the thaw\n", Some(0)));
}

async fn ended_jobs_are_forgotten(place: &impl ProcessesFixture) {
    let id = agent();
    let mut job = place.processes().start(spec(place, id, "run-1", "true")).await.expect("started");
    assert_eq!(follow(job.as_mut()).await.1.code, Some(0));
    assert!(place.processes().unfinished().await.expect("listed").is_empty());
    assert_eq!(
        place.processes().usage(id).await.expect("measured").memory_bytes,
        Usage::default().memory_bytes
    );
    for _ in 0..2 {
        place.processes().forget(id).await.expect("forgotten");
    }
    let name = "run-1".parse().expect("it is a word");
    assert!(place.processes().adopt(id, &name).await.expect("looked").is_none(), "it is forgotten");
}

async fn a_job_outlives_its_server_and_is_adopted_from_its_first_byte(mut place: impl ProcessesFixture) {
    let id = agent();
    let stdin = Stdin::Open { first: String::new() };
    let spec =
        JobSpec { stdin, ..spec(&place, id, "run-1", "echo ready; read -r line; echo \"$line\"; exit 4") };
    let name = spec.name.clone();
    let mut job = place.processes().start(spec).await.expect("started");
    until_line(job.as_mut(), "ready").await;
    drop(job);
    assert!(place.restart());
    assert_eq!(place.processes().unfinished().await.expect("listed"), [id]);
    let unknown = "run-2".parse().expect("it is a word");
    assert!(place.processes().adopt(id, &unknown).await.expect("looked").is_none());
    let adopted = place.processes().adopt(id, &name).await.expect("looked").expect("it runs on");
    assert_eq!((adopted.memo.as_deref(), adopted.rebooted), (Some("a note"), false));
    let mut job = adopted.job;
    until_line(job.as_mut(), "ready").await;
    job.write(b"to the next server\n").await.expect("written");
    let (output, exit) = follow(job.as_mut()).await;
    assert_eq!((output.as_str(), exit.code), ("to the next server\n", Some(4)));
    // Also one that has ended is adopted, with everything that it said.
    let mut ended = place.processes().adopt(id, &name).await.expect("looked").expect("it has ended").job;
    let (output, exit) = follow(ended.as_mut()).await;
    assert_eq!((output.as_str(), exit.code), ("ready\nto the next server\n", Some(4)));
}
