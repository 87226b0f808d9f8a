//! Screens of the command line, as snapshots: the help of every command, lists, and errors. `just snapshots` writes them anew.

use super::stub_server::{Reply, agent, answering};
use super::{COMMANDS, mosaic, mosaic_with, parts};

/// One agent at work and one that gates ended.
const REPLIES: &[Reply] = &[
    (
        "GET /v1/agents?",
        200,
        "application/json",
        concat!(
            r#"{"items":["#,
            agent!(
                r#""agentId":"7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a","name":"fix-7d0c","taskId":"US-1","status":"failed","phase":"settled","endReason":"gates_failed","error":"coverage low","completedAt":"2026-11-22T10:05:00.000Z""#
            ),
            r#"],"nextCursor":null}"#
        ),
    ),
    (
        "GET /v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a ",
        200,
        "application/json",
        agent!(
            r#""agentId":"7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a","name":"fix-7d0c","taskId":"US-1","status":"failed","phase":"settled","endReason":"gates_failed","error":"coverage low","completedAt":"2026-11-22T10:05:00.000Z","context":{"repository":"","branch":"main","workItems":["US-1"]},"gates":[],"gatePlan":null,"gateReport":null,"findings":[],"result":null,"session":null"#
        ),
    ),
];

/// Returns code, output and errors of a call.
fn screen(args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let _told = answering(dir.path(), REPLIES);
    let (output, out, err) = parts(mosaic_with(dir.path(), &[], args));
    let text = format!("exit {}\n{out}--- errors\n{err}", output.status.code().unwrap_or(-1));
    text.replace(&dir.path().display().to_string(), "[data]")
}

#[test]
fn every_command_has_its_help() {
    let (_, root, _) = mosaic(&["--help"]);
    let mut all = root;
    for command in COMMANDS.iter().filter(|command| **command != "help") {
        let (_, out, _) = mosaic(&[command, "--help"]);
        all.push_str(&format!("\n=== mosaic {command} --help\n{out}"));
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn agents_are_shown() {
    insta::assert_snapshot!("ps", screen(&["ps", "--all"]));
    let id = "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a";
    insta::assert_snapshot!("status", screen(&["status", id]));
}

#[test]
fn errors_say_what_to_do() {
    insta::assert_snapshot!("error_of_a_flag", screen(&["ps", "--colour", "never"]));
    insta::assert_snapshot!("error_of_a_command", screen(&["gtes", "x"]));
    let dir = tempfile::tempdir().unwrap();
    let (output, out, err) = parts(mosaic_with(dir.path(), &[], &["ps"]));
    let text = format!("exit {}\n{out}--- errors\n{err}", output.status.code().unwrap_or(-1));
    insta::assert_snapshot!(
        "error_without_a_server",
        text.replace(&dir.path().display().to_string(), "[data]")
    );
}
