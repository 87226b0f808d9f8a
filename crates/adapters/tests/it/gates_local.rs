//! The local gatekeeper judges real checkouts with real commands.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use mosaic_adapters::gates_local::{GateOptions, KnownFiles, LocalGatekeeper, Trust};
use mosaic_adapters::isolation::Isolator;
use mosaic_adapters::private_dirs::PrivateDirs;
use mosaic_adapters::sandbox_none::NoSandbox;
use mosaic_adapters::secret_scan::RuleScanner;
use mosaic_adapters::trash::Trash;
use mosaic_core::domain::changed_lines::ChangedLines;
use mosaic_core::domain::gates::{
    GateOutcome, GatePlan, GateReport, GateResult, Isolation, Quarantined, Verdict,
};
use mosaic_core::domain::ids::{AgentId, CommitId, Timestamp, Word};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::spec::GateProfile;
use mosaic_core::ports::clock::Clock;
use mosaic_core::ports::gatekeeper::{Gatekeeper, JudgeRequest, PlanRequest};
use mosaic_core::ports::processes::{Adopted, Job, JobSpec, ProcessError, Processes, StopReceipt, Usage};
use mosaic_core::ports::runtime::AgentEvent;
use mosaic_core::ports::sandbox::Purpose;
use mosaic_core::ports::transcripts::{Checkpoint, Line, Shelved, TranscriptCursor, Transcripts};
use mosaic_testkit::fakes::gatekeeper::{CheckedOut, judge_request};
use mosaic_testkit::fakes::plain_processes::PlainProcesses;
use tokio::sync::watch;

mod reports;

pub(crate) struct Logs(pub(crate) PathBuf);

#[async_trait]
impl Transcripts for Logs {
    async fn append(
        &self,
        _: AgentId,
        _: Timestamp,
        _: u32,
        _: Checkpoint,
        _: Vec<AgentEvent>,
    ) -> std::io::Result<()> {
        Ok(())
    }
    async fn cursor(&self, _: AgentId, _: u32) -> std::io::Result<TranscriptCursor> {
        Ok(TranscriptCursor::default())
    }
    async fn read(&self, _: AgentId, _: u64, _: usize) -> std::io::Result<Vec<Line>> {
        Ok(Vec::new())
    }
    fn watch(&self, _: AgentId) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
    fn raw(&self, _: AgentId, run: u32) -> PathBuf {
        self.0.join(format!("run-{run}"))
    }
    async fn raw_files(&self, _: AgentId) -> std::io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
    async fn piece(&self, _: AgentId, _: &Path, _: u64, _: usize) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
    fn log(&self, _: AgentId, name: &str) -> PathBuf {
        self.0.join(name)
    }
    async fn shelved(&self) -> std::io::Result<Vec<Shelved>> {
        Ok(Vec::new())
    }
    async fn size(&self, _: AgentId) -> std::io::Result<u64> {
        Ok(0)
    }
    async fn discard(&self, _: AgentId) -> std::io::Result<u64> {
        Ok(0)
    }
}

pub(crate) struct Wall;

#[async_trait]
impl Clock for Wall {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
    fn elapsed(&self) -> Duration {
        mosaic_testkit::fakes::knobs::elapsed()
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

fn agent() -> AgentId {
    "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a".parse().unwrap()
}

/// A checkout with a gatekeeper around it.
struct World {
    home: tempfile::TempDir,
    processes: Arc<PlainProcesses>,
    trust: Trust,
    quarantine: Vec<Quarantined>,
    changed: Option<Vec<ChangedLines>>,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("tree")).unwrap();
        std::fs::create_dir_all(home.path().join("logs")).unwrap();
        let processes = Arc::new(PlainProcesses::new());
        Self { home, processes, trust: Trust::All, quarantine: Vec::new(), changed: None }
    }

    fn tree(&self) -> PathBuf {
        self.home.path().join("tree")
    }

    /// Judges the checkout by these definitions, all of which are wanted in this order.
    async fn judge(&self, gates: &[&str], config: &str) -> GateReport {
        let judged = self.judge_with(self.processes.clone(), "tree", gates, config).await.unwrap();
        assert!(!self.tree().exists(), "what was judged is deleted");
        std::fs::create_dir(self.tree()).unwrap();
        judged
    }

