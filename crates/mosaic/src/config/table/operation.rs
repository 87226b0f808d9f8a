//! Operation: the client, retention, the log.

use crate::config::parsers as p;
use crate::config::row::{Variable, ours, secret};
use crate::config::values::LogFormat;

/// The rows, in the order in which they are shown.
pub(super) const ROWS: &[Variable] = &[
    ours("MOSAIC_URL", "URL", "`server.json` in the data directory", "where the commands find the server")
        .read(|c, v| p::address(v).map(|x| c.url = Some(x)), |c| c.url.clone()),
    ours(
        "MOSAIC_TOKEN",
        "text",
        "the file `token` in the data directory",
        "token the commands call the server with, and that the server takes besides the one in its data directory; the same on all nodes of a fleet",
    )
    .secret(|c| c.token.as_ref())
    .read(|c, v| p::secret(v).map(|s| c.token = Some(s)), |c| secret(&c.token)),
    ours(
        "MOSAIC_KEEP_DAYS",
        "1–36500",
        "30",
        "days that transcripts and logs of ended agents are kept after they were last written",
    )
    .read(
        |c, v| p::days(v).map(|x| c.retention.transcripts = x),
        |c| Some((c.retention.transcripts.as_secs() / 86_400).to_string()),
    ),
    ours(
        "MOSAIC_KEEP_RECORDS_DAYS",
        "1–36500",
        "90",
        "days that records of ended agents and events are kept; unmerged work is kept indefinitely",
    )
    .read(
        |c, v| p::days(v).map(|x| c.retention.records = x),
        |c| Some((c.retention.records.as_secs() / 86_400).to_string()),
    ),
    ours(
        "MOSAIC_ARCHIVE_AFTER_MS",
        "0–86400000",
        "30000",
        "in a fleet, milliseconds after its end for which the whole record of an agent stays in Valkey; then it moves to the archive on the disk of its node",
    )
    .read(
        |c, v| p::millis(v, 0..=86_400_000).map(|x| c.retention.whole = x),
        |c| Some(c.retention.whole.as_millis().to_string()),
    ),
    ours(
        "MOSAIC_KEEP_ARCHIVE_BYTES",
        "0–9223372036854775807",
        "21474836480",
        "in a fleet, bytes that the archive on this node's disk may take; the oldest records go, unmerged work never",
    )
    .read(
        |c, v| p::number(v, 0..=i64::MAX.unsigned_abs()).map(|x| c.retention.archive = x),
        |c| Some(c.retention.archive.to_string()),
    ),
    ours(
        "MOSAIC_KEEP_BYTES",
        "0–9223372036854775807",
        "10737418240",
        "bytes that all transcripts and logs may take; those of ended agents go, oldest first",
    )
    .read(
        |c, v| p::number(v, 0..=i64::MAX.unsigned_abs()).map(|x| c.retention.bytes = x),
        |c| Some(c.retention.bytes.to_string()),
    ),
    ours(
        "MOSAIC_GATE_CACHE_BYTES",
        "0–9223372036854775807",
        "10737418240",
        "bytes that the results of setups (such as `node_modules`) may take on this node; those used least recently go",
    )
    .read(
        |c, v| p::number(v, 0..=i64::MAX.unsigned_abs()).map(|x| c.gate_cache.bytes = x),
        |c| Some(c.gate_cache.bytes.to_string()),
    ),
    ours(
        "MOSAIC_GATE_CACHE_DAYS",
        "1–36500",
        "14",
        "days that results of setups and verdicts are kept after they were last used",
    )
    .read(
        |c, v| p::days(v).map(|x| c.gate_cache.age = x),
        |c| Some((c.gate_cache.age.as_secs() / 86_400).to_string()),
    ),
    ours(
        "MOSAIC_DISK_FLOOR_BYTES",
        "0–9223372036854775807",
        "268435456",
        "free bytes in the data directory below which nothing new is started",
    )
    .read(
        |c, v| p::number(v, 0..=i64::MAX.unsigned_abs()).map(|x| c.retention.disk_floor = x),
        |c| Some(c.retention.disk_floor.to_string()),
    ),
    ours("MOSAIC_LOG", "error, warn, info, debug, trace", "info", "least level of the server's log").read(
        |c, v| {
            let all = [
                ("error", "error"),
                ("warn", "warn"),
                ("info", "info"),
                ("debug", "debug"),
                ("trace", "trace"),
            ];
            p::choice(v, &all).map(|x| c.log = x.to_owned())
        },
        |c| Some(c.log.clone()),
    ),
    ours(
        "MOSAIC_LOG_FORMAT",
        "auto, text, json",
        "auto",
        "form of the server's log; auto is text on a terminal, else JSON",
    )
    .read(
        |c, v| {
            p::choice(v, &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)])
                .map(|x| c.log_format = x)
        },
        |c| {
            let word = match c.log_format {
                LogFormat::Auto => "auto",
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            };
            Some(word.to_owned())
        },
    ),
    ours("MOSAIC_ASCII", "true, false", "false", "the commands print ASCII symbols only")
        .read(|c, v| p::flag(v).map(|x| c.ascii = x), |c| Some(c.ascii.to_string())),
];
