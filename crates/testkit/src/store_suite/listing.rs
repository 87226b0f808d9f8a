//! Lists: newest admission first, every filter, cursor pages.

use mosaic_core::domain::agent::{Phase, Status};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::domain::spec::AgentType;
use mosaic_core::ports::store::{Query, Store};
use serde_json::json;

use super::Bench;
use super::sample::*;

async fn listed(store: &dyn Store, query: Query) -> Vec<AgentId> {
    let limit = if query.limit == 0 { 100 } else { query.limit };
    ids(&store.list(Query { limit, ..query }).await.unwrap())
}

/// The order is that of admission, newest first, whatever happened since.
pub async fn newest_admission_comes_first(bench: &dyn Bench) {
    let store = store(bench).await;
    let mut all = Vec::new();
    for n in 0..5 {
        all.insert(0, admit(&*store, &agent(&format!("t{n}"), at(10 - n))).await.agent.id);
    }
    let (held, record) = lease(&*store, at(20)).await;
    store.advance(&held, change(working(record.agent, at(20)), "x", at(20))).await.unwrap();
    assert_eq!(listed(&*store, Query::default()).await, all);
}

/// Pages by cursor show every record once, also with statuses mixed and with a filter.
pub async fn pages_by_cursor(bench: &dyn Bench) {
    let store = store(bench).await;
    for n in 0..23 {
        admit(&*store, &agent(&format!("t{n}"), at(n))).await;
        if n % 3 == 0 {
            let (held, record) = lease(&*store, at(50)).await;
            store.advance(&held, change(working(record.agent, at(50)), "x", at(50))).await.unwrap();
        }
    }
    for status in
        [vec![], vec![Status::Running, Status::Spawning], vec![Status::Running], vec![Status::Running; 2]]
    {
        let all = listed(&*store, Query { status: status.clone(), ..Query::default() }).await;
        assert_eq!(
            all.len(),
            if status.contains(&Status::Running) && !status.contains(&Status::Spawning) { 8 } else { 23 }
        );
        for limit in [1, 4, 23] {
            let (mut seen, mut before_seq) = (Vec::new(), None);
            loop {
                let query = Query { status: status.clone(), before_seq, limit, ..Query::default() };
                let page = store.list(query).await.unwrap();
                assert!(page.len() <= limit);
                let Some(last) = page.last() else { break };
                before_seq = Some(last.seq);
                seen.extend(ids(&page));
            }
            assert_eq!(seen, all, "{status:?} in pages of {limit}");
        }
    }
}

/// Four agents that differ in everything a filter can ask for.
async fn mixed(store: &dyn Store) -> [AgentId; 4] {
    let bodies = [
        json!({"taskId": "US-1", "labels": {"team": "core", "tier": "1"}}),
        json!({"taskId": "US-2", "agentType": "tester", "context": {"branch": "dev"}}),
        json!({"taskId": "Ärger_100%", "agentType": "reviewer", "context": {"repository": "https://git.example/acme/other"}}),
        json!({"taskId": "US-10", "labels": {"team": "web"}}),
    ];
    let mut out = Vec::new();
    for (n, body) in bodies.into_iter().enumerate() {
        out.push(admit(store, &agent_from(body, at(10 * n as u64))).await.agent.id);
    }
    let (held, record) = lease(store, at(100)).await;
    assert_eq!(record.agent.id, out[0]);
    store.advance(&held, change(working(record.agent, at(100)), "x", at(100))).await.unwrap();
    let (held, record) = lease(store, at(100)).await;
    let end = settled(record.agent, Status::Failed, EndReason::RateLimited, at(100));
    store.advance(&held, change(end, "x", at(100))).await.unwrap();
    let (held, record) = lease(store, at(100)).await;
    store.advance(&held, change(in_checkout(record.agent), "x", at(100))).await.unwrap();
    [out[0], out[1], out[2], out[3]]
}

