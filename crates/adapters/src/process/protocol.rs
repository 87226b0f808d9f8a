//! The protocol between server and shim on the job's socket: one JSON object per line, the shim greets first
//! with its version. Output does not travel here: the server reads it from the file, a `grew` only wakes it.

use serde::{Deserialize, Serialize};

/// Version of the protocol.
pub(crate) const PROTOCOL: u32 = 1;

/// A request of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Request {
    /// Queue text for the standard input. `answers` is the end of the output line that it answers: what was taken for
    /// that line or a later one before is not queued again.
    Write {
        id: u64,
        data: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answers: Option<u64>,
    },
    /// Close the standard input after what is queued.
    CloseStdin { id: u64 },
    /// Climb the kill ladder.
    Stop { id: u64, grace_ms: u64 },
    /// Move the end of the lease to this many milliseconds after the machine's start; without one it never ends.
    Extend { id: u64, until_ms: Option<u64> },
    /// Say how many processes live, and whether they are frozen.
    Status { id: u64 },
    /// Stop the processes from running on, without ending them.
    Freeze { id: u64 },
    /// Let them run on.
    Thaw { id: u64 },
}

impl Request {
    /// Returns its number, which the answer repeats.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Write { id, .. }
            | Self::CloseStdin { id }
            | Self::Stop { id, .. }
            | Self::Extend { id, .. }
            | Self::Status { id }
            | Self::Freeze { id }
            | Self::Thaw { id } => *id,
        }
    }
}

/// A message of the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Answer {
    /// First line of every connection.
    Hello { v: u32 },
    /// The request was taken; `live` counts the job's processes where that was asked, `frozen_ms` says for how long they
    /// have been frozen when they are.
    Ok {
        id: u64,
        live: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frozen_ms: Option<u64>,
    },
    /// The request was not taken.
    Refused { id: u64, why: String },
    /// So many bytes of output were written up to now.
    Grew { bytes: u64 },
    /// The job has ended and `exit.json` is there.
    Exited,
}

/// Writes a message as one line.
pub(crate) fn line<T: Serialize>(message: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("messages are plain data");
    line.push(b'\n');
    line
}

/// Takes the first whole line out of a buffer, without its end.
pub(crate) fn take_line(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = buffer.iter().position(|b| *b == b'\n')?;
    let mut line: Vec<u8> = buffer.drain(..=end).collect();
    line.pop();
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_lines_are_fixed() {
        let stop = Request::Stop { id: 3, grace_ms: 5000 };
        assert_eq!(line(&stop), b"{\"type\":\"stop\",\"id\":3,\"graceMs\":5000}\n");
        assert_eq!(line(&Answer::Hello { v: PROTOCOL }), b"{\"type\":\"hello\",\"v\":1}\n");
        assert_eq!(line(&Answer::Exited), b"{\"type\":\"exited\"}\n");
        let mut buffer = b"{\"type\":\"write\",\"id\":1,\"data\":\"a\\u0000\"}\nrest".to_vec();
        let read: Request = serde_json::from_slice(&take_line(&mut buffer).unwrap()).unwrap();
        assert_eq!(read, Request::Write { id: 1, data: "a\0".into(), answers: None });
        assert_eq!((buffer.as_slice(), take_line(&mut buffer.clone())), (b"rest".as_slice(), None));
    }
}
