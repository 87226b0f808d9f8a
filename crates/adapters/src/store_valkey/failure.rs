//! The meaning of a server's errors, and the messages about them for people.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The kind of an error, by the reaction that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is of no use any more. Whether the command was carried out is not known.
    Broken,
    /// This server does not take it: another one does (a failover). Nothing was carried out.
    Elsewhere,
    /// The slot of our keys is there now. Nothing was carried out.
    Moved(String, u16),
    /// The script is not known there. Nothing was carried out.
    NoScript,
    /// The server answered no, and goes on answering.
    Refused,
}

impl Fault {
    /// Tells what an error means.
    pub(super) fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => match error.redirect_node() {
                Some((address, _)) => address
                    .rsplit_once(':')
                    .and_then(|(host, port)| Some(Self::Moved(host.to_owned(), port.parse().ok()?)))
                    .unwrap_or(Self::Refused),
                None => Self::Refused,
            },
            ErrorKind::Server(
                ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading,
            ) => Self::Elsewhere,
            ErrorKind::Server(ServerErrorKind::NoScript) => Self::NoScript,
            ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType => Self::Refused,
            // What is not known to be an answer of the server leaves open whether the command was carried out, so
            // nothing is sent again and the connection is given up.
            _ => Self::Broken,
        }
    }
}

/// Returns the message about an error, for people.
pub(super) fn message(error: &RedisError) -> String {
    let detail = error.detail().unwrap_or_default();
    match (error.kind(), error.code()) {
        (ErrorKind::Io, _) => match std::error::Error::source(error).and_then(|e| e.downcast_ref()) {
            Some(io) => io_message(io),
            None => "the connection was closed".to_owned(),
        },
        (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => "it is reading its files".to_owned(),
        (_, Some("OOM")) => "its memory is full (maxmemory)".to_owned(),
        (_, Some("MISCONF")) => format!("it cannot write its files: {detail}"),
        (_, Some("NOREPLICAS")) => "it has too few replicas (min-replicas-to-write)".to_owned(),
        (_, Some("BUSY")) => "it is busy with a script".to_owned(),
        (_, Some(code)) if !detail.is_empty() => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// Returns the message about an error of the operating system.
pub(super) fn io_message(error: &std::io::Error) -> String {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::UnexpectedEof | Kind::BrokenPipe | Kind::ConnectionReset | Kind::ConnectionAborted => {
            "the connection was closed".to_owned()
        }
        kind @ (Kind::ConnectionRefused
        | Kind::TimedOut
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable) => kind.to_string(),
        _ => error.to_string(),
    }
}
