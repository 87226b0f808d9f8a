//! The operator's file: settings of this machine in TOML, below the environment. The keys are those of the one table
//! ([`super::table`]) in lower case without their prefix. A repository cannot set anything here: no path of one is ever read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use mosaic_adapters::bounded_file;
use mosaic_core::domain::spec::closest;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::table::{find, variables};
use super::values::{Lookup, directory};

/// The file of the machine.
const SYSTEM: &str = "/etc/mosaic/mosaic.toml";

/// Longest operator's file, in bytes: all settings together fit hundreds of times.
const BYTES: u64 = 1024 * 1024;

/// The variable that names the file.
pub(crate) const NAMED: &str = "MOSAIC_CONFIG";

/// One setting of a file.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The value as the environment would have it.
    pub(super) value: String,
    /// The setting is the path of a file that holds the value, as `NAME_FILE` is.
    pub(super) in_file: bool,
    /// Where it stands: `PATH:LINE`.
    pub(super) place: String,
}

/// The settings of the files that were found.
#[derive(Debug, Clone, Default)]
pub(super) struct OperatorFile {
    entries: BTreeMap<&'static str, Entry>,
    /// The files that were read.
    pub(super) read: Vec<PathBuf>,
    /// Files that are there and that this user may not read.
    pub(super) unread: Vec<PathBuf>,
    /// Fault of a file as a whole; what it says is not known then.
    pub(super) unusable: Option<ConfigError>,
}

/// Returns the key of a variable in the file: `MOSAIC_SLOTS` is `slots`, `VALKEY_HOST` is `valkey_host`.
pub(crate) fn key(name: &str) -> String {
    let name = name.strip_prefix("MOSAIC_").or_else(|| name.strip_prefix("ORCHESTRATOR_")).unwrap_or(name);
    name.to_ascii_lowercase()
}

/// Lists the files to look at, the one that counts more last. One that was named must be there.
fn places(env: Lookup<'_>) -> (Vec<PathBuf>, bool) {
    if let Some(path) = env(NAMED).filter(|path| !path.is_empty()) {
        return (vec![path.into()], true);
    }
    let user = directory(env, "XDG_CONFIG_HOME", ".config");
    let user = user.map(|folder| folder.join("mosaic/mosaic.toml"));
    (std::iter::once(PathBuf::from(SYSTEM)).chain(user).collect(), false)
}

