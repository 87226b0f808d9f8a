//! Standard error as the place of the log's lines: it may be full, closed, or read by nobody. No line may fail or hold up what
//! it tells of: one that cannot be written at once is dropped and counted, and the next one that can says how many those were.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The bytes that a pipe which is ready takes without making its writer wait (`PIPE_BUF` of Linux).
const PIECE: usize = 4096;
/// The time that the first line waits for its reader; those that follow a dropped one do not wait at all.
const PATIENCE: Duration = Duration::from_millis(100);

/// Lines that were dropped since the last one that was written.
static DROPPED: Mutex<u64> = Mutex::new(0);
/// Lines are JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Says whether lines are JSON, so that the note about dropped ones is, too.
pub(crate) fn set_json(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// Says something besides the log, in the same way: a server has to start although nobody takes what it says.
pub(crate) fn say(text: &str) {
    put(format!("{text}\n").as_bytes());
}

/// Writes a line, or drops it.
pub(crate) fn put(line: &[u8]) {
    let mut dropped = DROPPED.lock();
    put_to(&mut io::stderr().lock(), line, &mut dropped, JSON.load(Ordering::Relaxed));
}

fn put_to(out: &mut (impl Write + AsFd), line: &[u8], dropped: &mut u64, json: bool) {
    let patience = if *dropped == 0 { PATIENCE } else { Duration::ZERO };
    let noted = match *dropped {
        0 => Ok(()),
        count => write(out, note(count, json).as_bytes(), patience),
    };
    match noted.and_then(|()| write(out, line, patience)) {
        Ok(()) => *dropped = 0,
        Err(_) => *dropped = dropped.saturating_add(1),
    }
}

fn note(count: u64, json: bool) -> String {
    let what = format!("{count} lines of the log could not be written and are lost");
    match json {
        true => format!("{{\"level\":\"WARN\",\"fields\":{{\"message\":\"{what}\"}}}}\n"),
        false => format!("WARN {what}\n"),
    }
}

fn write(out: &mut (impl Write + AsFd), bytes: &[u8], patience: Duration) -> io::Result<()> {
    for piece in bytes.chunks(PIECE) {
        let time = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
        if poll(&mut [PollFd::new(&*out, PollFlags::OUT)], Some(&time))? == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        out.write_all(piece)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use rustix::fs::{OFlags, fcntl_setfl};

    use super::*;

    #[test]
    fn lines_that_nobody_takes_are_dropped_counted_and_told_of() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let (mut reader, mut writer) = (File::from(reader), File::from(writer));
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        while writer.write(&[b'x'; PIECE]).is_ok() {}
        fcntl_setfl(&writer, OFlags::empty()).unwrap();
        let mut dropped = 0;
        for _ in 0..3 {
            put_to(&mut writer, b"lost\n", &mut dropped, true);
        }
        assert_eq!(dropped, 3);
        let mut filled = vec![0; 16 * PIECE];
        reader.read_exact(&mut filled).unwrap();
        put_to(&mut writer, b"told\n", &mut dropped, true);
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        let (_, told) = rest.split_once('{').unwrap();
        assert!(told.contains("3 lines of the log") && told.ends_with("}\ntold\n"), "{told}");
        assert_eq!(dropped, 0);
    }

    #[test]
    fn a_closed_reader_and_a_full_device_fail_nothing() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        for mut out in [File::from(writer), File::options().write(true).open("/dev/full").unwrap()] {
            let mut dropped = 0;
            put_to(&mut out, b"lost\n", &mut dropped, false);
            put_to(&mut out, b"lost\n", &mut dropped, false);
            assert_eq!(dropped, 2);
        }
    }
}
