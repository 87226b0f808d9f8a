//! Needs of gates: which gates must have passed before another one is run, told as soon as each is over.

use mosaic_core::domain::gates::{GateDefinition, GateOutcome, GatePlan};
use mosaic_core::domain::ids::Word;
use tokio::sync::watch;

/// The outcomes so far, by the gates' places in the plan.
pub(super) struct Outcomes {
    told: Vec<watch::Sender<Option<GateOutcome>>>,
}

impl Outcomes {
    /// Knows nothing yet.
    pub(super) fn of(plan: &GatePlan) -> Self {
        Self { told: plan.gates.iter().map(|_| watch::Sender::new(None)).collect() }
    }

    /// Tells the outcome of a gate to those that wait for it.
    pub(super) fn tell(&self, gate: usize, outcome: GateOutcome) {
        self.told[gate].send_replace(Some(outcome));
    }

    async fn of_gate(&self, gate: usize) -> GateOutcome {
        let mut told = self.told[gate].subscribe();
        let known = told.wait_for(Option::is_some).await;
        // The sender lives as long as this value.
        known.ok().and_then(|outcome| *outcome).unwrap_or(GateOutcome::Error)
    }

    /// Waits for everything that a gate needs. Errors with the reason why it is not run.
    pub(super) async fn await_needs(&self, plan: &GatePlan, gate: usize) -> Result<(), String> {
        if let Some(circle) = circle(plan, gate) {
            return Err(format!("not run: it needs {circle}, which needs it in turn"));
        }
        for need in &plan.gates[gate].needs {
            let Some(place) = place_of(plan, need) else {
                return Err(format!(
                    "not run: it needs {need}, which is not among the gates of this profile"
                ));
            };
            let outcome = self.of_gate(place).await;
            if outcome != GateOutcome::Pass {
                return Err(format!("not run: it needs {need}, which {}", became(outcome)));
            }
        }
        Ok(())
    }

    /// Waits until these gates are over, however they ended.
    pub(super) async fn await_all(&self, gates: &[usize]) {
        for gate in gates {
            self.of_gate(*gate).await;
        }
    }
}

/// Lists the gates whose trees a gate without a command reads its reports from, the nearest first: those that it needs, or else all
/// earlier ones that run something.
pub(super) fn sources(plan: &GatePlan, gate: usize) -> Vec<usize> {
    let needs: Vec<usize> = plan.gates[gate].needs.iter().filter_map(|need| place_of(plan, need)).collect();
    if !needs.is_empty() {
        return needs;
    }
    (0..gate).rev().filter(|earlier| plan.gates[*earlier].run.is_some()).collect()
}

/// Returns the gate through which a gate needs itself.
fn circle(plan: &GatePlan, gate: usize) -> Option<&Word> {
    let needed = |gate: &GateDefinition| -> Vec<usize> {
        gate.needs.iter().filter_map(|need| place_of(plan, need)).collect()
    };
    let mut seen = vec![false; plan.gates.len()];
    let mut open = needed(&plan.gates[gate]);
    while let Some(next) = open.pop() {
        if needed(&plan.gates[next]).contains(&gate) || next == gate {
            return Some(&plan.gates[next].name);
        }
        if !std::mem::replace(&mut seen[next], true) {
            open.extend(needed(&plan.gates[next]));
        }
    }
    None
}

fn place_of(plan: &GatePlan, name: &Word) -> Option<usize> {
    plan.gates.iter().position(|gate| gate.name == *name)
}

fn became(outcome: GateOutcome) -> &'static str {
    match outcome {
        GateOutcome::Pass => "passed",
        GateOutcome::Fail => "failed",
        GateOutcome::Flaky => "is flaky",
        GateOutcome::Error => "could not be judged",
        GateOutcome::Skip => "was not run",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(gates: &[(&str, &[&str])]) -> GatePlan {
        let gate = |(name, needs): &(&str, &[&str])| GateDefinition {
            needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
            ..GateDefinition::of_command(name.parse().unwrap(), "true".to_owned())
        };
        GatePlan { gates: gates.iter().map(gate).collect(), trusted: true, ..GatePlan::default() }
    }

    #[tokio::test]
    async fn a_gate_waits_for_its_needs_and_names_the_one_that_did_not_pass() {
        let plan = plan(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &["x"])]);
        let outcomes = Outcomes::of(&plan);
        outcomes.tell(0, GateOutcome::Pass);
        assert_eq!(outcomes.await_needs(&plan, 1).await, Ok(()));
        outcomes.tell(1, GateOutcome::Flaky);
        assert_eq!(outcomes.await_needs(&plan, 2).await.unwrap_err(), "not run: it needs b, which is flaky");
        assert!(outcomes.await_needs(&plan, 3).await.unwrap_err().contains("x, which is not among"));
    }

    #[tokio::test]
    async fn a_circle_of_needs_holds_nobody() {
        let plan = plan(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["d"])]);
        let outcomes = Outcomes::of(&plan);
        for gate in 0..4 {
            assert!(
                outcomes.await_needs(&plan, gate).await.unwrap_err().contains("needs it in turn"),
                "{gate}"
            );
        }
    }
}
