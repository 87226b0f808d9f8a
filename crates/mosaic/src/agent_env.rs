//! Variables of the server's environment that agents and gates get besides what the sandbox gives: the way out of this
//! network, whom to trust there, and where the operator's toolchains are. Their home is empty, so a shim in `PATH` would
//! find no toolchain otherwise. What could hand out the server's secrets or its git is never passed.

use std::path::{Path, PathBuf};

use mosaic_adapters::git::chooses_repository;
use mosaic_adapters::secret_scan::{found_in, names_secret};

use crate::config::AgentEnv;
use crate::config::Lookup;
use crate::config::runtimes::RUNTIMES;

/// Longest value that is passed on, in bytes; the kernel takes 128 KiB for one variable.
const VALUE_BYTES: usize = 32 * 1024;
/// Where this machine's own services are, which no proxy reaches.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Variables that lead out of this network. Programs read one spelling or the other.
const PROXIES: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "ftp_proxy",
    "no_proxy",
];

/// Files and directories of certificate authorities, by the programs that read them.
const AUTHORITIES: &[&str] = &[
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NIX_SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "NODE_USE_SYSTEM_CA",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "UV_NATIVE_TLS",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_PROXY_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "DENO_CERT",
    "DENO_TLS_CA_STORE",
    "NPM_CONFIG_CAFILE",
    "npm_config_cafile",
    "BUNDLE_SSL_CA_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
];

/// Where toolchains are, and the directory in the operator's home where their manager puts them by itself. Not here:
/// `CARGO_HOME`, `GRADLE_USER_HOME` and the like, which hold credentials beside their caches.
const TOOLCHAINS: &[(&str, &[&str])] = &[
    ("RUSTUP_HOME", &[".rustup"]),
    ("PYENV_ROOT", &[".pyenv"]),
    ("NVM_DIR", &[".nvm", ".config/nvm"]),
    ("FNM_DIR", &[".local/share/fnm", ".fnm"]),
    ("VOLTA_HOME", &[".volta"]),
    ("NODENV_ROOT", &[".nodenv"]),
    ("RBENV_ROOT", &[".rbenv"]),
    ("SDKMAN_DIR", &[".sdkman"]),
    ("JENV_ROOT", &[".jenv"]),
    ("GOENV_ROOT", &[".goenv"]),
    ("PHPENV_ROOT", &[".phpenv"]),
    ("PLENV_ROOT", &[".plenv"]),
    ("ASDF_DIR", &[".asdf"]),
    ("ASDF_DATA_DIR", &[".asdf"]),
    ("MISE_DATA_DIR", &[".local/share/mise"]),
    ("PROTO_HOME", &[".proto"]),
    ("DOTNET_ROOT", &[".dotnet"]),
    ("OPAMROOT", &[".opam"]),
    ("GHCUP_INSTALL_BASE_PREFIX", &[]),
    ("SWIFTLY_HOME_DIR", &[".local/share/swiftly"]),
    ("JULIAUP_DEPOT_PATH", &[]),
    ("GOROOT", &[]),
    ("JAVA_HOME", &[]),
    ("JDK_HOME", &[]),
    ("MAVEN_HOME", &[]),
    ("M2_HOME", &[]),
    ("GRADLE_HOME", &[]),
    ("ANDROID_HOME", &[]),
    ("ANDROID_SDK_ROOT", &[]),
    ("SDKMAN_CANDIDATES_DIR", &[]),
];

/// The global choice of versions that managers keep beside their data, as a file in the operator's home.
const CHOICES: &[(&str, &str)] = &[
    ("ASDF_DEFAULT_TOOL_VERSIONS_FILENAME", ".tool-versions"),
    ("MISE_GLOBAL_CONFIG_FILE", ".config/mise/config.toml"),
];

/// Names that are never passed, whoever asks: they carry the server's own secrets or identity, or they are the sandbox's to
/// set, or they make every program load or run something.
const NEVER: &[&str] = &[
    "PATH",
    "HOME",
    "TMPDIR",
    "PWD",
    "OLDPWD",
    "BASH_ENV",
    "ENV",
    "SHELLOPTS",
    "BASHOPTS",
    "PS4",
    "IFS",
    "SSH_AUTH_SOCK",
    "SSH_ASKPASS",
    "GIT_ASKPASS",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_EXEC_PATH",
    "GIT_TEMPLATE_DIR",
    "GIT_CEILING_DIRECTORIES",
    "GIT_EXTERNAL_DIFF",
];