impl OperatorFile {
    /// Reads the files that are there. What is wrong is named by file and line; the rest is used. For a program that an agent
    /// starts there are no such files: it acts for the agent, whose environment says everything.
    pub(super) fn load(env: Lookup<'_>) -> (Self, Vec<ConfigError>) {
        let (mut found, mut faults) = (Self::default(), Vec::new());
        if env("MOSAIC_AGENT_ID").is_some_and(|id| !id.is_empty()) {
            return (found, faults);
        }
        let (places, must_exist) = places(env);
        for path in places {
            match bounded_file::open_linked(&path).and_then(|file| text_of(&path, file)) {
                Ok((text, about)) => {
                    faults.extend(found.take(&path, &text, &about));
                    found.read.push(path);
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => {}
                Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied && !must_exist => {
                    found.unread.push(path);
                }
                Err(e) => found.unusable = Some(unusable(&path, e.to_string())),
            }
        }
        faults.extend(found.unusable.clone());
        (found, faults)
    }

    /// Returns the setting of a variable.
    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Takes the settings of one file over those of the files before it.
    fn take(&mut self, path: &Path, text: &str, about: &Metadata) -> Vec<ConfigError> {
        let is_readable = about.mode() & 0o044 != 0;
        let table = match DeTable::parse(text) {
            Ok(table) => table.into_inner(),
            Err(e) => {
                let at = e.span().map_or(1, |span| line(text, span.start));
                self.unusable = Some(unusable(path, format!("line {at}: {}", e.message())));
                return Vec::new();
            }
        };
        let mut faults = Vec::new();
        let mut settings: Vec<_> = table.iter().collect();
        settings.sort_by_key(|(name, _)| name.span().start);
        // Kept for each file by itself, because the file of the user may well set what the file of the machine has set.
        let mut own = BTreeSet::new();
        for (name, value) in settings {
            let place = format!("{}:{}", path.display(), line(text, name.span().start));
            let taken = setting(name.get_ref(), value.get_ref()).and_then(|(variable, value, in_file)| {
                let key = key(variable);
                if is_readable && !in_file && find(variable).is_some_and(|row| row.secret) {
                    let fix =
                        format!("chmod 600 {}, or give the path of a file as {key}_file", path.display());
                    return Err((format!("others may read {key}, which is a secret"), fix));
                }
                if !own.insert(variable) {
                    let what = format!("{key} and {key}_file are both set");
                    return Err((what, "keep one of them".to_owned()));
                }
                self.entries.insert(variable, Entry { value, in_file, place: place.clone() });
                Ok(())
            });
            if let Err((what, fix)) = taken {
                faults.push(ConfigError::Together { what: format!("{place}: {what}"), fix });
            }
        }
        faults
    }
}

/// Reads one setting: the variable, its value, and whether that is the path of a file with the value.
fn setting(name: &str, value: &DeValue<'_>) -> Result<(&'static str, String, bool), (String, String)> {
    let row =
        |wanted: &str| variables().map(|row| row.name).find(|known| *known != NAMED && key(known) == wanted);
    let (variable, in_file) = match (row(name), name.strip_suffix("_file").and_then(row)) {
        (Some(variable), _) => (variable, false),
        (None, Some(variable)) => (variable, true),
        (None, None) => {
            let keys: Vec<String> = variables().map(|row| key(row.name)).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let shown = crate::sanitize::line(name);
            let fix = closest(name, &keys).map_or_else(
                || "all settings: mosaic config".to_owned(),
                |near| format!("did you mean {near}? All settings: mosaic config"),
            );
            return Err((format!("{shown} is no setting of mosaic"), fix));
        }
    };
    let value = text(value).ok_or_else(|| {
        let what = format!("{name} is a {}", value.type_str());
        (what, "write a text, a number, true or false, or a list of texts".to_owned())
    })?;
    // Against the working directory it would be a file of whatever repository a command is run in.
    if in_file && !Path::new(&value).is_absolute() {
        return Err((format!("{name} is no absolute path"), "write the whole path".to_owned()));
    }
    Ok((variable, value, in_file))
}

/// Returns a value as the environment would have it; lists are joined with commas.
fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Array(all) => {
            let all: Option<Vec<String>> =
                all.iter().map(|one| one.get_ref().as_str().map(str::to_owned)).collect();
            all.map(|all| all.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

/// Reads a file that nobody else could have written: its writer decides which programs the server runs. The owner and the mode
/// are those of what was opened, whatever has its name by now.
fn text_of(path: &Path, file: File) -> std::io::Result<(String, Metadata)> {
    let about = file.metadata()?;
    let refused = |why: String| Err(std::io::Error::other(why));
    if ![0, rustix::process::geteuid().as_raw()].contains(&about.uid()) {
        return refused(format!(
            "it belongs to user {}, who could change the settings of this server; chown it to root",
            about.uid()
        ));
    }
    if about.mode() & 0o022 != 0 {
        let mode = about.mode() & 0o777;
        return refused(format!("others may write it (mode {mode:o}); chmod go-w {}", path.display()));
    }
    let mut text = String::new();
    file.take(BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES {
        return refused(format!("it has more than {BYTES} bytes"));
    }
    Ok((text, about))
}

fn line(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

fn unusable(path: &Path, why: String) -> ConfigError {
    ConfigError::Together {
        what: format!("the operator's file {} cannot be used: {why}", path.display()),
        fix: format!("mend it, or name another one with {NAMED}"),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::{Config, Secret};
    use super::*;

    /// An environment with the file's text under the name of the setting.
    fn with(text: &str, more: &[(&str, &str)], check: impl FnOnce(&Config, &[String], &Path)) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("mosaic.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let env = |name: &str| match name {
            NAMED => Some(path.clone().into_os_string()),
            "HOME" => Some(place.path().into()),
            _ => more.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value)),
        };
        let (config, faults) = Config::faults(&env);
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        check(&config, &faults, &path);
    }

    #[test]
    fn no_two_settings_have_one_key() {
        let keys: BTreeSet<String> = variables().map(|row| key(row.name)).collect();
        assert_eq!(keys.len(), variables().count());
    }

    #[test]
    fn a_setting_of_the_file_counts_below_the_environment_and_says_where_it_stands() {
        let text = "# of this machine\nslots = 7\nport = 4100\nallowed_hosts = [\"a.example\", \"b.example\"]\nascii = true\n";
        with(text, &[("ORCHESTRATOR_PORT", "4200")], |config, faults, path| {
            assert_eq!(faults, [""; 0]);
            assert_eq!((config.slots, config.port, config.ascii), (7, 4200, true));
            assert_eq!(config.allowed_hosts, ["a.example", "b.example"]);
            assert_eq!(config.origins["MOSAIC_SLOTS"], format!("{}:2", path.display()));
            assert_eq!(config.origins["ORCHESTRATOR_PORT"], "ORCHESTRATOR_PORT");
            assert_eq!(config.origins["MOSAIC_ALLOWED_HOSTS"], format!("{}:4", path.display()));
        });
    }

    #[test]
    fn a_variables_file_in_the_environment_stands_over_a_value_in_the_file() {
        let place = tempfile::tempdir().unwrap();
        let token = place.path().join("token");
        std::fs::write(&token, "from-the-variables-file\n").unwrap();
        let text = format!(
            "valkey_host = \"127.0.0.1\"\ntoken = \"from-the-operators-file\"\nvalkey_password_file = {token:?}\n"
        );
        with(&text, &[("MOSAIC_TOKEN_FILE", token.to_str().unwrap())], |config, faults, _| {
            assert_eq!(faults, [""; 0]);
            assert_eq!(config.token.as_ref().map(Secret::expose), Some("from-the-variables-file"));
            assert_eq!(config.valkey.password.as_ref().map(Secret::expose), Some("from-the-variables-file"));
        });
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_the_rest_is_used() {
        with("slots = 3\nslot = 4\nport = 99999\n[sandboxes]\na = 1\n", &[], |config, faults, path| {
            assert_eq!(config.slots, 3);
            let said = faults.join("\n");
            let at = |line: usize| format!("{}:{line}: ", path.display());
            assert!(said.contains(&format!("{}slot is no setting of mosaic", at(2))), "{said}");
            assert!(said.contains(&format!("ORCHESTRATOR_PORT ({}:3): ", path.display())), "{said}");
            assert!(said.contains(&format!("{}sandboxes is no setting of mosaic", at(4))), "{said}");
        });
        with("slots = \n", &[], |_, faults, path| {
            assert!(faults[0].contains(path.to_str().unwrap()) && faults[0].contains("line 1"), "{faults:?}");
        });
        with("token_file = \"token\"\n", &[], |_, faults, _| {
            assert!(faults[0].contains("token_file is no absolute path"), "{faults:?}");
        });
        with("config = \"/elsewhere.toml\"\n", &[], |_, faults, _| {
            assert!(faults[0].contains("config is no setting"), "{faults:?}");
        });
    }

    #[test]
    fn a_file_that_others_may_write_or_that_is_missing_where_it_was_named_is_refused() {
        with("slots = 3\n", &[], |_, _, path| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
            let env = |name: &str| (name == NAMED || name == "HOME").then(|| path.as_os_str().to_owned());
            let (config, faults) = Config::faults(&env);
            assert!(
                faults.iter().any(|fault| fault.to_string().contains("others may write it")),
                "{faults:?}"
            );
            assert_ne!(config.slots, 3);
            std::fs::write(path, "slots = 3\ntoken = \"a secret\"\n").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
            let (config, faults) = Config::faults(&env);
            assert!(faults[0].to_string().contains("others may read token"), "{faults:?}");
            assert!(config.token.is_none() && config.slots == 3);
            std::fs::remove_file(path).unwrap();
            let (_, faults) = Config::faults(&env);
            assert!(faults.iter().any(|fault| fault.to_string().contains("cannot be used")), "{faults:?}");
        });
    }

    #[test]
    fn a_program_of_an_agent_reads_no_operators_file() {
        with(
            "slots = 3\ntoken = \"the-operators\"\nbroken = 1\n",
            &[("MOSAIC_AGENT_ID", "a")],
            |config, faults, _| {
                assert_eq!(faults, [""; 0]);
                assert!(config.token.is_none() && config.operator_files.is_empty());
            },
        );
    }

    #[test]
    fn one_setting_is_found_or_refused_as_all_are() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("mosaic.toml");
        let env = |name: &str| (name == NAMED || name == "HOME").then(|| path.as_os_str().to_owned());
        std::fs::write(&path, "data_dir = \"/srv/mosaic\"\nslotz = 3\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(super::super::data_dir(&env).unwrap(), Path::new("/srv/mosaic"));
        std::fs::write(&path, "data_dir = \"/srv/mosaic\n").unwrap();
        assert!(super::super::data_dir(&env).unwrap_err().to_string().contains("line 1"));
        let set = |name: &str| if name == "MOSAIC_DATA_DIR" { Some("/elsewhere".into()) } else { env(name) };
        assert_eq!(super::super::data_dir(&set).unwrap(), Path::new("/elsewhere"), "no file is asked");
    }

    #[test]
    fn the_users_file_is_found_where_none_is_named() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("mosaic");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("mosaic.toml"), "slots = 9\n").unwrap();
        std::fs::set_permissions(folder.join("mosaic.toml"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let env = |name: &str| (name == "XDG_CONFIG_HOME" || name == "HOME").then(|| place.path().into());
        let (config, faults) = Config::faults(&env);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(config.slots, 9);
    }
}
