//! Fork bombs: liveness is answered while they grow, a kill leaves nothing of them, and one that nobody kills is ended
//! at the bound of processes.

use std::time::Instant;

use mosaic_testkit::git_fixture::Fixture;
use serde_json::json;

use super::support::{Home, Marker, asking, body, rounds, script, until};

/// A program whose every process starts two more, so many generations deep: 2^(n+1) - 1 processes if nobody ends it.
/// Without the depth a fault of ours would take the machine.
fn bomb(home: &Home, marker: &Marker, generations: u32) -> String {
    let path = home.path().join("bomb.sh");
    let text = format!(
        "n=${{1:-{generations}}}\n\
         if [ $n -gt 0 ]; then sh '{0}' $((n - 1)) & sh '{0}' $((n - 1)) & fi\n\
         exec sleep {marker}\n",
        path.display()
    );
    script(home.path(), "bomb.sh", &text)
}

/// `MOSAIC_BOMBS` says how many are killed.
#[test]
fn liveness_is_answered_during_a_fork_bomb_and_a_kill_leaves_nothing_of_it() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = bomb(&home, &marker, 7);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    for n in 0..rounds("MOSAIC_BOMBS", 1) {
        let (((before, past), took), answers) = asking(&server.http, || {
            let id = server.spawn(&body(&fixture.url(), &format!("T-{n}")));
            // It is still growing.
            until("the bomb", || (marker.alive().len() > 60).then_some(()));
            let began = Instant::now();
            let killed = server.kill(&id);
            let took = began.elapsed();
            assert_eq!(marker.alive(), Vec::<String>::new(), "processes of a killed bomb are alive");
            assert_eq!(
                (&killed["status"], &killed["verified"]),
                (&json!("killed"), &json!(true)),
                "{killed:#}"
            );
            let receipt = &killed["receipt"];
            let number = |name: &str| receipt[name].as_u64().unwrap();
            ((number("processesBefore"), number("pastGraceMs")), took)
        });
        println!(
            "bomb of {before} processes killed {past} ms past the grace, answered after {took:.1?}; /health: {answers}"
        );
        assert!(before > 30, "the kill did not meet the bomb");
        assert!(answers.within(99).as_secs() < 5, "liveness: {answers}");
    }
}

#[test]
fn a_bomb_that_nobody_kills_is_ended_at_the_bound() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = bomb(&home, &marker, 11);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let began = Instant::now();
    let (ended, answers) = asking(&server.http, || {
        let id = server.spawn(&body(&fixture.url(), "bomb"));
        server.ended(&id)
    });
    println!("bomb ended by itself after {:.1?}; /health: {answers}", began.elapsed());
    assert_eq!(ended["status"], "failed", "{ended:#}");
    assert!(ended["error"].as_str().unwrap().contains("processes at once"), "{ended:#}");
    assert_eq!(marker.alive(), Vec::<String>::new());
    assert!(answers.within(99).as_secs() < 5, "liveness: {answers}");
}