/// Beginnings of such names; those of the runtimes stand in their registry.
const NEVER_BEGIN: &[&str] =
    &["MOSAIC_", "ORCHESTRATOR_", "COORDINATOR_", "SANDBOX_", "VALKEY_", "LD_", "DYLD_", "BASH_FUNC_"];

/// Returns why a variable is never passed, when it is one of those.
pub(crate) fn refused(name: &str) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    let runtimes = RUNTIMES.iter().flat_map(|row| row.own_variables);
    if NEVER_BEGIN.iter().chain(runtimes).any(|begin| upper.starts_with(begin))
        || NEVER.contains(&name)
        || chooses_repository(name)
    {
        return Some("it carries the server's own settings or secrets, or decides what programs load");
    }
    None
}

/// Returns the variables that agents and gates get, in a fixed order.
pub(crate) fn passed(wanted: &AgentEnv, env: Lookup<'_>) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: Option<String>| {
        let known = all.iter().any(|(known, _)| known == name);
        if let Some(value) = value.filter(|_| !known && !wanted.without.iter().any(|one| one == name)) {
            all.push((name.to_owned(), value));
        }
    };
    let own = wanted.names.iter().map(String::as_str);
    for name in PROXIES.iter().chain(AUTHORITIES).copied().chain(own) {
        put(name, value(name, env));
    }
    let home = env("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    for (name, places) in TOOLCHAINS {
        put(name, value(name, env).or_else(|| found(home.as_deref(), places)));
    }
    for (name, file) in CHOICES {
        let file = home.as_deref().map(|home| home.join(file)).filter(|file| file.is_file());
        put(name, value(name, env).or_else(|| file?.into_os_string().into_string().ok()));
    }
    spare_this_machine(&mut all);
    all
}

fn value(name: &str, env: Lookup<'_>) -> Option<String> {
    let text = env(name)?.into_string().ok()?;
    (!text.is_empty() && text.len() <= VALUE_BYTES).then_some(text)
}

/// Finds a toolchain where its manager puts it without being told.
fn found(home: Option<&Path>, places: &[&str]) -> Option<String> {
    let path = places
        .iter()
        .map(|place| home.map(|home| home.join(place)))
        .find(|path| path.as_ref().is_some_and(|p| p.is_dir()))?;
    path?.into_os_string().into_string().ok()
}

/// Adds this machine to what is reached without a proxy, where there is one: the server's API and a model service on
/// loopback would be asked of the proxy otherwise.
fn spare_this_machine(all: &mut Vec<(String, String)>) {
    let is_proxy = |name: &str| PROXIES.contains(&name) && !name.eq_ignore_ascii_case("no_proxy");
    if !all.iter().any(|(name, _)| is_proxy(name)) {
        return;
    }
    let given = all.iter().find(|(name, _)| name.eq_ignore_ascii_case("no_proxy"));
    let mut list = given.map_or(String::new(), |(_, value)| value.clone());
    for here in HERE {
        if list.trim() != "*" && !list.split(',').any(|one| one.trim() == here) {
            list.push_str(if list.is_empty() { "" } else { "," });
            list.push_str(here);
        }
    }
    all.retain(|(name, _)| !name.eq_ignore_ascii_case("no_proxy"));
    all.extend(["NO_PROXY", "no_proxy"].map(|name| (name.to_owned(), list.clone())));
}

/// Returns what is secret in the variables that agents get, each with its name: agents see it and could repeat it. That is the
/// value of a variable whose name says so, unless it is the path of a file; in other values what the rules of the secret scan
/// find; and passwords in addresses, as they stand there and decoded.
pub(crate) fn secrets(passed: &[(String, String)]) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, value) in passed {
        let mut put = |secret: &[u8]| all.push((name.clone(), secret.to_owned()));
        let is_address = value.contains("://") || PROXIES.contains(&name.as_str());
        if let Some(password) = password(value).filter(|_| is_address) {
            put(password.as_bytes());
            put(&percent_encoding::percent_decode_str(&password).collect::<Vec<u8>>());
        }
        if names_secret(name) && !is_address {
            if !Path::new(value).is_absolute() || !Path::new(value).exists() {
                put(value.as_bytes());
            }
            continue;
        }
        found_in(&format!("{name}={value}")).into_iter().for_each(|found| put(found.as_bytes()));
    }
    all.dedup();
    all
}

/// Returns the password in an address; a proxy's may come without its scheme.
fn password(address: &str) -> Option<String> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (!password.is_empty()).then(|| password.to_owned())
}

#[cfg(test)]
#[path = "agent_env_tests.rs"]
mod tests;
