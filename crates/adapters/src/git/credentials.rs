//! Credentials for remotes, each bound to one host. git gets them from a private file that holds only the one
//! line for the host that is asked and lives as long as the call: never by argument, URL or environment.

use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::repository::{RepositoryUrl, Transport};
use mosaic_core::limits;
use percent_encoding::percent_decode_str;

use super::errors::GitError;
use super::errors::Secrets;
use crate::bounded_file;
use crate::secret_scan::KnownSecrets;
use crate::url_encoding;

/// The operator's credentials for remotes. Their debug form shows no secret.
#[derive(Clone, Default)]
pub struct Credentials {
    /// A file of git-credentials lines, `scheme://user:password@host`. Read anew for every call.
    pub file: Option<PathBuf>,
    /// A token, sent to [`Credentials::token_host`] only, as the password of the user `x-access-token`.
    pub token: Option<String>,
    /// The host (`host` or `host:port`) that the token is for.
    pub token_host: Option<String>,
    /// The operator's own credential helpers in the order of their configuration: each the name of the setting
    /// (`credential.helper` or `credential.<url>.helper`) and its value. Git asks all that fit the remote; an empty
    /// value drops those before it.
    pub helpers: Vec<(String, String)>,
    /// The home directory that the helper needs; git itself runs with an empty one.
    pub helper_home: Option<PathBuf>,
    /// The socket of the operator's ssh agent.
    pub ssh_auth_sock: Option<PathBuf>,
    /// The file of known ssh hosts; ssh's own default when `None`.
    pub known_hosts: Option<PathBuf>,
    /// Learns every password of the file.
    pub known: Option<Arc<KnownSecrets>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("file", &self.file)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("token_host", &self.token_host)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Writes the private file for this remote; `None` when nothing is known for its host.
    pub(super) fn file_for(
        &self,
        url: &RepositoryUrl,
        scratch: &Path,
    ) -> Result<Option<CredentialFile>, GitError> {
        let Some(line) = self.line_for(url)? else { return Ok(None) };
        let path = scratch.join(uuid::Uuid::new_v4().simple().to_string());
        let guard = CredentialFile { path, line };
        let write = || -> std::io::Result<()> {
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&guard.path)?;
            file.write_all(guard.line.as_bytes())?;
            file.write_all(b"\n")
        };
        write().map_err(|e| {
            GitError::refused(
                FailureKind::Internal,
                format!("a private credentials file could not be written: {e}"),
            )
        })?;
        Ok(Some(guard))
    }

    /// Makes the passwords of the file known, before the first call needs one.
    ///
    /// # Errors
    /// When the file cannot be read, which that call would tell too.
    pub fn learn_file(&self) -> io::Result<()> {
        if let Some(file) = &self.file {
            self.learn(&bounded_file::read_linked_text(file, limits::TRUST_FILE_BYTES)?);
        }
        Ok(())
    }

    fn learn(&self, text: &str) {
        let Some(known) = &self.known else { return };
        for password in text.lines().filter_map(password_of) {
            for form in [password.clone(), percent_decode_str(&password).decode_utf8_lossy().into_owned()] {
                // One that is too weak to be looked for stays as safe as a password of that kind is.
                let _ = known.register("git credentials", form.as_bytes());
            }
        }
    }

    fn line_for(&self, url: &RepositoryUrl) -> Result<Option<String>, GitError> {
        let Some((scheme, authority)) = scheme_and_authority(url) else { return Ok(None) };
        if let Some(file) = &self.file {
            let text = bounded_file::read_linked_text(file, limits::SETTING_FILE_BYTES).map_err(|e| {
                let why = format!(
                    "the credentials file {} could not be read: {e}; check MOSAIC_GIT_CREDENTIALS_FILE",
                    file.display()
                );
                GitError::refused(FailureKind::RemoteAuth, why)
            })?;
            self.learn(&text);
            if let Some(line) = text.lines().find_map(|line| matching_line(line, scheme, &authority)) {
                return Ok(Some(line));
            }
        }
        match (&self.token, &self.token_host) {
            (Some(token), Some(host)) if normal_authority(scheme, host) == authority => Ok(Some(format!(
                "{scheme}://x-access-token:{}@{authority}",
                url_encoding::encode(token.as_bytes())
            ))),
            _ => Ok(None),
        }
    }

    /// The operator's helpers with the home they need, as settings of git.
    pub(super) fn operator_helpers(&self) -> Vec<(String, String)> {
        self.helpers.iter().map(|(key, helper)| (key.clone(), self.at_home(helper))).collect()
    }

    fn at_home(&self, helper: &str) -> String {
        let command = match helper.strip_prefix('!') {
            _ if helper.is_empty() => return String::new(),
            Some(shell) => shell.to_owned(),
            None if helper.starts_with('/') => helper.to_owned(),
            None => format!("git credential-{helper}"),
        };
        match &self.helper_home {
            Some(home) => format!("!HOME={} {command}", shell_quote(&home.to_string_lossy())),
            None => format!("!{command}"),
        }
    }

    /// The ssh command line: batch mode, known hosts only, no shared connections that outlive the call.
    pub(super) fn ssh_command(&self, ssh: &str) -> String {
        let mut line = format!(
            "{} -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=30 -o ControlMaster=no \
             -o ControlPath=none -o ForwardAgent=no -o ClearAllForwardings=yes -o PermitLocalCommand=no",
            shell_quote(ssh)
        );
        if let Some(hosts) = &self.known_hosts {
            let option = format!("UserKnownHostsFile=\"{}\"", hosts.display());
            line.push_str(&format!(" -o {}", shell_quote(&option)));
        }
        line
    }
}

