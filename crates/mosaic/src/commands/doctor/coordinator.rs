//! Findings of `doctor` about the configured coordinator.

use mosaic_core::ports::gatekeeper::GatekeeperHealth;

use super::finding::{Finding, Level, finding, fine};
use crate::config::Config;
use crate::sanitize;

const GROUP: &str = "Network";

/// Looks whether it answers.
pub(super) fn look(config: &Config) -> Vec<Finding> {
    let looked = crate::serve::blocking(async { Ok(crate::wire::gates::look(config).await) });
    let mut found = vec![match looked {
        Ok(None) => return vec![fine(GROUP, "coordinator not configured (local gates used)")],
        Ok(Some(GatekeeperHealth::Local | GatekeeperHealth::Reached(_))) => {
            fine(GROUP, format!("coordinator {} answers", shown(config)))
        }
        Ok(Some(GatekeeperHealth::Unreachable(why))) => unreachable(&why),
        Err(e) => unreachable(&e.to_string()),
    }];
    if config.coordinator.is_exposed() {
        let text = format!("coordinator {} is plain http to another machine", shown(config));
        let consequence = "whoever is on that network can change verdicts";
        found.push(finding(
            Level::Warn,
            GROUP,
            "D-COORDINATOR-2",
            text,
            consequence,
            "give COORDINATOR_URL an https address",
        ));
    }
    found
}

fn shown(config: &Config) -> String {
    config.coordinator.url.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn unreachable(why: &str) -> Finding {
    finding(
        Level::Fail,
        GROUP,
        "D-COORDINATOR-1",
        format!("coordinator {}", sanitize::line(why)),
        "no commit is judged, and nothing is pushed",
        "start it (mosaic coordinator), or unset COORDINATOR_URL for local gates",
    )
}
