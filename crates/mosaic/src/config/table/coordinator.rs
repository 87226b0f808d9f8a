//! Coordinators: the one that judges for this server, and the one that `mosaic coordinator` is.

use crate::config::outcome::Outcome;
use crate::config::parsers as p;
use crate::config::row::{Variable, ours, secret};
use crate::config::values::Auth;

/// The rows, in the order in which they are shown.
pub(super) const ROWS: &[Variable] = &[
    ours(
        "MOSAIC_COORDINATOR_TOKEN",
        "text",
        "—",
        "token that the coordinator wants; for `mosaic coordinator` one that callers may send, besides its own",
    )
    .secret(|c| c.coordinator.token.as_ref())
    .read(
        |c, v| p::secret(v).map(|s| c.coordinator.token = Some(s)),
        |c| secret(&c.coordinator.token),
    ),
    ours(
        "MOSAIC_COORDINATOR_INSECURE",
        "true, false",
        "false",
        "MOSAIC_COORDINATOR_TOKEN is sent over plain http to another machine, too",
    )
    .read(
        |c, v| p::flag(v).map(|x| c.coordinator.insecure = x),
        |c| Some(c.coordinator.insecure.to_string()),
    ),
    ours(
        "MOSAIC_COORDINATOR_TIMEOUT_MS",
        "1000–86400000",
        "1800000",
        "longest time of one check: of the wait for its verdict, and at `mosaic coordinator` of its gates",
    )
    .read(
        |c, v| p::millis(v, 1000..=86_400_000).map(|x| c.coordinator.timeout = x),
        |c| Some(c.coordinator.timeout.as_millis().to_string()),
    ),
    ours(
        "MOSAIC_COORDINATOR_PORT",
        "0–65535",
        "3002",
        "port of `mosaic coordinator`; 0 takes any free one",
    )
    .read(
        |c, v| {
            let port = p::number(v, 0..=65_535)?;
            c.coordinator.port = u16::try_from(port).expect("the range was checked");
            Ok(())
        },
        |c| Some(c.coordinator.port.to_string()),
    ),
    ours("MOSAIC_COORDINATOR_BIND", "IP address", "127.0.0.1", "address `mosaic coordinator` listens on")
        .read(
            |c, v| {
                let address = v.trim().parse();
                c.coordinator.bind = address
                    .map_err(|_| Outcome::Wrong("an IP address such as 127.0.0.1 or ::1".to_owned()))?;
                Ok(())
            },
            |c| Some(c.coordinator.bind.to_string()),
        ),
    ours(
        "MOSAIC_COORDINATOR_AUTH",
        "token, off",
        "token",
        "whether callers of `mosaic coordinator` need a token; off is allowed on loopback only",
    )
    .read(
        |c, v| p::choice(v, &[("token", Auth::Token), ("off", Auth::Off)]).map(|x| c.coordinator.auth = x),
        |c| Some(if c.coordinator.auth == Auth::Token { "token" } else { "off" }.to_owned()),
    ),
    ours(
        "MOSAIC_COORDINATOR_SLOTS",
        "1–1000",
        "MOSAIC_SLOTS",
        "checks that `mosaic coordinator` runs at once",
    )
    .read(
        |c, v| p::number(v, 1..=1000).map(|n| c.coordinator.slots = usize::try_from(n).ok()),
        |c| c.coordinator.slots.map(|n| n.to_string()),
    ),
    ours(
        "MOSAIC_COORDINATOR_QUEUE",
        "0–10000",
        "64",
        "checks that may wait for a slot of `mosaic coordinator`; more are answered 429",
    )
    .read(
        |c, v| p::number(v, 0..=10_000).map(|n| c.coordinator.queue = usize::try_from(n).unwrap_or(usize::MAX)),
        |c| Some(c.coordinator.queue.to_string()),
    ),
];
