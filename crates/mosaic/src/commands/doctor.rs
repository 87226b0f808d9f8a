//! `mosaic doctor`: is this machine ready? Every finding has an id, its consequence and one command. The exit code
//! is 1 when something is broken.

mod attributes;
mod coordinator;
mod finding;
mod node;
mod programs;
mod runtimes;
mod shims;
mod valkey;

use std::path::Path;
use std::process::Command;

use mosaic_adapters::data_dir::{others_may_swap, swap_warning};
use mosaic_api::NodeState;
use serde_json::{Value, json};

use finding::{Finding, Level, finding, fine};
pub(super) use node::breaker_about;
use programs::{CHECK, in_path};

use crate::client::Client;
use crate::color::Paint;
use crate::config::{Auth, Config};
use crate::exit::Exit;
use crate::local_git::capture;
use crate::problem::Problem;
use crate::sanitize;
use crate::session::Session;

/// Oldest git that has what is needed (`merge-tree --write-tree`).
const GIT: (u32, u32) = (2, 38);

/// Runs the command.
pub(super) fn run(session: &Session) -> Result<Exit, Problem> {
    let (config, faults) = Config::faults(&|name| session.env(name));
    let faulty = faults.into_iter().map(|fault| {
        let text = Problem::Config(fault).to_string();
        finding(Level::Fail, "Settings", "D-CONFIG-1", text, "the server does not start", "mosaic config")
    });
    let path = session.env("PATH").unwrap_or_default();
    // Checks run side by side; each has its own deadline.
    let mut findings: Vec<Finding> = faulty.collect();
    let found: Vec<Finding> = std::thread::scope(|scope| {
        let checks = [
            scope.spawn(|| vec![git(), shell()]),
            scope.spawn(|| attributes::look(session.env("HOME").as_deref().map(Path::new))),
            scope.spawn(|| runtimes::look(&config, &path)),
            scope.spawn(|| shims::look(&config.agent_env, &path, &|name| session.env(name))),
            scope.spawn(|| {
                vec![sandboxes(&config, &path), held_together(crate::wire::held_together_by(&config))]
            }),
            scope.spawn(|| data_dir(&config.data_dir, config.retention.disk_floor)),
            scope.spawn(|| valkey::look(&config)),
            scope.spawn(|| coordinator::look(&config)),
            scope.spawn(|| server(session)),
        ];
        checks.into_iter().flat_map(|check| check.join().unwrap_or_default()).collect()
    });
    findings.extend(found);
    findings.push(access(&config));
    findings.extend(weak_secrets(&config));
    let failed = findings.iter().filter(|f| f.level == Level::Fail).count();
    if session.global.json {
        let items: Vec<Value> = findings.iter().map(as_json).collect();
        session.print_json(&json!({"findings": items, "failed": failed}))?;
    } else {
        session.print(render(&findings, session.paint()))?;
    }
    Ok(if failed > 0 { Exit::Error } else { Exit::Ok })
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Note => "note",
        Level::Warn => "warn",
        Level::Fail => "FAIL",
    }
}

fn as_json(f: &Finding) -> Value {
    json!({"level": word(f.level).to_lowercase(), "group": f.group, "id": f.id, "text": f.text, "consequence": f.consequence, "fix": f.fix})
}

fn render(findings: &[Finding], paint: Paint) -> String {
    let mut out = String::new();
    let mut group = "";
    for f in findings {
        let head = if f.group == group { "" } else { f.group };
        group = f.group;
        let mark = format!("{:<4}", word(f.level));
        out.push_str(&format!(
            "{head:<12}{}  {}",
            paint.by_word(word(f.level), &mark),
            sanitize::line(&f.text)
        ));
        if !f.id.is_empty() {
            out.push_str(&format!("   {}\n{:18}{}", paint.dim(f.id), "", f.consequence));
            if !f.fix.is_empty() {
                out.push_str(&format!("\n{:18}fix: {}", "", f.fix));
            }
        }
        out.push('\n');
    }
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    let counted = |n: usize, word: &str| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") };
    out.push_str(&format!(
        "{}, {}\n",
        counted(count(Level::Fail), "problem"),
        counted(count(Level::Warn), "warning")
    ));
    out
}

/// Names the secrets of the settings that the look for the server's own values cannot find in every form.
fn weak_secrets(config: &Config) -> Vec<Finding> {
    let weak = |text| {
        let consequence = "an agent that gets hold of it may push or show it";
        finding(
            Level::Warn,
            "Secrets",
            "D-SECRET-1",
            text,
            consequence,
            "set a longer value of letters and digits",
        )
    };
    crate::wire::known::weak_settings(config).into_iter().map(weak).collect()
}