/// Each filter by itself.
pub async fn filters_one_by_one(bench: &dyn Bench) {
    let store = store(bench).await;
    let [a, b, c, d] = mixed(&*store).await;
    let record = store.get(a).await.unwrap();
    let repository = record.agent.spec.context.repository.to_string();
    let text = |part: &str| Query { text: Some(part.to_owned()), ..Query::default() };
    let label = |key: &str, value: &str| Query {
        label: Some((key.to_owned(), value.to_owned())),
        ..Query::default()
    };
    let prefix = |n: usize| Query { id_prefix: Some(a.to_string()[..n].to_owned()), ..Query::default() };
    let q = Query::default;
    let cases = [
        ("nothing", q(), vec![d, c, b, a]),
        ("status", Query { status: vec![Status::Running], ..q() }, vec![a]),
        ("statuses", Query { status: vec![Status::Failed, Status::Spawning], ..q() }, vec![d, c, b]),
        ("phase", Query { phase: vec![Phase::Checkout], ..q() }, vec![c]),
        ("phases", Query { phase: vec![Phase::Queued, Phase::Working], ..q() }, vec![d, a]),
        ("type", Query { agent_type: Some(AgentType::Tester), ..q() }, vec![b]),
        ("repository", Query { repository: Some(repository), ..q() }, vec![d, b, a]),
        ("branch", Query { branch: Some("dev".to_owned()), ..q() }, vec![b]),
        ("task", Query { task: Some("US-1".to_owned()), ..q() }, vec![a]),
        ("label", label("team", "core"), vec![a]),
        ("second label", label("tier", "1"), vec![a]),
        ("text in task", text("us-1"), vec![d, a]),
        ("text in name", text("RGER-100-"), vec![c]),
        ("text with capitals beyond ASCII", text("äRGER"), vec![c]),
        ("text is no pattern", text("r_1"), vec![c]),
        ("text with a percent sign", text("0%"), vec![c]),
        ("text in id", text(&b.to_string().to_uppercase()), vec![b]),
        ("id", prefix(36), vec![a]),
        ("id up to a dash", prefix(14), vec![a]),
        ("id in a group", prefix(11), vec![a]),
        ("no id", Query { id_prefix: Some(String::new()), ..q() }, vec![d, c, b, a]),
        ("since", Query { since: Some(at(20)), ..q() }, vec![d, c]),
        ("until", Query { until: Some(at(20)), ..q() }, vec![b, a]),
        ("dead", Query { dead: true, ..q() }, vec![b]),
        ("cursor", Query { before_seq: Some(3), ..q() }, vec![b, a]),
        ("limit", Query { limit: 2, ..q() }, vec![d, c]),
    ];
    for (what, query, expected) in cases {
        assert_eq!(listed(&*store, query).await, expected, "{what}");
    }
}

/// Filters are joined by "and".
pub async fn filters_together(bench: &dyn Bench) {
    let store = store(bench).await;
    let [a, ..] = mixed(&*store).await;
    let record = store.get(a).await.unwrap();
    let every = Query {
        status: vec![Status::Running, Status::Killed],
        phase: vec![Phase::Working],
        agent_type: Some(AgentType::Worker),
        repository: Some(record.agent.spec.context.repository.to_string()),
        branch: Some("main".to_owned()),
        task: Some("US-1".to_owned()),
        label: Some(("team".to_owned(), "core".to_owned())),
        text: Some("US".to_owned()),
        id_prefix: Some(a.short()),
        since: Some(T0),
        until: Some(at(1)),
        dead: false,
        before_seq: Some(2),
        limit: 1,
    };
    assert_eq!(listed(&*store, every.clone()).await, [a]);
    assert!(listed(&*store, Query { branch: Some("dev".to_owned()), ..every }).await.is_empty());
}

/// Hostile filter values find nothing and break nothing.
pub async fn strange_filters_find_nothing(bench: &dyn Bench) {
    let store = store(bench).await;
    mixed(&*store).await;
    let long = "x".repeat(5000);
    let strange =
        ["' OR 1=1 --", "\0", "%", "_", "\u{202e}", "core\ntier=1", "zz", "7D0C", "🦀", long.as_str()];
    for value in strange {
        let v = || Some(value.to_owned());
        let q = Query::default;
        let queries = [
            Query { repository: v(), ..q() },
            Query { branch: v(), ..q() },
            Query { task: v(), ..q() },
            Query { id_prefix: v(), ..q() },
            Query { label: Some(("team".to_owned(), value.to_owned())), ..q() },
            Query { label: Some((value.to_owned(), "core".to_owned())), ..q() },
        ];
        for query in queries {
            assert!(listed(&*store, query.clone()).await.is_empty(), "{query:?}");
        }
        // A task id here has a percent sign and an underscore, and four digits may stand in any agent id.
        if !matches!(value, "%" | "_" | "7D0C") {
            assert!(listed(&*store, Query { text: v(), ..q() }).await.is_empty(), "{value:?}");
        }
    }
}

/// The agents of one task, newest first, ended ones included.
pub async fn of_task_lists_newest_first(bench: &dyn Bench) {
    let store = store(bench).await;
    let mut expected = Vec::new();
    for n in 0..3 {
        let one = agent("t", at(n));
        let read = admit(&*store, &one).await;
        admit(&*store, &agent(&format!("other{n}"), at(n))).await;
        expected.insert(0, one.id);
        if n < 2 {
            let end = settled(one, Status::Killed, EndReason::Operator, at(n));
            store.amend(vec![(read.version, change(end, "x", at(n)))]).await.unwrap().remove(0).unwrap();
        }
    }
    assert_eq!(ids(&store.of_task(&"t".parse().unwrap()).await.unwrap()), expected);
}
