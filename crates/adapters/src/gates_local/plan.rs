//! The plan: the profile's gates, then what the repository adds. A repository's list never takes one away.

use mosaic_core::domain::gates::GatePlan;
use mosaic_core::domain::ids::Word;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::gatekeeper::PlanRequest;

use super::config::{self, Config};
use super::reports::{self, FLOOR};
use super::trust::{Trust, config_digest};

/// Where the definitions stand in a repository.
const FILE: &str = ".mosaic/config.toml";

/// Makes the plan. Fails with `BadInput` when the definitions cannot be read, and with `Internal` when the list
/// of trusted digests cannot.
pub(super) async fn make(request: &PlanRequest<'_>, trust: &Trust) -> Result<GatePlan, Failure> {
    let base = request.base.short();
    let Some(bytes) = request.files.read(FILE).await? else {
        let undefined = names(request, &Config::default());
        let defined_by = format!("nothing ({base} has no {FILE})");
        return Ok(GatePlan { undefined, defined_by, trusted: true, ..GatePlan::default() });
    };
    let mut config = config::parse(&bytes).map_err(|why| {
        let advice = "mend it on the base branch and spawn again";
        Failure::new(FailureKind::BadInput, format!("{FILE} at {base} cannot be used: {why}; {advice}"))
    })?;
    let trusted = trust.allows(&bytes).map_err(|e| {
        Failure::new(FailureKind::Internal, format!("the list of trusted configurations cannot be read: {e}"))
    })?;
    // The plan is still made, so that a person sees what would run before trusting it.
    if !trusted {
        let digest = config_digest(&bytes);
        config.warnings.push(format!(
            "{FILE} at {base} is not trusted, so no gate is run; read it, then trust it (sha256 {digest}) \
             or set MOSAIC_TRUST=all"
        ));
    }
    let mut plan = GatePlan { defined_by: format!("{base}:{FILE}"), trusted, ..GatePlan::default() };
    for name in names(request, &config) {
        match config.gates.get(&name) {
            Some(definition) => plan.gates.push(definition.clone()),
            None => plan.undefined.push(name),
        }
    }
    for gate in &mut plan.gates {
        let floored = gate.name.as_str() == "coverage";
        for report in gate.reports.iter_mut().filter(|report| reports::measures_coverage(report)) {
            let own = report.min.unwrap_or(FLOOR);
            // Raised here and not in the reader: what the file asks for stays visible in its warning, and a repository cannot
            // lower the contract's floor.
            report.min = Some(if floored { own.max(FLOOR) } else { own });
        }
    }
    plan.warnings = config.warnings;
    Ok(plan)
}

/// Returns the names in running order, each once.
fn names(request: &PlanRequest<'_>, config: &Config) -> Vec<Word> {
    let own =
        request.profile.gates().iter().map(|name| name.parse().expect("the contract's names are words"));
    let added = config.added.iter().filter(|(profile, _)| *profile == request.profile);
    let mut names: Vec<Word> = Vec::new();
    for name in
        own.chain(request.custom.iter().cloned()).chain(added.flat_map(|(_, names)| names.iter().cloned()))
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use mosaic_core::domain::ids::CommitId;
    use mosaic_core::domain::spec::GateProfile;

    use super::*;

    fn plan(
        profile: GateProfile,
        custom: &[&str],
        config: Option<&str>,
        trust: &Trust,
    ) -> Result<GatePlan, Failure> {
        let base: CommitId = "8c1d2e0".repeat(6)[..40].parse().unwrap();
        let custom: Vec<Word> = custom.iter().map(|name| name.parse().unwrap()).collect();
        make(&PlanRequest { profile, custom: &custom, base: &base, config: config.map(str::as_bytes) }, trust)
    }

    fn run(plan: &GatePlan) -> Vec<&str> {
        plan.gates.iter().map(|gate| gate.name.as_str()).collect()
    }

    #[test]
    fn a_repository_adds_gates_and_never_removes_one() {
        let config = "[gates]\ntests = 't'\ne2e = 'e'\nlint = 'l'\n[gates.profiles]\nminimal = ['e2e']\nstandard = ['lint', 'docs']";
        let minimal = plan(GateProfile::Minimal, &[], Some(config), &Trust::All).unwrap();
        assert_eq!(run(&minimal), ["tests", "e2e"]);
        assert_eq!(minimal.defined_by, "8c1d2e0:.mosaic/config.toml");
        let standard = plan(GateProfile::Standard, &[], Some(config), &Trust::All).unwrap();
        assert_eq!(run(&standard), ["lint", "tests"]);
        let undefined: Vec<_> = standard.undefined.iter().map(Word::as_str).collect();
        assert_eq!(undefined, ["typecheck", "coverage", "docs"]);
    }

    #[test]
    fn custom_is_the_callers_list_and_the_repositorys() {
        let config = "[gates]\ntests = 't'\nlint = 'l'\n[gates.profiles]\ncustom = ['lint']";
        let made = plan(GateProfile::Custom, &["tests", "lint"], Some(config), &Trust::All).unwrap();
        assert_eq!(run(&made), ["tests", "lint"]);
    }

    #[test]
    fn any_gate_may_be_a_command() {
        let config = "[gates]\nai-review = 'ask'\nintegration = 'i'";
        let made = plan(GateProfile::Strict, &[], Some(config), &Trust::All).unwrap();
        assert_eq!(run(&made), ["integration", "ai-review"]);
        assert_eq!(made.undefined.len(), 5);
    }

    #[test]
    fn the_coverage_floor_is_raised_and_never_lowered() {
        let min = |config: &str| {
            let made = plan(GateProfile::Custom, &["coverage"], Some(config), &Trust::All).unwrap();
            (made.gates[0].reports.first().and_then(|report| report.min), made.warnings.len())
        };
        assert_eq!(min("[gates]\ncoverage = { lcov = 'l' }"), (Some(85.0), 0));
        assert_eq!(min("[gates]\ncoverage = { lcov = 'l', min = 10 }"), (Some(85.0), 1));
        assert_eq!(min("[gates]\ncoverage = { lcov = 'l', min = 92.5 }"), (Some(92.5), 0));
        assert_eq!(min("[gates]\ncoverage = 'true'"), (None, 1));
    }

    #[test]
    fn without_a_file_everything_is_undefined() {
        let made = plan(GateProfile::Minimal, &[], None, &Trust::All).unwrap();
        assert_eq!((made.gates.len(), made.undefined.len(), made.trusted), (0, 1, true));
        assert_eq!(made.defined_by, "nothing (8c1d2e0 has no .mosaic/config.toml)");
    }

    #[test]
    fn an_untrusted_file_is_planned_and_marked() {
        let home = tempfile::tempdir().unwrap();
        let known = Trust::Known(home.path().join("trusted"));
        let config = "[gates]\ntests = 't'";
        let made = plan(GateProfile::Minimal, &[], Some(config), &known).unwrap();
        assert!(!made.trusted && made.warnings[0].contains("is not trusted"), "{:?}", made.warnings);
        super::super::trust(&home.path().join("trusted"), &config_digest(config)).unwrap();
        assert!(plan(GateProfile::Minimal, &[], Some(config), &known).unwrap().trusted);
    }

    #[test]
    fn bad_definitions_are_bad_input() {
        let failure = plan(GateProfile::Minimal, &[], Some("[gates]\ntests = 1"), &Trust::All).unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadInput);
        assert!(
            failure.message.contains("8c1d2e0") && failure.message.contains("line 2"),
            "{}",
            failure.message
        );
    }
}