/// A private file with one credential; removed when dropped.
pub(super) struct CredentialFile {
    path: PathBuf,
    line: String,
}

impl CredentialFile {
    /// The value of `credential.helper` that reads it.
    pub(super) fn helper(&self) -> String {
        // A file and no variable: variables of a process are readable for the user's other processes, and git hands them on
        // to every hook and helper.
        format!("store --file={}", shell_quote(&self.path.to_string_lossy()))
    }

    pub(super) fn secrets(&self) -> Secrets {
        let password = password_of(&self.line);
        let plain = password.as_deref().map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
        Secrets::of(password.into_iter().chain(plain))
    }
}

impl Drop for CredentialFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Returns the password of a git-credentials line, as it stands there.
fn password_of(line: &str) -> Option<String> {
    let (_, rest) = line.trim().split_once("://")?;
    let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password.to_owned())
}

/// Quotes a text for the shell.
pub(super) fn shell_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn scheme_and_authority(url: &RepositoryUrl) -> Option<(&'static str, String)> {
    let scheme = match url.transport() {
        Transport::Https => "https",
        Transport::LoopbackHttp => "http",
        Transport::Ssh | Transport::Local => return None,
    };
    let authority = url.as_str().split_once("://")?.1.split('/').next()?;
    Some((scheme, normal_authority(scheme, authority)))
}

fn normal_authority(scheme: &str, authority: &str) -> String {
    let default = if scheme == "https" { ":443" } else { ":80" };
    authority.strip_suffix(default).unwrap_or(authority).to_ascii_lowercase()
}

/// Returns the line for this host, without a path, or `None` when the line is for another.
fn matching_line(line: &str, scheme: &str, authority: &str) -> Option<String> {
    let (its_scheme, rest) = line.trim().split_once("://")?;
    let before_path = rest.split('/').next()?;
    let (user, host) = before_path.rsplit_once('@')?;
    (its_scheme == scheme && normal_authority(scheme, host) == authority)
        .then(|| format!("{scheme}://{user}@{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_goes_to_its_own_host_only() {
        let own = Credentials {
            token: Some("s3cret/+".to_owned()),
            token_host: Some("git.example.com".to_owned()),
            ..Credentials::default()
        };
        let line = |url: &str| own.line_for(&url.parse().unwrap()).unwrap();
        assert_eq!(
            line("https://git.example.com/a").as_deref(),
            Some("https://x-access-token:s3cret%2F%2B@git.example.com")
        );
        assert!(line("https://git.example.com:443/a").is_some());
        for other in [
            "https://git.example.com:8443/a",
            "https://evil.example/git.example.com",
            "git@git.example.com:a",
        ] {
            assert_eq!(line(other), None, "{other}");
        }
        assert!(!format!("{own:?}").contains("s3cret"));
    }

    #[test]
    fn every_helper_keeps_its_scope_and_its_place() {
        let helpers = [
            ("credential.helper", "store"),
            ("credential.https://git.example.com.helper", ""),
            ("credential.https://git.example.com.helper", "!/usr/bin/gh auth git-credential"),
        ];
        let own = Credentials {
            helpers: helpers.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            helper_home: Some("/home/o".into()),
            ..Credentials::default()
        };
        let values: Vec<String> = own.operator_helpers().into_iter().map(|(_, value)| value).collect();
        assert_eq!(
            values,
            ["!HOME='/home/o' git credential-store", "", "!HOME='/home/o' /usr/bin/gh auth git-credential"]
        );
        assert!(own.operator_helpers().iter().zip(helpers).all(|((key, _), (given, _))| key == given));
    }

    #[test]
    fn lines_are_matched_by_scheme_host_and_port() {
        let hit = matching_line("https://u:p%40w@Host.example/path", "https", "host.example");
        assert_eq!(hit.as_deref(), Some("https://u:p%40w@host.example"));
        assert_eq!(matching_line("http://u:p@host.example", "https", "host.example"), None);
        assert_eq!(matching_line("https://u:p@host.example.evil", "https", "host.example"), None);
        assert_eq!(matching_line("# a comment", "https", "host.example"), None);
    }

    #[test]
    fn the_private_file_is_private_and_goes_away() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let own = Credentials {
            token: Some("t%1".into()),
            token_host: Some("h.example".into()),
            ..Credentials::default()
        };
        let file = own.file_for(&"https://h.example/x".parse().unwrap(), dir.path()).unwrap().unwrap();
        let path = file.path.clone();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(file.secrets().clean("bad t%1 and t%251"), "bad … and …");
        drop(file);
        assert!(!path.exists());
    }
}
