//! A log that cannot be written: the disk under it is full, its reader is gone or does not read. Nothing that it would tell
//! of fails for that.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use mosaic_testkit::git_fixture::Fixture;
use rustix::fs::{OFlags, fcntl_setfl};

use super::support::{Home, body};

/// Runs, kills and stops agents of a server that logs to this.
fn everything_goes_on(stderr: Stdio, unread: impl FnOnce()) {
    let (home, fixture) = (Home::new(), Fixture::new());
    // At this level each step below logs, and meets the log that takes nothing.
    let env =
        [("MOSAIC_LOG", "debug"), ("MOSAIC_COMMAND", "sh -c 'cat > x.txt; test ! -e wait || sleep 600'")];
    let mut server = home.serve_telling(stderr, &env);
    unread();
    server.life(&body(&fixture.url(), "T-1"), "completed", "done");
    fixture.commit_on("main", &[("wait", "")]);
    let id = server.spawn(&body(&fixture.url(), "T-2"));
    server.phase(&id, "working");
    assert_eq!(server.kill(&id)["verified"], true);
    assert_eq!(server.ended(&id)["status"], "killed");
    server.http.post("/v1/killswitch/engage", None).expect(200);
    server.http.post("/v1/killswitch/release", None).expect(200);
    server.http.get("/health").expect(200);
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.wait_end().code(), Some(0));
}

#[test]
fn a_log_on_a_full_device_fails_nothing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    everything_goes_on(full.into(), || {});
}

#[test]
fn a_log_whose_reader_is_gone_fails_nothing() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    everything_goes_on(writer.into(), || drop(reader));
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let mut filler = File::from(writer.try_clone().unwrap());
    while filler.write(&[b'x'; 4096]).is_ok() {}
    // The flag belongs to the open file that the server inherits. Left on, the writes of the server would fail at once
    // and never wait.
    fcntl_setfl(&writer, OFlags::empty()).unwrap();
    everything_goes_on(writer.into(), || {});
    drop(reader);
}
