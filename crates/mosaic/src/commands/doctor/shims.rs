//! Toolchains that are found through the operator's home. Agents and gates have an empty one, so a shim in `PATH` that
//! works for the operator may find nothing there; each is tried in both surroundings.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::finding::{Finding, Level, finding, fine};
use super::programs::{CHECK, in_path};
use crate::agent_env;
use crate::config::{AgentEnv, Lookup};
use crate::local_git::capture;
use crate::sanitize;

/// Programs that managers of toolchains put shims of in `PATH`.
const TOOLS: &[&str] =
    &["cargo", "rustc", "python", "python3", "node", "npm", "ruby", "java", "go", "php", "perl", "dotnet"];

/// Parts of a shim's path, and what to do for its manager.
const MANAGERS: &[(&str, &str)] = &[
    ("rustup", "set RUSTUP_HOME to the directory of its toolchains"),
    (".cargo", "set RUSTUP_HOME to the directory of its toolchains"),
    ("pyenv", "set PYENV_ROOT to the directory of its versions"),
    ("rbenv", "set RBENV_ROOT to the directory of its versions"),
    ("nodenv", "set NODENV_ROOT to the directory of its versions"),
    ("goenv", "set GOENV_ROOT to the directory of its versions"),
    ("jenv", "set JENV_ROOT to the directory of its versions"),
    ("phpenv", "set PHPENV_ROOT to the directory of its versions"),
    ("plenv", "set PLENV_ROOT to the directory of its versions"),
    ("volta", "set VOLTA_HOME to its directory"),
    ("asdf", "set ASDF_DATA_DIR to its directory"),
    ("mise", "set MISE_DATA_DIR to its directory"),
    ("proto", "set PROTO_HOME to its directory"),
    ("fnm", "set FNM_DIR to its directory"),
    ("nvm", "set NVM_DIR to its directory"),
    ("sdkman", "set SDKMAN_DIR to its directory"),
];

/// State of this machine's shims inside, and which wanted variables are not set.
pub(super) fn look(wanted: &AgentEnv, path: &OsStr, env: Lookup<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = unset(wanted, env).into_iter().collect();
    let Ok(empty) = Scratch::new() else { return found };
    let shims: Vec<(&str, PathBuf)> = TOOLS
        .iter()
        .filter_map(|tool| Some((*tool, in_path(path, tool)?)))
        .filter(|(tool, file)| is_shim(tool, file, env))
        .collect();
    let passed = agent_env::passed(wanted, env);
    let home = env("HOME");
    let outside = home.as_deref().unwrap_or(OsStr::new("/"));
    let tried: Vec<(&str, Option<Finding>)> = std::thread::scope(|scope| {
        let all: Vec<_> = shims
            .iter()
            .map(|(tool, file)| {
                let (empty, passed) = (empty.0.as_path(), &passed);
                (*tool, scope.spawn(move || try_both(tool, file, path, (empty, passed), outside)))
            })
            .collect();
        all.into_iter().map(|(tool, tried)| (tool, tried.join().unwrap_or_default())).collect()
    });
    let fit: Vec<&str> = tried.iter().filter(|(_, bad)| bad.is_none()).map(|(tool, _)| *tool).collect();
    if !fit.is_empty() {
        found.push(fine("Agents", format!("shims that work for agents and gates: {}", fit.join(", "))));
    }
    found.extend(tried.into_iter().filter_map(|(_, bad)| bad));
    found
}

/// A home with nothing in it, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("mosaic-doctor-{}", uuid::Uuid::new_v4().simple()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn unset(wanted: &AgentEnv, env: Lookup<'_>) -> Option<Finding> {
    let names: Vec<&str> = wanted
        .names
        .iter()
        .map(String::as_str)
        .filter(|name| env(name).is_none_or(|v| v.is_empty()))
        .collect();
    (!names.is_empty()).then(|| {
        let text = format!("MOSAIC_AGENT_ENV names what is not set: {}", names.join(", "));
        finding(
            Level::Note,
            "Agents",
            "D-ENV-1",
            text,
            "agents and gates do not get it",
            "set it where the server starts",
        )
    })
}

