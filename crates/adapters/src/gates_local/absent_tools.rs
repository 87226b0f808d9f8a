//! Detected gates whose program is not on this machine. A project that names no gates must not fail for a tool that nobody asked
//! for: such a gate counts as undefined, with a warning, and the verdict is incomplete. What the repository defines itself is
//! another matter: without its program the agent is not started.

use mosaic_core::domain::gates::GatePlan;
use mosaic_core::domain::ids::Word;

use super::effective::{Effective, Origin};

/// Returns the program that a command needs and that is not there.
pub(super) type Absent<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// Takes out of a plan the detected gates whose program is absent, and those that need them.
pub(super) fn leave_out(plan: &mut GatePlan, effective: &Effective, absent: Absent<'_>) {
    let setup = plan.setup.as_ref().and_then(|setup| absent(&setup.run));
    let is_setup_detected = matches!(effective.setup(), Some((_, Origin::Detected(_))));
    let setup = setup.filter(|_| is_setup_detected);
    let mut out: Vec<(Word, String)> = Vec::new();
    loop {
        let next = plan.gates.iter().find_map(|gate| {
            let is_detected = matches!(effective.gate(&gate.name), Some((_, Origin::Detected(_))));
            let own = gate.run.as_deref().and_then(absent);
            let needed =
                || out.iter().find(|(name, _)| gate.needs.contains(name)).map(|(_, tool)| tool.clone());
            let tool = own.or_else(|| setup.clone()).or_else(needed).filter(|_| is_detected)?;
            Some((gate.name.clone(), tool))
        });
        let Some((name, tool)) = next else { break };
        plan.gates.retain(|gate| gate.name != name);
        plan.undefined.push(name.clone());
        out.push((name, tool));
    }
    if setup.is_some() {
        plan.setup = None;
    }
    for (name, tool) in out {
        plan.warnings.push(format!(
            "{name} was detected but is not judged: {tool} is not on this machine; install it, or define {name} in \
             .mosaic/config.toml"
        ));
    }
}
