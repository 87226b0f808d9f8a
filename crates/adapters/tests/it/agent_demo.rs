//! The demo agent driven through its own dialogue over real pipes, in a real repository.

use std::io::{BufRead as _, BufReader, PipeWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use mosaic_adapters::agent_demo::{
    DemoRun, DemoRuntime, DemoScript, DemoStep, MARKER, MARKER_TEXT, converse, script_path,
};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::{FailureKind, Outcome};
use mosaic_core::domain::spec::{AgentType, Budget};
use mosaic_core::ports::processes::Exit;
use mosaic_core::ports::runtime::{AgentEvent, LaunchRequest, Opening, Runtime};
use mosaic_testkit::fakes::sandbox::handle;

struct DemoTestbed {
    dir: tempfile::TempDir,
}

struct Ran {
    events: Vec<AgentEvent>,
    outcome: Outcome,
}

fn git(tree: &Path, args: &[&str]) -> String {
    let output = Command::new("git").args(args).current_dir(tree).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn request(place: &DemoTestbed, resume: Option<String>) -> LaunchRequest {
    let config = place.dir.path().join("config");
    LaunchRequest {
        agent: AgentId(uuid::Uuid::new_v4()),
        task: "demo-fix".parse().expect("valid"),
        agent_type: AgentType::Worker,
        prompt: "Do it.".into(),
        system: String::new(),
        tree: place.tree(),
        sandbox: handle(place.dir.path(), config),
        model: None,
        budget: Budget::default(),
        resume,
        new_session: "5e55e55e-0000-4000-8000-000000000001".into(),
    }
}

impl DemoTestbed {
    fn new(turns: Vec<Vec<DemoStep>>) -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a directory") };
        let tree = place.tree();
        std::fs::create_dir_all(tree.join(".mosaic/demo")).expect("made");
        git(&tree, &["init", "-q", "-b", "main"]);
        git(&tree, &["config", "user.name", "Agent"]);
        git(&tree, &["config", "user.email", "agent@example.invalid"]);
        std::fs::write(tree.join(MARKER), MARKER_TEXT).expect("written");
        let script = serde_json::to_vec(&DemoScript { turns }).expect("serialises");
        std::fs::write(tree.join(script_path("demo-fix")), script).expect("written");
        place
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    /// Runs one turn as the engine does; interrupts it once an event matches.
    async fn run(&self, resume: Option<String>, interrupt_at: impl Fn(&AgentEvent) -> bool) -> Ran {
        let request = request(self, resume);
        let runtime = DemoRuntime::new("/mosaic".into());
        let plan = runtime.plan(&request).await.expect("a plan");
        assert_eq!(plan.command[..2], ["/mosaic", "demo-agent"]);
        let demo = DemoRun::from_args(&plan.command[2..], self.tree()).expect("the arguments are understood");
        let (agent_in, to_agent) = std::io::pipe().expect("a pipe");
        let (from_agent, agent_out) = std::io::pipe().expect("a pipe");
        let agent = std::thread::spawn(move || converse(&demo, BufReader::new(agent_in), agent_out));

        let mut dialogue = runtime.dialogue(&Opening {
            prompt: request.prompt.clone(),
            session: plan.session.clone(),
            lent: None,
        });
        let mut to_agent = Some(to_agent);
        let say = |pipe: &mut Option<PipeWriter>, text: &str| {
            pipe.as_mut().expect("open").write_all(text.as_bytes()).expect("written");
        };
        dialogue.start().iter().for_each(|line| say(&mut to_agent, line));
        let mut events = Vec::new();
        for line in BufReader::new(from_agent).split(b'\n') {
            let reaction = dialogue.line(&line.expect("readable"));
            if reaction.events.iter().any(&interrupt_at) {
                say(&mut to_agent, plan.interrupt.as_deref().expect("a way to interrupt"));
            }
            events.extend(reaction.events);
            reaction.replies.iter().for_each(|line| say(&mut to_agent, line));
            if reaction.turn_over {
                to_agent = None;
            }
        }
        let code = agent.join().expect("no panic");
        let exit = Exit { code: Some(code.into()), ..Exit::default() };
        Ran { events, outcome: dialogue.outcome(&exit) }
    }
}

fn never(_: &AgentEvent) -> bool {
    false
}

#[tokio::test]
async fn a_story_is_really_carried_out() {
    let place = DemoTestbed::new(vec![
        vec![
            DemoStep::Say("I will fix it.".into()),
            DemoStep::Write { path: "src/a.txt".into(), content: "one\n".into() },
            DemoStep::Run("cat src/a.txt; exit 3".into()),
            DemoStep::WaitMs(1),
            DemoStep::Commit("a: it's \"one\"".into()),
            DemoStep::Say("Fixed.".into()),
        ],
        vec![DemoStep::Say("Second turn.".into())],
    ]);
    let ran = place.run(None, never).await;
    assert_eq!(ran.outcome, Outcome::Completed { text: "Fixed.".into() }, "{:#?}", ran.events);
    let message = git(&place.tree(), &["log", "-1", "--format=%B"]);
    assert!(
        message.starts_with("a: it's \"one\"\n") && message.contains("Mosaic-Demo: scripted"),
        "{message}"
    );
    assert_eq!(git(&place.tree(), &["show", "HEAD:src/a.txt"]), "one\n");
    assert!(
        ran.events.iter().any(
            |e| matches!(e, AgentEvent::ToolResult { ok: false, text, .. } if text.starts_with("one\n"))
        )
    );
    assert!(
        ran.events
            .iter()
            .any(|e| matches!(e, AgentEvent::Started { model: Some(model), .. } if model == "scripted"))
    );

    let session = Some("5e55e55e-0000-4000-8000-000000000001".to_owned());
    let again = place.run(session.clone(), never).await;
    assert_eq!(again.outcome, Outcome::Completed { text: "Second turn.".into() });
    let over = place.run(session, never).await;
    assert!(
        matches!(&over.outcome, Outcome::Completed { text } if text.contains("nothing more")),
        "{:?}",
        over.outcome
    );
}

#[tokio::test]
async fn an_interrupt_ends_loops_and_commands_at_once() {
    let place = DemoTestbed::new(vec![
        vec![DemoStep::Loop(true)],
        vec![DemoStep::Run("while :; do sleep 1; done".into())],
    ]);
    let ticks = |event: &AgentEvent| matches!(event, AgentEvent::Text { text } if text == "tick 2");
    let ran = place.run(None, ticks).await;
    let Outcome::Failed(failure) = &ran.outcome else { panic!("{:?}", ran.outcome) };
    assert!(failure.message.contains("interrupted"), "{}", failure.message);
    let calls = |event: &AgentEvent| matches!(event, AgentEvent::Tool { .. });
    let ran = place.run(Some("5e55e55e-0000-4000-8000-000000000001".into()), calls).await;
    assert!(
        matches!(&ran.outcome, Outcome::Failed(failure) if failure.message.contains("interrupted")),
        "{:?}",
        ran.outcome
    );
}

#[tokio::test]
async fn it_refuses_a_repository_it_did_not_create() {
    let place = DemoTestbed::new(vec![]);
    for plant in [None, Some("# Hello\n")] {
        std::fs::remove_file(place.tree().join(MARKER)).ok();
        if let Some(text) = plant {
            std::fs::write(place.tree().join(MARKER), text).expect("written");
        }
        let failure =
            DemoRuntime::new("/mosaic".into()).plan(&request(&place, None)).await.expect_err("refused");
        assert_eq!(failure.kind, FailureKind::BadInput);
        assert!(
            failure.message.contains("refuses to run on a repository it did not create"),
            "{}",
            failure.message
        );
    }
}

#[tokio::test]
async fn it_writes_nowhere_but_in_the_tree() {
    let outside = |path: &str| DemoStep::Write { path: path.into(), content: "x".into() };
    let place = DemoTestbed::new(vec![vec![
        outside("../out.txt"),
        outside("/tmp/mosaic-demo-out.txt"),
        outside("a/../../out.txt"),
    ]]);
    let ran = place.run(None, never).await;
    let refused =
        ran.events.iter().filter(|event| matches!(event, AgentEvent::ToolResult { ok: false, .. })).count();
    assert_eq!(refused, 3, "{:#?}", ran.events);
    assert!(!place.dir.path().join("out.txt").exists());
}

#[tokio::test]
async fn a_missing_or_broken_script_says_so() {
    let place = DemoTestbed::new(vec![]);
    std::fs::write(place.tree().join(script_path("demo-fix")), "{\"turns\": [[{\"fly\": 1}]]}")
        .expect("written");
    let ran = place.run(None, never).await;
    assert!(
        matches!(&ran.outcome, Outcome::Failed(failure) if failure.message.contains("is not valid")),
        "{:?}",
        ran.outcome
    );
    std::fs::remove_file(place.tree().join(script_path("demo-fix"))).expect("removed");
    let ran = place.run(None, never).await;
    assert!(
        matches!(&ran.outcome, Outcome::Failed(failure) if failure.message.contains("no script")),
        "{:?}",
        ran.outcome
    );
}

#[test]
fn the_script_format_is_what_the_docs_say() {
    let text = r#"{"turns": [[{"say": "a"}, {"write": {"path": "p", "content": "c"}}, {"run": "r"}, {"commit": "m"}, {"wait_ms": 5}, {"loop": true}]]}"#;
    let script: DemoScript = serde_json::from_str(text).expect("it reads");
    assert_eq!(script.turns[0].len(), 6);
    assert_eq!(
        serde_json::to_value(&script).expect("it writes"),
        serde_json::from_str::<serde_json::Value>(text).expect("JSON")
    );
}
