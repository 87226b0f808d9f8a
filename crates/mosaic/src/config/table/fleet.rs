//! This node in a fleet, and the store that nodes share.

use crate::config::parsers as p;
use crate::config::row::{Variable, ours, path, secret};
use crate::config::valkey::{self, built as valkey};

/// The rows, in the order in which they are shown.
pub(super) const ROWS: &[Variable] = &[
    ours("MOSAIC_NODE", "name", "the host name", "name of this node in records")
        .read(|c, v| p::word(v).map(|x| c.node = x), |c| Some(c.node.clone())),
    ours(
        "MOSAIC_NODE_URL",
        "URL",
        "—",
        "where other nodes of the fleet reach this node's API; needs an address that MOSAIC_BIND listens on",
    )
    .read(|c, v| p::address(v).map(|x| c.node_url = Some(x)), |c| c.node_url.clone()),
    ours("MOSAIC_NODE_LABELS", "name=value, by commas", "—", "what `mosaic nodes` says of this node").read(
        |c, v| p::labels(v).map(|x| c.node_labels = x),
        |c| {
            let pairs: Vec<String> = c.node_labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            (!pairs.is_empty()).then(|| pairs.join(","))
        },
    ),
    ours(
        "MOSAIC_LEASE_MS",
        "3000–3600000",
        "120000",
        "milliseconds for which a node that the Valkey store does not hear of keeps its agents; its own supervisors stop \
         them before that",
    )
    .read(|c, v| p::millis(v, 3000..=3_600_000).map(|x| c.lease = x), |c| Some(c.lease.as_millis().to_string())),
    ours(
        "MOSAIC_VALKEY_PREFIX",
        "text",
        "—",
        "goes before every key in Valkey; with a hash tag, such as `{mosaic}`, a Valkey Cluster can be used",
    )
    .read(
        |c, v| valkey(|| valkey::prefix(v)).map(|x| c.valkey.prefix = x),
        |c| (!c.valkey.prefix.is_empty()).then(|| c.valkey.prefix.clone()),
    ),
    ours("MOSAIC_VALKEY_USERNAME", "text", "—", "user that the Valkey server knows").read(
        |c, v| valkey(|| p::line(v, 256)).map(|x| c.valkey.username = Some(x)),
        |c| c.valkey.username.clone(),
    ),
    ours("MOSAIC_VALKEY_PASSWORD", "text", "—", "password of that user, or of the server").secret(|c| c.valkey.password.as_ref()).read(
        |c, v| valkey(|| p::secret(v)).map(|x| c.valkey.password = Some(x)),
        |c| secret(&c.valkey.password),
    ),
    ours("MOSAIC_VALKEY_DB", "0–65535", "0", "number of the database in the Valkey server").read(
        |c, v| valkey(|| p::number(v, 0..=65_535)).map(|x| c.valkey.database = x),
        |c| Some(c.valkey.database.to_string()),
    ),
    ours(
        "MOSAIC_VALKEY_TLS",
        "true, false",
        "false",
        "whether the Valkey server, and its Sentinels, are spoken to over TLS",
    )
    .read(|c, v| valkey(|| p::flag(v)).map(|x| c.valkey.tls = x), |c| Some(c.valkey.tls.to_string())),
    ours(
        "MOSAIC_VALKEY_CA_FILE",
        "file",
        "the system's authorities",
        "certificates (PEM) of the only authorities that may vouch for the Valkey server",
    )
    .read(|c, v| valkey(|| p::path(v)).map(|x| c.valkey.ca_file = Some(x)), |c| path(&c.valkey.ca_file)),
    ours(
        "MOSAIC_VALKEY_SENTINELS",
        "host:port, by commas",
        "—",
        "selects the Valkey store: the Sentinels that know where its server is, instead of VALKEY_HOST and VALKEY_PORT",
    )
    .read(
        |c, v| valkey(|| valkey::sentinels(v)).map(|x| c.valkey.sentinels = x),
        |c| {
            let all: Vec<String> = c.valkey.sentinels.iter().map(|(h, p)| format!("{h}:{p}")).collect();
            (!all.is_empty()).then(|| all.join(","))
        },
    ),
    ours("MOSAIC_VALKEY_SENTINEL_MASTER", "name", "mymaster", "name of the server in the Sentinels").read(
        |c, v| valkey(|| p::line(v, 256)).map(|x| c.valkey.sentinel_master = x),
        |c| Some(c.valkey.sentinel_master.clone()),
    ),
    ours(
        "MOSAIC_VALKEY_LOG_ENTRIES",
        "1000–100000000",
        "100000",
        "about how many events the Valkey store keeps for replay, at some hundred bytes each; a node keeps to its own value",
    )
    .read(
        |c, v| valkey(|| p::number(v, 1000..=100_000_000)).map(|x| c.valkey.log_entries = x),
        |c| Some(c.valkey.log_entries.to_string()),
    ),
    ours(
        "MOSAIC_VALKEY_QUEUE_EVENTS",
        "100–100000000",
        "what the queue says, or 10000",
        "about how many events BullMQ's stream of the queue keeps; the last node that starts with it decides for all",
    )
    .read(
        |c, v| valkey(|| p::number(v, 100..=100_000_000)).map(|x| c.valkey.queue_events = Some(x)),
        |c| c.valkey.queue_events.map(|events| events.to_string()),
    ),
    ours(
        "MOSAIC_VALKEY_ACCEPT_RISK",
        "true, false",
        "false",
        "starts on a Valkey server that may lose what it was given: no append-only file, an evicting policy, a replica, replicas or Sentinels without `min-replicas-to-write`; and goes on when every replica is lost",
    )
    .read(
        |c, v| valkey(|| p::flag(v)).map(|x| c.valkey.accept_risk = x),
        |c| Some(c.valkey.accept_risk.to_string()),
    ),
];