/// Reads the version out of `git version 2.47.3`.
fn git_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("git version ")?.split(['.', ' ']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn git() -> Finding {
    let bad = |text: String| {
        finding(Level::Fail, "Tools", "D-GIT-1", text, "no agent can work", "sudo apt-get install git")
    };
    match capture(Command::new("git").arg("--version"), CHECK) {
        Ok(ran) if git_version(&ran.line()).is_some_and(|v| v >= GIT) => fine("Tools", ran.line()),
        Ok(ran) => bad(format!("{} (needs {}.{})", ran.line(), GIT.0, GIT.1)),
        Err(e) => bad(format!("git: {e}")),
    }
}

fn shell() -> Finding {
    match capture(Command::new("sh").args(["-c", "exit 0"]), CHECK) {
        Ok(ran) if ran.ok => fine("Tools", "sh"),
        _ => finding(
            Level::Fail,
            "Tools",
            "D-SH-1",
            "sh does not work",
            "no gate can run",
            "sudo apt-get install dash",
        ),
    }
}

/// Asks the configured sandbox, and names the programs of others.
fn sandboxes(config: &Config, path: &std::ffi::OsStr) -> Finding {
    let found: Vec<&str> = ["bwrap", "docker"].into_iter().filter(|p| in_path(path, p).is_some()).collect();
    let found = if found.is_empty() {
        "no program of another one found".to_owned()
    } else {
        found.join(" and ") + " found, not used by this build"
    };
    match crate::wire::probe_sandbox(config) {
        Ok(probe) => {
            let text = format!("{}; {found}", probe.summary);
            finding(
                Level::Note,
                "Machine",
                "D-SANDBOX-1",
                text,
                "agents may read whatever this user may read",
                "",
            )
        }
        Err(e) => {
            let fix = "choose another sandbox with MOSAIC_SANDBOX";
            finding(Level::Fail, "Machine", "D-SANDBOX-1", e.to_string(), "the server does not start", fix)
        }
    }
}

/// Says what the process adapter holds an agent's processes together with, which makes kills certain.
fn held_together((word, why): (&str, String)) -> Finding {
    let text = format!("agents are held together by a {word}: {why}");
    match word {
        "cgroup" => fine("Machine", text),
        "pid namespace" => finding(
            Level::Note,
            "Machine",
            "D-CGROUP-1",
            text,
            "kills are as certain as with a cgroup; nothing counts or limits what an agent uses",
            "",
        ),
        _ => finding(
            Level::Warn,
            "Machine",
            "D-CGROUP-2",
            text,
            "a kill walks the tree: seconds for what forks fast, and blind when a supervisor was killed too",
            "run where cgroup v2 may be written (Delegate=yes), or allow user namespaces; then: mosaic drill",
        ),
    }
}

/// Looks whether the data directory, or the nearest directory above it, can be written and has room.
fn data_dir(dir: &Path, floor: u64) -> Vec<Finding> {
    let broken = |text: String| {
        vec![finding(
            Level::Fail,
            "Store",
            "D-DATA-1",
            text,
            "the server does not start",
            "set MOSAIC_DATA_DIR to a directory you can write",
        )]
    };
    let Some(there) = dir.ancestors().find(|d| d.exists()) else {
        return broken(format!("{} cannot be made", dir.display()));
    };
    if rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_err()
        || !there.is_dir()
    {
        return broken(format!("{} cannot be written", there.display()));
    }
    let made = if there == dir { "" } else { " (made at the first start)" };
    let first = fine("Store", format!("{}{made}", dir.display()));
    let second = match rustix::fs::statvfs(there) {
        Ok(stat) => room(stat.f_bavail.saturating_mul(stat.f_frsize), floor),
        Err(e) => finding(
            Level::Warn,
            "Store",
            "D-DISK-2",
            format!("free space is unknown: {e}"),
            "a full disk is noticed late",
            "",
        ),
    };
    let mut all = vec![first, second];
    if let Some(above) = others_may_swap(dir) {
        all.push(finding(
            Level::Warn,
            "Store",
            "D-DATA-3",
            swap_warning(dir, &above),
            "another user can take over what the next start trusts",
            "chmod o-w the directory that is named",
        ));
    }
    let aside = std::fs::read_dir(dir.join("quarantine")).into_iter().flatten().flatten().count();
    if aside > 0 {
        all.push(finding(
            Level::Warn,
            "Store",
            "D-DATA-2",
            format!("{aside} damaged stores are in {}", dir.join("quarantine").display()),
            "agents of that time are not listed any more; their work is kept in the bare repositories",
            "look at them, keep or remove them by hand",
        ));
    }
    all
}

fn room(free: u64, floor: u64) -> Finding {
    let shown = format!("{:.1} GiB free", free as f64 / f64::from(1 << 30));
    if free < floor {
        return finding(
            Level::Fail,
            "Store",
            "D-DISK-1",
            shown,
            "nothing new is started",
            "mosaic prune --dry-run",
        );
    }
    if free < floor.saturating_mul(8) {
        return finding(
            Level::Warn,
            "Store",
            "D-DISK-1",
            shown,
            "soon nothing new is started",
            "free some space",
        );
    }
    fine("Store", shown)
}

fn server(session: &Session) -> Vec<Finding> {
    let (reached, client) = reach(session);
    let mut found = vec![reached];
    // A server of an earlier version has no such page.
    if let Some(state) = client.and_then(|client| client.get::<NodeState>("/v1/state").ok()) {
        found.extend(node::findings(&state));
    }
    found
}

/// Looks for the server; returns a client when one answers.
fn reach(session: &Session) -> (Finding, Option<Client>) {
    let none = |text: String| {
        let found = finding(
            Level::Note,
            "Server",
            "D-SERVER-1",
            text,
            "only `run` and `demo` work without one",
            "mosaic serve",
        );
        (found, None)
    };
    let place = match session.place() {
        Ok(Some(place)) => place,
        Ok(None) => return none("no server runs here".to_owned()),
        Err(problem) => {
            let text = problem.to_string();
            let lost = "no command reaches the server";
            return (finding(Level::Fail, "Server", "D-SERVER-2", text, lost, "mosaic config"), None);
        }
    };
    let client = Client::new(&place);
    match client.ready() {
        Ok((true, _)) => (fine("Server", format!("{} is ready", client.url())), Some(client)),
        Ok((false, health)) => {
            let failing: Vec<String> = super::status::checks(&health)
                .into_iter()
                .filter(|c| !c.1)
                .map(|c| format!("{}: {}", c.0, c.2))
                .collect();
            let text = format!("{} is not ready: {}", client.url(), failing.join(", "));
            let lost = "nothing new is started";
            (finding(Level::Fail, "Server", "D-SERVER-3", text, lost, "mosaic status"), Some(client))
        }
        Err(problem) if place.explicit => {
            let text = problem.to_string();
            let lost = "no command reaches the server";
            (finding(Level::Fail, "Server", "D-SERVER-2", text, lost, "mosaic serve"), None)
        }
        Err(_) => none(format!("{} does not answer any more", client.url())),
    }
}

fn access(config: &Config) -> Finding {
    let bound = if config.bind.is_loopback() { "this machine only" } else { "other machines too" };
    match config.auth {
        Auth::Token => fine("Security", format!("{} ({bound}) · token on", config.bind)),
        Auth::Off => finding(
            Level::Warn,
            "Security",
            "D-AUTH-1",
            "token off",
            "every user of this machine may start agents",
            "unset ORCHESTRATOR_AUTH",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::ColorChoice;

    #[test]
    fn versions_of_git_are_compared() {
        assert_eq!(git_version("git version 2.47.3"), Some((2, 47)));
        assert_eq!(git_version("git version 2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(git_version("zsh: not found"), None);
        assert!((2, 9) < GIT && (3, 0) > GIT);
    }

    #[test]
    fn findings_have_a_consequence_and_a_fix() {
        let list = [fine("Tools", "git version 2.47.3"), room(1, 2)];
        assert_eq!(
            render(&list, Paint::choose(ColorChoice::Never, false, &|_| None)),
            "Tools       ok    git version 2.47.3\nStore       FAIL  0.0 GiB free   D-DISK-1\n                  nothing new is started\n                  fix: mosaic prune --dry-run\n1 problem, 0 warnings\n"
        );
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_found() {
        let dir = tempfile::tempdir().unwrap();
        assert!(data_dir(&dir.path().join("a/b"), 1).iter().all(|f| f.level != Level::Fail));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(data_dir(&file, 1)[0].id, "D-DATA-1");
    }
}
