//! Gates over HTTP: the report in its three forms, logs by range and live, and the history.

mod forms;
mod history;
mod live;

use axum::body::Body;
use mosaic_core::domain::agent::{Agent, End, State, Status};
use mosaic_core::domain::gates::{Finding, GateDefinition, GateOutcome, GatePlan, GateReport, GateResult};
use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::store::Lease;
use mosaic_core::ports::transcripts::Transcripts;
use mosaic_testkit::fakes::repositories::commit;
use mosaic_testkit::fakes::scanner::SECRET;

use crate::world::{HttpAnswer, World, ask};

fn word(text: &str) -> Word {
    text.parse().expect("it is a word")
}

/// Returns a plan with these gates.
fn plan(gates: &[&str]) -> GatePlan {
    let gates = gates.iter().map(|name| GateDefinition::of_command(word(name), "true".to_owned())).collect();
    GatePlan { gates, trusted: true, defined_by: "base".to_owned(), ..GatePlan::default() }
}

/// An agent whose gates run, in its first round.
struct Judged {
    world: World,
    id: AgentId,
    lease: Lease,
    agent: Agent,
}

impl Judged {
    /// Makes one that is being judged by these gates.
    async fn new(gates: &[&str]) -> Self {
        let world = World::new();
        let id = world.spawned("A").await;
        let (lease, mut agent) = world.leased().await;
        agent.runs = 1;
        agent.work.plan = Some(Box::new(plan(gates)));
        let mut judged = Self { world, id, lease, agent };
        judged.goes_on(State::Gating { head: commit('b') }).await;
        judged
    }

    async fn goes_on(&mut self, state: State) {
        self.agent = self.world.write(&self.lease, self.agent.clone(), state).await;
    }

    /// Reports these results.
    async fn reports(&mut self, results: Vec<GateResult>) {
        let plan = self.agent.work.plan.clone().expect("there is a plan");
        self.agent.work.report = Some(GateReport::new(commit('b'), results, &plan));
        self.goes_on(State::Working).await;
    }

    async fn ends(&mut self) {
        let at = self.world.orchestrator.now();
        let end = End { status: Status::Failed, reason: EndReason::GatesFailed, error: None, at };
        self.goes_on(State::Settled { end }).await;
    }

    /// Appends to the log of a gate's run in a round.
    fn writes(&self, round: u32, gate: &str, text: &str) {
        use std::io::Write as _;
        let path = self.world.transcripts.log(self.id, &format!("gate-{round}-{gate}"));
        let mut file = std::fs::File::options().create(true).append(true).open(path).expect("it is opened");
        file.write_all(text.as_bytes()).expect("it is written");
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/agents/{}/gates{rest}", self.id)
    }

    async fn range(&self, gate: &str, headers: &[(&str, &str)]) -> HttpAnswer {
        let mut request = ask("GET", &self.path(&format!("/{gate}/log")));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.world.send(request.body(Body::empty()).expect("the request is whole")).await
    }
}

fn result(gate: &str, outcome: GateOutcome, round: u32) -> GateResult {
    let log = Some(format!("gate-{round}-{gate}"));
    GateResult { duration_ms: 1500, log, ..GateResult::new(word(gate), outcome, "a summary") }
}

fn finding(gate: &str, path: Option<&str>, line: Option<u64>, message: &str) -> Finding {
    let path = path.map(str::to_owned);
    Finding { source: gate.to_owned(), path, line, message: message.to_owned(), secret: None }
}

#[tokio::test]
async fn a_log_is_read_by_ranges_of_what_goes_out() {
    let mut judged = Judged::new(&["tests"]).await;
    judged.writes(1, "tests", &format!("key {SECRET}\nend\n"));
    judged.reports(vec![result("tests", GateOutcome::Fail, 1)]).await;
    let text = "key open…\nend\n".as_bytes();
    let whole = judged.range("tests", &[]).await;
    assert_eq!((whole.status, whole.header("accept-ranges"), &whole.body[..]), (200, "bytes", text));
    let first = judged.range("tests", &[("range", "bytes=0-3")]).await;
    assert_eq!((first.status, first.text().as_str()), (206, "key "));
    assert_eq!(first.header("content-range"), format!("bytes 0-3/{}", text.len()));
    let tag = first.header("etag").to_owned();
    let rest = judged.range("tests", &[("range", "bytes=4-"), ("if-range", &tag)]).await;
    assert_eq!((rest.status, &rest.body[..]), (206, &text[4..]));
    let other = judged.range("tests", &[("range", "bytes=4-"), ("if-range", "\"other\"")]).await;
    assert_eq!((other.status, &other.body[..]), (200, text), "another text is sent as a whole");
    let last = judged.range("tests", &[("range", "bytes=-4")]).await;
    assert_eq!((last.status, last.text().as_str()), (206, "end\n"));
    let beyond = judged.range("tests", &[("range", "bytes=900-")]).await;
    beyond.is(416, "range_not_satisfiable");
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", text.len()));
    for ignored in ["bytes=0-1,3-4", "bytes=4-2", "lines=1-2", "bytes"] {
        assert_eq!(judged.range("tests", &[("range", ignored)]).await.status, 200, "{ignored}");
    }
}

#[tokio::test]
async fn the_answer_to_a_range_is_bounded_and_says_where_it_ends() {
    let mut judged = Judged::new(&["tests"]).await;
    let line = format!("{}\n", "x".repeat(99));
    judged.writes(1, "tests", &line.repeat(30_000));
    judged.reports(vec![result("tests", GateOutcome::Fail, 1)]).await;
    let mut read = 0;
    while read < 3_000_000 {
        let part = judged.range("tests", &[("range", &format!("bytes={read}-"))]).await;
        assert!(part.status == 206 && part.body.len() <= 1024 * 1024, "{}", part.body.len());
        assert_eq!(
            part.header("content-range"),
            format!("bytes {read}-{}/3000000", read + part.body.len() - 1)
        );
        read += part.body.len();
    }
    assert_eq!(judged.range("tests", &[("range", "bytes=3000000-")]).await.status, 416);
}

#[tokio::test]
async fn the_log_of_a_running_gate_has_whole_lines_and_no_length() {
    let judged = Judged::new(&["tests", "lint"]).await;
    let (half, rest) = SECRET.split_at(6);
    judged.writes(1, "tests", &format!("one\nkey {half}"));
    assert_eq!(judged.range("tests", &[]).await.text(), "one\n", "half a secret is not shown");
    let part = judged.range("tests", &[("range", "bytes=0-")]).await;
    assert_eq!((part.status, part.header("content-range"), part.header("etag")), (206, "bytes 0-3/*", ""));
    judged.writes(1, "tests", &format!("{rest}\n"));
    assert_eq!(judged.range("tests", &[]).await.text(), "one\nkey open…\n");
    judged.range("lint", &[]).await.is(404, "log_not_found");
}