    async fn judge_with(
        &self,
        processes: Arc<dyn Processes>,
        checkout: &str,
        gates: &[&str],
        config: &str,
    ) -> Result<GateReport, Failure> {
        let trash = Arc::new(Trash::new(self.home.path()));
        let dirs = PrivateDirs::new(self.home.path(), "/usr/local/bin:/usr/bin:/bin", Arc::clone(&trash))
            .passing(vec![("CI".to_owned(), "no".to_owned())]);
        let keeper = LocalGatekeeper::new(GateOptions {
            processes,
            transcripts: Arc::new(Logs(self.home.path().join("logs"))),
            clock: Arc::new(Wall),
            scanner: Arc::new(RuleScanner::new()),
            trust: self.trust.clone(),
            trash,
            sandbox: Arc::new(NoSandbox::new(dirs)),
            isolator: Arc::new(Isolator::off("this test needs none")),
            at_once: 2,
            variable: Arc::new(|name| (name == "ASKED_FOR").then(|| "given".to_owned())),
        });
        let commit: CommitId = "9f31c2a0".repeat(5).parse().unwrap();
        let custom: Vec<Word> = gates.iter().map(|name| name.parse().unwrap()).collect();
        let files = Arc::new(KnownFiles::from_iter([(".mosaic/config.toml", config)]));
        let wanted = PlanRequest { profile: GateProfile::Custom, custom: &custom, base: &commit, files };
        let plan = GatePlan { quarantine: self.quarantine.clone(), ..keeper.plan(wanted).await.unwrap() };
        let source = Arc::new(CheckedOut(self.home.path().join(checkout)));
        let request =
            JudgeRequest { changed_lines: self.changed.clone(), ..judge_request(agent(), commit, plan) };
        let judged = keeper.judge(request, source);
        tokio::time::timeout(Duration::from_secs(60), judged).await.expect("gates end in time")
    }

    async fn judge_one(&self, definition: &str) -> GateResult {
        let report = self.judge(&["gate"], &format!("[gates]\ngate = {definition}\n")).await;
        let [result] = <[GateResult; 1]>::try_from(report.results).unwrap();
        let passed = result.outcome == GateOutcome::Pass;
        assert_eq!(report.verdict == Verdict::Passed, passed, "{result:?}");
        result
    }
}

