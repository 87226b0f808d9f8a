//! `mosaic gates explain` and `mosaic gates init`: the gates that a directory's files define, without an agent and a server.

use std::io::Write;
use std::path::Path;

use mosaic_adapters::gates_local::{Explained, ExplainedGate, explain, files_below, initial_definition};
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::spec::GateProfile;
use mosaic_core::ports::gatekeeper::BaseFiles;
use serde::Serialize;

use crate::cli::{GateChoice, GatesExplainArgs, GatesInitArgs};
use crate::color::Paint;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::sanitize;
use crate::serve::blocking;
use crate::session::{Session, say};

/// The file that defines gates.
const CONFIG: &str = ".mosaic/config.toml";

/// An explained profile as programs read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownProfile {
    profile: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    setup: Option<ShownSetup>,
    gates: Vec<ShownGate>,
    warnings: Vec<String>,
    digest: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSetup {
    run: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownGate {
    name: String,
    /// `defined`, `none` or `missing`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    reports: Vec<String>,
    needs: Vec<String>,
    reason: String,
}

/// Runs `gates explain`.
pub(super) fn run(session: &Session, args: &GatesExplainArgs) -> Result<Exit, Problem> {
    let profile = match args.profile {
        GateChoice::Strict => GateProfile::Strict,
        GateChoice::Standard => GateProfile::Standard,
        GateChoice::Minimal => GateProfile::Minimal,
        GateChoice::Custom => GateProfile::Custom,
    };
    let files = directory(&args.path)?;
    let explained = blocking(async { Ok(explain(&files, "this tree", profile, &[], now()).await) })?;
    let explained = shown(profile, explained.map_err(unusable)?);
    match session.global.json {
        true => session.print_json(&explained)?,
        false => session.print(render(&explained, session.paint()))?,
    }
    Ok(Exit::Ok)
}

/// Runs `gates init`.
pub(super) fn init(session: &Session, args: &GatesInitArgs) -> Result<Exit, Problem> {
    let files = directory(&args.path)?;
    let path = args.path.join(CONFIG);
    let exists = || {
        let what = format!("{} exists and is not changed", path.display());
        Problem::usage_hint(what, "see what it defines: mosaic gates explain")
    };
    if path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let text = blocking(async { Ok(initial_definition(&files, now()).await) })?.map_err(unusable)?;
    let Some(text) = text else {
        let hint = "define them by hand under [gates] in .mosaic/config.toml; mosaic gates explain says what is missing";
        return Err(Problem::usage_hint("no gate was detected in this tree, so nothing was written", hint));
    };
    let written = std::fs::create_dir_all(args.path.join(".mosaic")).and_then(|()| {
        // Never over a file that appeared meanwhile.
        std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?.write_all(text.as_bytes())
    });
    match written {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Err(exists()),
        written => written
            .map_err(|e| anyhow::Error::new(e).context(format!("{} cannot be written", path.display())))?,
    }
    session.print(text)?;
    say(&format!(
        "written to {}; read it, then commit it: only the base commit's definitions count",
        path.display()
    ));
    say("see the effect: mosaic gates explain --profile strict");
    Ok(Exit::Ok)
}

fn directory(path: &Path) -> Result<impl BaseFiles, Problem> {
    if !path.is_dir() {
        let hint = "name the directory of a project: mosaic gates explain PATH";
        return Err(Problem::usage_hint(format!("{} is no directory", path.display()), hint));
    }
    // A directory that is named by a link is meant; only what lies in it is not followed.
    let real = std::fs::canonicalize(path);
    let real =
        real.map_err(|e| anyhow::Error::new(e).context(format!("{} cannot be read", path.display())))?;
    Ok(files_below(real))
}

fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

fn unusable(failure: Failure) -> Problem {
    match failure.kind {
        FailureKind::BadInput => Problem::usage(failure.message),
        _ => Problem::Other(anyhow::anyhow!(failure.message)),
    }
}

fn shown(profile: GateProfile, explained: Explained) -> ShownProfile {
    let setup = explained.setup.map(|(setup, reason)| ShownSetup {
        run: setup.run,
        inputs: setup.inputs,
        outputs: setup.outputs,
        reason,
    });
    ShownProfile {
        profile: profile.as_str(),
        setup,
        gates: explained.gates.into_iter().map(shown_gate).collect(),
        warnings: explained.warnings,
        digest: explained.digest,
    }
}

fn shown_gate(gate: ExplainedGate) -> ShownGate {
    let state = match (&gate.definition, gate.declared_none) {
        (Some(_), _) => "defined",
        (None, true) => "none",
        (None, false) => "missing",
    };
    let definition = gate.definition.as_ref();
    let reports = definition.map_or(&[][..], |definition| &definition.reports);
    ShownGate {
        name: gate.name.to_string(),
        state,
        run: definition.and_then(|definition| definition.run.clone()),
        reports: reports.iter().map(|report| format!("{} {}", report.format, report.path)).collect(),
        needs: definition.iter().flat_map(|d| &d.needs).map(ToString::to_string).collect(),
        reason: gate.reason,
    }
}

/// Renders one line a gate, and below it the report that judges it.
fn render(profile: &ShownProfile, paint: Paint) -> String {
    let mut out = format!("{} in this directory\n", profile.profile);
    if let Some(setup) = &profile.setup {
        let (run, reason) = (sanitize::line(&setup.run), sanitize::line(&setup.reason));
        out.push_str(&format!("  {:<11} {run}  {}\n", "setup", paint.dim(&format!("({reason})"))));
    }
    for gate in &profile.gates {
        let (name, reason) = (sanitize::line(&gate.name), sanitize::line(&gate.reason));
        let line = match (gate.state, &gate.run) {
            ("none", _) => format!("{name:<11} none  {}", paint.dim(&format!("({reason})"))),
            ("missing", _) => format!("{name:<11} {}  {reason}", paint.warn("missing:")),
            (_, Some(run)) => {
                format!("{name:<11} {}  {}", sanitize::line(run), paint.dim(&format!("({reason})")))
            }
            (_, None) => format!(
                "{name:<11} by the run of {}  {}",
                gate.needs.join(", "),
                paint.dim(&format!("({reason})"))
            ),
        };
        out.push_str(&format!("  {line}\n"));
        for report in &gate.reports {
            out.push_str(&format!(
                "  {:<11} {}\n",
                "",
                paint.dim(&format!("judged by {}", sanitize::line(report)))
            ));
        }
    }
    for warning in &profile.warnings {
        out.push_str(&format!("  {} {}\n", paint.warn("warning:"), sanitize::line(warning)));
    }
    out
}
