//! The contract kept from the NestJS orchestrator, and the HTTP service.

use crate::config::coordinator;
use crate::config::outcome::Outcome;
use crate::config::parsers as p;
use crate::config::row::{Variable, contract, ours, secret};
use crate::config::settings::Config;
use crate::config::valkey::{self, built as valkey};
use crate::config::values::Auth;

fn sandbox_enabled(_: &mut Config, value: &str) -> Result<(), Outcome> {
    if p::flag(value)? {
        return Err(Outcome::Missing {
            capability: "Docker sandbox",
            fix: "unset SANDBOX_ENABLED, or set SANDBOX_ENABLED=false, to run agents without a sandbox",
        });
    }
    Ok(())
}

/// The rows, in the order in which they are shown.
pub(super) const ROWS: &[Variable] = &[
    contract("ORCHESTRATOR_PORT", "0–65535", "3001", "port of the HTTP server; 0 takes any free one").read(
        |c, v| p::number(v, 0..=65_535).map(|n| c.port = u16::try_from(n).expect("the range was checked")),
        |c| Some(c.port.to_string()),
    ),
    contract("CLAUDE_API_KEY", "text", "—", "Anthropic API key that is handed to Claude Code")
        .secret(|c| c.claude_api_key.as_ref())
        .read(|c, v| p::secret(v).map(|s| c.claude_api_key = Some(s)), |c| secret(&c.claude_api_key)),
    contract(
        "VALKEY_HOST",
        "host name or IP address, or `host:port,host:port`",
        "localhost when VALKEY_PORT is set",
        "selects the Valkey store, which many nodes share; several addresses are servers of one Valkey Cluster; a build without the feature `valkey` does not start with it",
    )
    .read(|c, v| valkey(|| valkey::hosts(v)).map(|x| c.valkey.hosts = x), |c| valkey::shown(&c.valkey.hosts)),
    contract(
        "VALKEY_PORT",
        "1–65535",
        "6379 when VALKEY_HOST is set",
        "selects the Valkey store; a build without the feature `valkey` does not start with it",
    )
    .read(
        |c, v| valkey(|| valkey::port(v)).map(|x| c.valkey.port = Some(x)),
        |c| c.valkey.port.map(|port| port.to_string()),
    ),
    contract("COORDINATOR_URL", "http or https address", "—", "coordinator that judges commits; without it gates are run here")
        .read(
            |c, v| coordinator::url(v).map(|x| c.coordinator.url = Some(x)),
            |c| c.coordinator.url.as_ref().map(ToString::to_string),
        ),
    contract(
        "SANDBOX_ENABLED",
        "true, false",
        "false",
        "Docker sandbox for agents; not in this build: true stops the start",
    )
    .read(sandbox_enabled, |_| Some("false".to_owned())),
    ours(
        "MOSAIC_CONFIG",
        "file",
        "`/etc/mosaic/mosaic.toml`, then `mosaic/mosaic.toml` in `$XDG_CONFIG_HOME`",
        "the operator's file of settings in TOML, below the environment; see docs/configuration.md",
    )
    .read(
        |_, _| Ok(()),
        |c| {
            let read: Vec<String> = c.operator_files.iter().map(|path| path.display().to_string()).collect();
            (!read.is_empty()).then(|| read.join(", "))
        },
    ),
    ours(
        "MOSAIC_DATA_DIR",
        "directory",
        "$XDG_STATE_HOME/mosaic, else ~/.local/state/mosaic",
        "where all state is kept; its file `token` is the API token",
    )
    .read(|c, v| p::path(v).map(|x| c.data_dir = x), |c| Some(c.data_dir.display().to_string())),
    ours("MOSAIC_BIND", "IP address", "127.0.0.1", "address the HTTP server listens on").read(
        |c, v| {
            let address = v
                .trim()
                .parse()
                .map_err(|_| Outcome::Wrong("an IP address such as 127.0.0.1 or ::1".to_owned()))?;
            c.bind = address;
            Ok(())
        },
        |c| Some(c.bind.to_string()),
    ),
    ours(
        "ORCHESTRATOR_AUTH",
        "token, off",
        "token",
        "whether callers need the token; off is allowed on loopback only",
    )
    .read(
        |c, v| p::choice(v, &[("token", Auth::Token), ("off", Auth::Off)]).map(|x| c.auth = x),
        |c| Some(if c.auth == Auth::Token { "token" } else { "off" }.to_owned()),
    ),
    ours(
        "MOSAIC_ALLOWED_HOSTS",
        "host names, by commas",
        "—",
        "names in the Host header that are answered, besides IP addresses and localhost",
    )
    .read(
        |c, v| p::hosts(v).map(|x| c.allowed_hosts = x),
        |c| (!c.allowed_hosts.is_empty()).then(|| c.allowed_hosts.join(",")),
    ),
    ours(
        "MOSAIC_ALLOW_LOCAL_REPOSITORIES",
        "true, false",
        "false",
        "repositories may be local paths, and be on this machine or its link (loopback, 169.254.0.0/16, fe80::/10) over any protocol",
    )
    .read(
        |c, v| p::flag(v).map(|x| c.allow_local_repositories = x),
        |c| Some(c.allow_local_repositories.to_string()),
    ),
];