#[tokio::test]
async fn every_gate_runs_in_a_checkout_of_its_own_and_all_of_them_run() {
    let world = World::new();
    std::fs::write(world.tree().join("kept"), "as committed\n").unwrap();
    let look = "cat kept; test ! -e left";
    let config = format!("[gates]\na = 'echo a > kept; touch left'\nb = 'touch left; exit 3'\nc = '{look}'");
    let report = world.judge(&["a", "b", "c"], &config).await;
    let outcomes: Vec<_> = report.results.iter().map(|r| (r.name.as_str(), r.outcome, r.exit_code)).collect();
    assert_eq!(
        outcomes,
        [
            ("a", GateOutcome::Pass, Some(0)),
            ("b", GateOutcome::Fail, Some(3)),
            ("c", GateOutcome::Pass, Some(0))
        ]
    );
    assert_eq!(report.verdict, Verdict::Failed);
    assert_eq!(report.results[2].log.as_deref(), Some("gate-1-c"));
    assert_eq!(std::fs::read_to_string(world.home.path().join("logs/gate-1-c")).unwrap(), "as committed\n");
    assert_eq!(report.isolation, Isolation::Weak);
    assert!(
        report.warnings[0].contains("weak isolation") && report.warnings[0].contains("needs none"),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_gate_sees_its_environment_and_nothing_that_says_what_runs_it() {
    let world = World::new();
    let result = world.judge_one("'env | cut -d= -f1 | sort | tr \"\\n\" \" \"; test \"$CI\" = no'").await;
    assert_eq!(result.outcome, GateOutcome::Pass, "{result:?}");
    let log = std::fs::read_to_string(world.home.path().join("logs/gate-1-gate")).unwrap();
    let names: Vec<&str> =
        log.split_whitespace().filter(|name| !matches!(*name, "PWD" | "OLDPWD" | "_" | "SHLVL")).collect();
    assert_eq!(names, ["CI", "GIT_CEILING_DIRECTORIES", "HOME", "LANG", "PATH", "TERM", "TMPDIR"]);
}

#[tokio::test]
async fn what_the_agent_left_in_its_home_does_not_judge() {
    let world = World::new();
    let trash = Arc::new(Trash::new(world.home.path()));
    let of_agent = PrivateDirs::new(world.home.path(), "", trash).prepare(agent(), Purpose::Agent).unwrap();
    for place in [&of_agent.home, &of_agent.tmp] {
        std::fs::write(place.join(".gitconfig"), "[alias]\n\tstrict = !true\n").unwrap();
    }
    // Without the planted alias there is no such command.
    let result = world.judge_one("'git strict'").await;
    assert_eq!(result.outcome, GateOutcome::Fail, "{result:?}");
    let empty = "'test -z \"$(ls -A \"$HOME\" \"$TMPDIR\" | grep -v :)\" && touch \"$HOME/a\" \"$TMPDIR/b\"'";
    for _ in 0..2 {
        let result = world.judge_one(empty).await;
        assert_eq!(result.outcome, GateOutcome::Pass, "{result:?}");
    }
}

#[tokio::test]
async fn every_gate_finds_the_git_directory_as_it_was_made() {
    let world = World::new();
    let git = |args: &[&str]| {
        let done = std::process::Command::new("git").args(args).current_dir(world.tree()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    std::fs::write(world.tree().join("a.txt"), "one").unwrap();
    git(&["init", "-q"]);
    git(&["add", "-A"]);
    git(&["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "judged"]);
    let commits = "echo two > a.txt; git -c user.name=a -c user.email=a@b.c commit -qam mine && git update-index --assume-unchanged a.txt && git config core.hooksPath x";
    let looks =
        "test \"$(git log -1 --format=%s)\" = judged && git diff --quiet && ! git config core.hooksPath";
    let config = format!("[gates]\na = '{commits}'\nb = '{looks}'\nc = 'rm -rf .git'\nd = '{looks}'");
    let report = world.judge(&["a", "b", "c", "d"], &config).await;
    let outcomes: Vec<_> = report.results.iter().map(|r| (r.name.as_str(), r.outcome)).collect();
    assert_eq!(outcomes, ["a", "b", "c", "d"].map(|name| (name, GateOutcome::Pass)), "{report:?}");
}

#[tokio::test]
async fn findings_come_from_both_streams_and_secrets_are_masked() {
    let world = World::new();
    let secret = ["gh", "p_"].concat() + "Zk3v9QpL7xW2mB8nR4tY6uC1sD5fG0hJkLqE";
    let run = format!("'echo \"src/a.c:3:5: error: leaks {secret}\" >&2; exit 1'");
    let result = world.judge_one(&run).await;
    assert_eq!((result.outcome, result.summary.as_str()), (GateOutcome::Fail, "1 finding (exit 1)"));
    assert_eq!((result.findings[0].path.as_deref(), result.findings[0].line), (Some("src/a.c"), Some(3)));
    assert_eq!(result.findings[0].message, "error: leaks ghp_…");
    assert!(!format!("{result:?}").contains(&secret));
}

#[tokio::test]
async fn what_cannot_be_judged_is_an_error() {
    let world = World::new();
    for (definition, summary) in [
        ("{ run = 'sleep 60', timeout = '200ms' }", "timed out after 200ms"),
        ("'no-such-program-anywhere'", "command not found (exit 127)"),
        ("'kill -KILL $$'", "ended by signal 9"),
        (
            "{ run = 'true', junit = 'junit.xml' }",
            "no report: junit.xml was not written during this judgement",
        ),
        (
            "{ run = 'echo ok > junit.xml', junit = 'junit.xml' }",
            "report junit.xml has text outside its root element",
        ),
        (
            "{ run = 'echo \"<testsuite>\" > junit.xml', junit = 'junit.xml' }",
            "report junit.xml is cut off inside <testsuite>",
        ),
        ("{ lcov = 'lcov.info' }", "no report: lcov.info was not written during this judgement"),
        (
            "{ run = ': > lcov.info', lcov = 'lcov.info' }",
            "report lcov.info says nothing: it has no line that could run",
        ),
        ("{ run = 'ln -sf /etc/passwd lcov.info', lcov = 'lcov.info' }", "report lcov.info cannot be read: "),
        (
            "{ run = 'rm -f lcov.info; mkfifo lcov.info', lcov = 'lcov.info' }",
            "report lcov.info is not a regular file",
        ),
    ] {
        let result = world.judge_one(definition).await;
        assert_eq!(result.outcome, GateOutcome::Error, "{definition}");
        assert!(result.summary.starts_with(summary), "{definition}: {}", result.summary);
    }
}

#[tokio::test]
async fn a_checkout_that_is_gone_is_an_error() {
    let world = World::new();
    std::fs::remove_dir(world.tree()).unwrap();
    let result = world.judge_one("'true'").await;
    assert_eq!(result.outcome, GateOutcome::Error, "{result:?}");
    assert!(result.summary.starts_with("could not be started"), "{}", result.summary);
}

#[tokio::test]
async fn a_test_report_outweighs_exit_code_zero() {
    let world = World::new();
    let report = |cases: &str| {
        format!("{{ run = '''printf '%s' '<testsuite>{cases}</testsuite>' > j.xml''', junit = 'j.xml' }}")
    };
    let passed =
        world.judge_one(&report("<testcase name=\"a\"/><testcase name=\"b\"><skipped/></testcase>")).await;
    assert_eq!((passed.outcome, passed.summary.as_str()), (GateOutcome::Pass, "1 passed, 1 skipped"));
    let none = world.judge_one(&report("")).await;
    assert_eq!((none.outcome, none.summary.as_str()), (GateOutcome::Fail, "no test ran, 0 skipped"));
    let failed = world.judge_one(&report("<testcase name=\"a\"><failure>boom</failure></testcase>")).await;
    assert_eq!(
        (failed.outcome, failed.summary.as_str()),
        (GateOutcome::Fail, "1 failed, 0 passed, 0 skipped")
    );
    assert_eq!(failed.findings[0].message, "a: boom");
}

#[tokio::test]
async fn every_report_of_a_gate_is_read_and_the_worst_of_them_decides() {
    let world = World::new();
    let report =
        |name: &str, cases: &str| format!("printf '%s' '<testsuite>{cases}</testsuite>' > {name}.xml; ");
    let gate = |run: String| {
        format!(
            "{{ run = \"{}\", reports = [{{ format = 'junit', path = 'a.xml' }}, {{ format = 'junit', path = 'b.xml' }}, \
             {{ format = 'lcov', path = 'l', min = 50 }}] }}",
            run.replace('\\', "\\\\").replace('"', "\\\"")
        )
    };
    let good = "<testcase name=\"x\"/>";
    let bad = "<testcase name=\"y\"><failure message=\"no\"/></testcase>";
    let lcov = "printf 'SF:a\\nDA:1,1\\nDA:2,0\\nend_of_record\\n' > l";
    let result = world.judge_one(&gate(report("a", good) + &report("b", good) + lcov)).await;
    let summary = "1 passed, 0 skipped, 1 passed, 0 skipped, 50.0% (floor 50%)";
    assert_eq!((result.outcome, result.summary.as_str()), (GateOutcome::Pass, summary));
    let result = world.judge_one(&gate(report("a", good) + &report("b", bad) + lcov)).await;
    assert_eq!((result.outcome, result.findings[0].message.as_str()), (GateOutcome::Fail, "y: no"));
    // A report that is missing is an error and hides no failure of another one.
    let result = world.judge_one(&gate(report("b", bad) + lcov)).await;
    assert_eq!(result.outcome, GateOutcome::Error, "{}", result.summary);
    assert!(
        result.summary.contains("no report: a.xml") && result.findings[0].message == "y: no",
        "{result:?}"
    );
}

#[tokio::test]
async fn coverage_reads_what_an_earlier_gate_left_and_never_what_was_committed() {
    let world = World::new();
    let lcov = |hit: u32| (1..=5).map(|n| format!("DA:{n},{}\\n", u32::from(n <= hit))).collect::<String>();
    let config = |run: &str| {
        format!("[gates]\ntests = '''{run}'''\ncoverage = {{ lcov = 'cov/lcov.info', min = 10 }}")
    };
    let write =
        |hit| format!("mkdir -p cov; printf 'SF:calc.sh\\n{}end_of_record\\n' > cov/lcov.info", lcov(hit));
    let coverage = |report: GateReport| report.results[1].clone();

    let low = coverage(world.judge(&["tests", "coverage"], &config(&write(3))).await);
    assert_eq!((low.outcome, low.summary.as_str(), low.command), (GateOutcome::Fail, "60.0% < 85%", None));
    assert_eq!(low.findings[0].message, "calc.sh 3/5 lines: 4-5 not run");

    let full = coverage(world.judge(&["tests", "coverage"], &config(&write(5))).await);
    assert_eq!((full.outcome, full.summary.as_str()), (GateOutcome::Pass, "100.0% (floor 85%)"));

    std::fs::create_dir(world.tree().join("cov")).unwrap();
    let committed = format!("SF:calc.sh\n{}end_of_record\n", lcov(5).replace("\\n", "\n"));
    std::fs::write(world.tree().join("cov/lcov.info"), committed).unwrap();
    let stale = coverage(world.judge(&["tests", "coverage"], &config("true")).await);
    assert_eq!(stale.outcome, GateOutcome::Error, "{stale:?}");
}

#[tokio::test]
async fn untrusted_commands_are_not_run() {
    let mut world = World::new();
    world.trust = Trust::Known(Path::new("/nonexistent/trusted").to_owned());
    let report = world.judge(&["gate"], "[gates]\ngate = 'touch ran'").await;
    assert_eq!((report.verdict, report.results[0].outcome), (Verdict::Incomplete, GateOutcome::Skip));
    assert!(world.processes.started().is_empty() && !world.tree().join("ran").exists());
}

#[tokio::test]
async fn a_judgement_that_is_repeated_starts_new_jobs() {
    let world = World::new();
    let long = "g".repeat(46);
    let gates = [&*format!("{long}-a"), &*format!("{long}-b"), "short"];
    let config = format!("[gates]\n{long}-a = 'true'\n{long}-b = 'true'\nshort = 'true'");
    for checkout in ["judge-12345-0a1b2c3d", "judge-12345-4e5f6a7b"] {
        std::fs::create_dir(world.home.path().join(checkout)).unwrap();
        let judged = world.judge_with(world.processes.clone(), checkout, &gates, &config).await;
        assert_eq!(judged.unwrap().verdict, Verdict::Passed);
    }
    for place in [world.home.path().to_owned(), world.home.path().join("agents").join(agent().to_string())] {
        let left = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(
            !left.into_iter().any(|name| name.to_string_lossy().starts_with("judge-")),
            "a judgement leaves nothing"
        );
    }
    let names: BTreeSet<String> = world.processes.started().iter().map(|job| job.name.to_string()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
}

/// A machine on which no supervisor comes up.
struct NoSupervisor;

#[async_trait]
impl Processes for NoSupervisor {
    async fn start(&self, spec: JobSpec) -> Result<Box<dyn Job>, ProcessError> {
        Err(ProcessError::NotStarted { job: spec.name.to_string(), why: "no more processes".to_owned() })
    }
    async fn adopt(&self, _: AgentId, _: &Word) -> Result<Option<Adopted>, ProcessError> {
        Ok(None)
    }
    async fn stop(&self, _: AgentId, _: Duration) -> Result<StopReceipt, ProcessError> {
        Ok(StopReceipt::default())
    }
    async fn usage(&self, _: AgentId) -> Result<Usage, ProcessError> {
        Ok(Usage::default())
    }
    async fn unfinished(&self) -> Result<Vec<AgentId>, ProcessError> {
        Ok(Vec::new())
    }
    async fn forget(&self, _: AgentId) -> Result<(), ProcessError> {
        Ok(())
    }
    async fn grouped(&self) -> Result<Vec<AgentId>, ProcessError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_fault_of_this_machine_is_no_finding_about_the_commit() {
    let world = World::new();
    let judged = world.judge_with(Arc::new(NoSupervisor), "tree", &["gate"], "[gates]\ngate = 'true'").await;
    let failure = judged.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Internal);
    assert!(failure.message.contains("no more processes"), "{failure:?}");
}

#[tokio::test]
async fn a_flood_is_bounded_and_its_end_is_told() {
    let world = World::new();
    let result = world.judge_one("'yes gate output | head -c 20000000; echo; echo the end; exit 1'").await;
    assert_eq!((result.outcome, result.summary.as_str()), (GateOutcome::Fail, "exit 1"));
    assert!(result.findings[0].message.ends_with("the end"));
    let log = std::fs::metadata(world.home.path().join("logs/gate-1-gate")).unwrap();
    assert!(log.len() <= mosaic_core::limits::GATE_LOG_BYTES);
}

#[tokio::test]
async fn a_command_cannot_end_the_script_around_it() {
    let world = World::new();
    let result = world.judge_one("'''echo \"it's $1 fine\" # done'''").await;
    assert_eq!(result.outcome, GateOutcome::Pass, "{result:?}");
    let broken = world.judge_one("'echo \"unclosed'").await;
    assert_ne!(broken.outcome, GateOutcome::Pass, "{broken:?}");
}
