//! A branch of the remote that leaves no place for an agent's branch is named before the agent does any work.

use mosaic_testkit::git_fixture::Fixture;
use serde_json::Value;

use super::support::{Home, body, script};

/// Runs one task on a repository and returns its end, and whether its program was started.
fn run(home: &Home, fixture: &Fixture, env: &[(&str, &str)]) -> (Value, bool) {
    let started = home.path().join("started");
    let text = format!("cat > /dev/null\ntouch '{}'\necho new > new.txt\n", started.display());
    let agent = script(home.path(), "agent.sh", &text);
    let server = home.serve(&[&[("MOSAIC_COMMAND", agent.as_str())], env].concat());
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    (server.ended(&id), started.exists())
}

#[test]
fn a_branch_in_the_way_of_an_agents_branch_is_named_before_the_agent_starts() {
    let mut spellings = 0;
    for (taken, way_out) in
        [("mosaic", "MOSAIC_BRANCH_PREFIX"), ("mosaic/t-1", "another id"), ("mosaic/T-1", "another id")]
    {
        let (home, fixture) = (Home::new(), Fixture::new());
        let slug = ["t-1", "T-1"].into_iter().find(|slug| taken.ends_with(slug));
        fixture.commit_on(taken, &[("x.txt", "x")]);
        let (ended, started) = run(&home, &fixture, &[]);
        let branch = ended["branch"].as_str().unwrap_or_default();
        if slug.is_some_and(|slug| !branch.starts_with(&format!("mosaic/{slug}/"))) {
            // The other spelling of the task's name is in nobody's way.
            assert_eq!(ended["status"], "completed", "{ended:#}");
            continue;
        }
        spellings += usize::from(slug.is_some());
        assert_eq!(
            (&ended["status"], &ended["endReason"]),
            (&"failed".into(), &"setup_failed".into()),
            "{ended:#}"
        );
        let error = ended["error"].as_str().unwrap();
        assert!(error.contains(&format!("has a branch {taken},")) && error.contains(way_out), "{error}");
        assert!(!started, "the agent's program was started for work that cannot be pushed");
    }
    assert_eq!(spellings, 1, "one spelling of the task's name is the one in the branches of its agents");
}

#[test]
fn with_another_prefix_a_branch_called_mosaic_is_in_nobodys_way() {
    let (home, fixture) = (Home::new(), Fixture::new());
    fixture.commit_on("mosaic", &[("x.txt", "x")]);
    let (ended, _) = run(&home, &fixture, &[("MOSAIC_BRANCH_PREFIX", "agents/mosaic")]);
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert!(fixture.branches().iter().any(|branch| branch.starts_with("agents/mosaic/")));
}
