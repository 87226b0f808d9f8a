//! The drill on this machine: it passes under every confinement, and leaves nothing, interrupted or not.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::support::{Home, until};

/// Lists the processes that carry a drill's mark of this test.
fn marked(home: &Home) -> Vec<String> {
    let place = home.path().display().to_string();
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = pids.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
    let texts = lines.map(|text| String::from_utf8_lossy(&text).into_owned());
    texts.filter(|text| text.contains(&place) && text.contains("MOSAIC_TASK_ID=drill-")).collect()
}

fn drill(home: &Home, confinement: &str) -> Command {
    let mut command = home.mosaic(&["drill", "--json"]);
    // Its place is made below this, so that what is left can be told from other drills.
    command.env("TMPDIR", home.path()).env("MOSAIC_CONTAINMENT", confinement);
    command
}

#[test]
fn the_drill_passes_and_leaves_nothing() {
    for confinement in ["auto", "pid-namespace", "subreaper"] {
        let home = Home::new();
        let output = drill(&home, confinement).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{confinement}: {said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(report["passed"], true, "{report:#}");
        let shapes = report["shapes"].as_array().unwrap();
        assert_eq!(shapes.len(), 6);
        for shape in shapes {
            assert_eq!(shape["processesAfter"], 0, "{shape:#}");
            assert_eq!(shape["confinement"], report["confinement"], "{shape:#}");
        }
        assert!(report["switch"]["processesBefore"].as_u64().unwrap() > 20, "{report:#}");
        assert!(!report["notPromised"].as_array().unwrap().is_empty());
        assert_eq!(marked(&home), [""; 0]);
        let left: Vec<_> =
            std::fs::read_dir(home.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().contains("drill")), "{left:?}");
    }
}

#[test]
fn an_interrupted_drill_leaves_nothing() {
    let home = Home::new();
    let mut command = drill(&home, "auto");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("an agent of the drill to be up", || (!marked(&home).is_empty()).then_some(()));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = until("the drill to end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    assert_eq!(marked(&home), [""; 0]);
}
