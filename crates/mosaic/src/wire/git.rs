//! Options of git: the settings, and the operator's own configuration of git where they say nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use mosaic_adapters::git::{Credentials, GitOptions, forget_repository};
use mosaic_core::limits;

use crate::config::{Config, Secret};
use crate::local_git::capture;

/// Makes the options of git from the settings and from what the operator's own git is configured with.
pub(super) fn options(config: &Config, self_exe: &Path, allowed_repository: Option<&PathBuf>) -> GitOptions {
    let operator = operator_git();
    // git lists its files from the weakest to the strongest, so the last value of a key is the one that it obeys.
    let value = |key: &str| operator.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    let name = config.git_name.clone().or_else(|| value("user.name"));
    let email = config.git_email.clone().or_else(|| value("user.email"));
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let mut options = GitOptions::new(config.data_dir.clone(), self_exe);
    options.allow_local = config.allow_local_repositories;
    options.submodules = config.submodules;
    options.allowed_local_paths = allowed_repository.into_iter().cloned().collect();
    (options.author_name, options.author_email) = (name, email);
    options.attribute_files = attribute_files(value("core.attributesfile"), home.as_deref());
    options.network_env = network_env();
    options.credentials = Credentials {
        file: config.git_credentials_file.clone(),
        token: config.git_token.as_ref().map(|token| Secret::expose(token).to_owned()),
        token_host: config.git_token_host.clone(),
        // In the order of the files: an empty helper deletes those before it, so a sorted list would mean something
        // else.
        helpers: operator.iter().filter(|(key, _)| key.starts_with("credential.")).cloned().collect(),
        helper_home: home.clone(),
        ssh_auth_sock: std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
        known_hosts: home.map(|home| home.join(".ssh/known_hosts")).filter(|file| file.is_file()),
        known: None,
    };
    options
}

/// Names the attribute files of this machine and of the operator's account that are there and cannot be read, with the reason.
pub(crate) fn unreadable_attribute_files(home: Option<&Path>) -> Vec<(PathBuf, std::io::Error)> {
    let named = operator_git().into_iter().rev().find(|(key, _)| key == "core.attributesfile");
    mosaic_adapters::git::unreadable_attributes(&attribute_files(named.map(|(_, path)| path), home))
}

/// Lists the attribute files that git obeys in the operator's own hands: of this machine, and the one that the operator's
/// settings name or the usual one.
fn attribute_files(named: Option<String>, home: Option<&Path>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if std::env::var_os("GIT_ATTR_NOSYSTEM").is_none() {
        files.push(PathBuf::from("/etc/gitattributes"));
    }
    let named = named.map(|path| match (path.strip_prefix("~/"), home) {
        (Some(below), Some(home)) => home.join(below),
        _ => PathBuf::from(path),
    });
    // git takes an empty XDG_CONFIG_HOME for one that is not set.
    let settings = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let settings = settings.or_else(|| home.map(|home| home.join(".config")));
    files.extend(named.or_else(|| settings.map(|dir| dir.join("git/attributes"))));
    files
}

/// Variables that say how to get out of this network and whom to trust there.
const NETWORK: &[&str] = &[
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_PROXY_SSL_CAINFO",
];

/// Returns those of them that this program was started with.
fn network_env() -> Vec<(String, String)> {
    NETWORK.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}

/// Reads what the operator's own git is configured with; nothing when git does not say. Only the system's and the
/// user's files count: the repository that happens to be the working directory must not name a helper that is then
/// run with the operator's credentials.
fn operator_git() -> Vec<(String, String)> {
    let Ok(ran) = capture(&mut operator_git_command(), limits::GIT_LOCAL) else { return Vec::new() };
    let text = String::from_utf8_lossy(&ran.out);
    text.split('\0')
        .filter_map(|entry| entry.split_once('\n'))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

fn operator_git_command() -> Command {
    let pattern = r"^(user\.(name|email)|core\.attributesfile|credential\.(.*\.)?helper)$";
    let mut command = Command::new("git");
    // No repository is looked for: neither here nor where a variable points.
    forget_repository(&mut command).args(["config", "-z", "--get-regexp", pattern]);
    command.current_dir("/").env("GIT_DIR", "/dev/null");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_names_no_helper_for_the_operator() {
        let dir = tempfile::tempdir().unwrap();
        let repository = dir.path().join("planted");
        let made = Command::new("git").args(["init", "--quiet"]).arg(&repository).status().unwrap();
        assert!(made.success());
        let config = repository.join(".git/config");
        let plain = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{plain}[credential]\n\thelper = !planted\n")).unwrap();
        std::fs::write(dir.path().join(".gitconfig"), "[user]\n\tname = Operator\n").unwrap();
        let mut command = operator_git_command();
        command.env_remove("XDG_CONFIG_HOME").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env_remove("GIT_CONFIG_GLOBAL").env("HOME", dir.path()).current_dir(&repository);
        let ran = capture(&mut command, limits::GIT_LOCAL).unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.out), "user.name\nOperator\0");
    }
}