/// Tells whether a program is found through something else: it lies in the operator's home or among shims, or is a link to
/// a program of another name.
fn is_shim(tool: &str, file: &Path, env: Lookup<'_>) -> bool {
    let home = env("HOME").map(PathBuf::from).filter(|home| home.is_absolute() && home.as_os_str() != "/");
    let in_home = home.is_some_and(|home| file.starts_with(home));
    let among = file.components().any(|part| part.as_os_str() == "shims");
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    in_home
        || among
        || real
            .file_stem()
            .is_some_and(|name| name == "rustup" || name == "volta-shim" && tool != "volta-shim")
}

/// Runs a shim as agents would and, where that fails, as the operator does.
fn try_both(
    tool: &str,
    file: &Path,
    path: &OsStr,
    inside: (&Path, &[(String, String)]),
    outside: &OsStr,
) -> Option<Finding> {
    let word = if tool == "go" { "version" } else { "--version" };
    let (empty, passed) = inside;
    let mut command = Command::new(file);
    command.arg(word).env_clear().current_dir("/").env("PATH", path).env("HOME", empty).env("TMPDIR", empty);
    command.envs(passed.iter().map(|(name, value)| (name, value)));
    let why = match capture(&mut command, CHECK) {
        Ok(ran) if ran.ok => return None,
        Ok(ran) => sanitize::first_line(&ran.err, 120),
        Err(e) => e.to_string(),
    };
    let operator =
        capture(Command::new(file).arg(word).env("PATH", path).env("HOME", outside).current_dir("/"), CHECK);
    if !operator.is_ok_and(|ran| ran.ok) {
        // It works for nobody, which is no matter of surroundings.
        return None;
    }
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let named = |part: &str| file.to_string_lossy().contains(part) || real.to_string_lossy().contains(part);
    let fix = MANAGERS
        .iter()
        .find(|(part, _)| named(part))
        .map_or("name its variables in MOSAIC_AGENT_ENV", |(_, fix)| fix);
    let text = format!("{tool} ({}) works for you and not for agents: {why}", file.display());
    Some(finding(Level::Warn, "Agents", "D-SHIM-1", text, "agents and gates that need it fail", fix))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Writes a shim that needs this file, relative to a variable.
    fn shim(dir: &Path, tool: &str, needs: &str) {
        std::fs::create_dir_all(dir).unwrap();
        let text =
            format!("#!/bin/sh\n[ -e \"{needs}\" ] || {{ echo \"no version of {tool}\" >&2; exit 1; }}\n");
        std::fs::write(dir.join(tool), text).unwrap();
        std::fs::set_permissions(dir.join(tool), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_shim_that_finds_nothing_inside_is_named_with_its_variable() {
        let home = tempfile::tempdir().unwrap();
        let at = |part: &str| home.path().join(part);
        shim(&at(".cargo/bin"), "cargo", "${RUSTUP_HOME:-$HOME/.rustup}/toolchains");
        shim(&at("py/pyenv/shims"), "python3", "$HOME/py/version");
        shim(&at("broken/shims"), "node", "/nonexistent");
        std::fs::create_dir_all(at(".rustup/toolchains")).unwrap();
        std::fs::write(at("py/version"), "3").unwrap();
        let dirs = [at(".cargo/bin"), at("py/pyenv/shims"), at("broken/shims")];
        let path = std::env::join_paths(dirs.into_iter().chain(["/bin".into(), "/usr/bin".into()])).unwrap();
        let env = |name: &str| (name == "HOME").then(|| OsString::from(home.path()));
        let found = look(&AgentEnv { names: vec!["MISSING".into()], without: Vec::new() }, &path, &env);
        let ids: Vec<&str> = found.iter().map(|f| f.id).collect();
        assert_eq!(ids, ["D-ENV-1", "", "D-SHIM-1"], "{found:?}");
        assert!(found[1].text.contains("cargo"), "{found:?}");
        assert!(found[2].text.contains("python3") && found[2].text.contains("no version"), "{found:?}");
        assert!(found[2].fix.contains("PYENV_ROOT"), "{found:?}");
    }
}
