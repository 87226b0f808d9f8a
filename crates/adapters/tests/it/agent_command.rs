//! The `command` runtime: what is planned, and what comes of real programs' output and exit.

use std::io::Write as _;
use std::process::{Command, Stdio};

use mosaic_adapters::agent_command::CommandRuntime;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::{FailureKind, Outcome};
use mosaic_core::domain::spec::{AgentType, Budget};
use mosaic_core::limits;
use mosaic_core::ports::processes::Exit;
use mosaic_core::ports::runtime::{AgentEvent, LaunchRequest, Opening, Runtime};
use mosaic_testkit::fakes::sandbox::handle;

fn request() -> LaunchRequest {
    LaunchRequest {
        agent: AgentId(uuid::Uuid::new_v4()),
        task: "T-1".parse().expect("valid"),
        agent_type: AgentType::Worker,
        prompt: "Do it.".into(),
        system: "Rules.\n".into(),
        tree: "/tree".into(),
        sandbox: handle("/agent/home", "/agent/config"),
        model: None,
        budget: Budget::default(),
        resume: None,
        new_session: "s".into(),
    }
}

/// Runs a shell line as the agent and returns its events and outcome.
async fn run(script: &str) -> (Vec<AgentEvent>, Outcome) {
    let line = format!("sh -c '{}'", script.replace('\'', "'\\''"));
    let runtime = CommandRuntime::new(line, vec![("EXTRA".into(), "from the runtime".into())]);
    let plan = runtime.plan(&request()).await.expect("a plan");
    let mut child = Command::new(&plan.command[0])
        .args(&plan.command[1..])
        .envs(plan.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh starts");
    // A program may end without reading its prompt.
    let _ = child.stdin.take().expect("piped").write_all(plan.stdin.expect("a prompt").as_bytes());
    let output = child.wait_with_output().expect("ended");
    let mut dialogue = runtime.dialogue(&Opening::default());
    assert!(dialogue.start().is_empty() && dialogue.interrupt().is_none() && dialogue.session().is_none());
    let text = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
    let events = text.split(|byte| *byte == b'\n').flat_map(|line| dialogue.line(line).events).collect();
    let exit = Exit {
        code: output.status.code(),
        signal: std::os::unix::process::ExitStatusExt::signal(&output.status),
        output_bytes: output.stdout.len() as u64,
        stderr_tail: String::from_utf8_lossy(&output.stderr).into_owned(),
        ..Exit::default()
    };
    (events, dialogue.outcome(&exit))
}

fn output(text: &str) -> AgentEvent {
    AgentEvent::Output { text: text.into() }
}

#[tokio::test]
async fn the_prompt_comes_on_standard_input_and_the_last_lines_are_the_result() {
    let (events, outcome) = run("cat; echo; echo \"$EXTRA\"; echo").await;
    assert_eq!(
        events,
        [output("Rules."), output(""), output("Do it."), output("from the runtime"), output("")]
    );
    assert_eq!(outcome, Outcome::Completed { text: "Rules.\nDo it.\nfrom the runtime".into() });
}

#[tokio::test]
async fn a_failure_has_its_status_and_its_last_words() {
    let (_, outcome) = run("echo so far; echo broken >&2; exit 7").await;
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.kind, FailureKind::Crash);
    assert!(
        failure.message.contains("exit status 7") && failure.message.contains("broken"),
        "{}",
        failure.message
    );
    let (_, outcome) = run("kill -9 $$").await;
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert!(failure.message.contains("signal 9"), "{}", failure.message);
}

#[tokio::test]
async fn output_is_data_whatever_its_bytes_and_bounded() {
    let (events, outcome) =
        run(r"printf '\033[31mred\007\n\377\376\n'; seq 100; head -c 100000 /dev/zero | tr '\0' x").await;
    assert_eq!(events[0], output("\u{1b}[31mred\u{7}"));
    assert_eq!(events[1], output("\u{fffd}\u{fffd}"));
    let AgentEvent::Output { text } = events.last().expect("events") else { panic!("{events:?}") };
    assert!(text.len() <= limits::ENTRY_BYTES);
    let Outcome::Completed { text } = outcome else { panic!("{outcome:?}") };
    assert!(text.starts_with("82\n83\n") && text.len() <= limits::ENTRY_BYTES, "{}", &text[..40]);
}

#[tokio::test]
async fn a_line_that_names_no_program_is_refused_with_what_to_do() {
    for line in ["", "  ", "'open", "''"] {
        let runtime = CommandRuntime::new(line.into(), vec![]);
        let failure = runtime.plan(&request()).await.expect_err("refused");
        assert_eq!(failure.kind, FailureKind::ProgramMissing);
        assert!(failure.message.contains("MOSAIC_COMMAND"), "{}", failure.message);
    }
    let missing = CommandRuntime::new("no-such-program-anywhere".into(), vec![]);
    assert!(missing.probe().await.expect_err("missing").to_string().contains("MOSAIC_COMMAND"));
    assert!(CommandRuntime::new("sh -c true".into(), vec![]).probe().await.is_ok());
}
