//! Where the server is and which token it wants: flags, then variables, then the files that `serve` leaves in its
//! data directory (`server.json` and `token`). What a server that is gone left there does not count: its port may be
//! another program's by now.

use std::path::{Path, PathBuf};

use crate::config::{self, ConfigError, Lookup, Secret, table};
use crate::problem::Problem;
use crate::serve::ServerFile;
use crate::small_file::read_small;

/// Options of the command line that name the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// `--url`.
    pub(crate) url: Option<String>,
    /// `--token-file`.
    pub(crate) token_file: Option<PathBuf>,
}

/// Location of a server and its token.
#[derive(Debug, Clone)]
pub(crate) struct ServerLocation {
    /// Its address, `http://host:port`.
    pub(crate) url: String,
    /// Its token; none when there is no token file (a server with authentication off writes none).
    pub(crate) token: Option<Secret>,
    /// The address was asked for by flag or variable: nothing else may be tried instead.
    pub(crate) explicit: bool,
    /// The port that the server's proof must name; none for an address that may lead through a tunnel.
    pub(crate) port: Option<u16>,
}

fn variable(name: &str, env: Lookup<'_>) -> Result<Option<String>, ConfigError> {
    let row = table::find(name).expect("the table has every variable of this program");
    Ok(config::read_value(row, env)?.map(|(value, _)| value))
}

/// Returns a variable of an agent's environment; `None` outside of an agent.
fn of_agent(name: &str, env: Lookup<'_>) -> Option<String> {
    let set = |name: &str| env(name)?.into_string().ok().filter(|value| !value.is_empty());
    set("MOSAIC_AGENT_ID").and_then(|_| set(name))
}

/// Finds the token: `--token-file`, `MOSAIC_TOKEN` (or its file), an agent's own, the data directory's file `token`.
pub(crate) fn token(wanted: &Wanted, env: Lookup<'_>) -> Result<Option<Secret>, Problem> {
    if let Some(file) = &wanted.token_file {
        let text = read_small(file).map_err(|e| {
            Problem::usage(format!(
                "--token-file {}: {e}",
                crate::sanitize::line(&file.display().to_string())
            ))
        })?;
        return checked_token(text.trim(), "--token-file").map(Some);
    }
    if let Some(value) = variable("MOSAIC_TOKEN", env)? {
        return checked_token(value.trim(), "MOSAIC_TOKEN").map(Some);
    }
    // Before the file: an agent without a sandbox could read that, and a command that it runs must act as the agent and
    // not as the operator.
    if let Some(value) = of_agent("MOSAIC_API_TOKEN", env) {
        return checked_token(&value, "MOSAIC_API_TOKEN").map(Some);
    }
    let file = config::data_dir(env)?.join("token");
    match read_small(&file) {
        Ok(text) => checked_token(text.trim(), "the data directory's file token").map(Some),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Problem::NotAllowed {
            what: format!("the token {} cannot be read: {e}", file.display()),
            hint: Some("run as the user who runs the server, or pass --token-file".to_owned()),
        }),
    }
}

/// A token that could not stand in a header would fail in a way that nobody understands.
fn checked_token(text: &str, from: &str) -> Result<Secret, Problem> {
    if text.is_empty() || text.bytes().any(|b| !b.is_ascii_graphic()) {
        return Err(Problem::usage(format!("{from}: there is no token of printable ASCII characters")));
    }
    Ok(Secret::new(text.to_owned()))
}

/// Finds the server's place. `None` when nothing says where one could be.
pub(crate) fn find(wanted: &Wanted, env: Lookup<'_>) -> Result<Option<ServerLocation>, Problem> {
    let asked = match &wanted.url {
        Some(url) => Some(("--url", url.clone())),
        None => match variable("MOSAIC_URL", env)? {
            Some(url) => Some(("MOSAIC_URL", url)),
            None => of_agent("MOSAIC_API", env).map(|url| ("MOSAIC_API", url)),
        },
    };
    if let Some((from, url)) = asked {
        let url = checked_url(&url, from)?;
        let own = own_server(env).filter(|file| file.url.trim_end_matches('/') == url);
        let token = token_for(own.as_ref(), wanted, env)?;
        return Ok(Some(ServerLocation { url, token, explicit: true, port: None }));
    }
    let Some(file) = own_server(env) else { return Ok(None) };
    let url = checked_url(&file.url, "server.json")?;
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
    let port = port.ok_or_else(|| Problem::usage(format!("server.json: {url} names no port")))?;
    let token = token_for(Some(&file), wanted, env)?;
    Ok(Some(ServerLocation { url, token, explicit: false, port: Some(port) }))
}

/// Returns what the server of the data directory says about itself, while it runs.
fn own_server(env: Lookup<'_>) -> Option<ServerFile> {
    ServerFile::of_running(&config::data_dir(env).ok()?)
}

/// Finds the token for a server. One that wants none gets none, whatever lies in its data directory from before.
fn token_for(
    server: Option<&ServerFile>,
    wanted: &Wanted,
    env: Lookup<'_>,
) -> Result<Option<Secret>, Problem> {
    match server {
        Some(file) if !file.wants_token => Ok(None),
        _ => token(wanted, env),
    }
}

/// Checks an address of a server. Only plain http: a tunnel or a proxy gives transport security.
fn checked_url(url: &str, from: &str) -> Result<String, Problem> {
    let url = url.trim().trim_end_matches('/');
    if url.starts_with("https://") {
        return Err(Problem::usage_hint(
            format!("{from}: this program speaks http only, not https"),
            "reach the server over its own http port, or through a tunnel: ssh -L 3001:127.0.0.1:3001 HOST",
        ));
    }
    let rest = url.strip_prefix("http://").unwrap_or("");
    let fine = !rest.is_empty()
        && rest.bytes().all(|b| b.is_ascii_graphic())
        && !rest.contains(['@', '?', '#', '/']);
    if !fine {
        let shown = crate::sanitize::cut(&crate::sanitize::line(url), 80);
        return Err(Problem::usage(format!(
            "{from}: \"{shown}\" is no address such as http://127.0.0.1:3001"
        )));
    }
    Ok(url.to_owned())
}

/// Says that there is no server, and how to get one.
pub(crate) fn nobody(data_dir: &Path) -> Problem {
    Problem::Unreachable {
        what: format!("no server runs on {}", data_dir.display()),
        hint: Some(
            "start one with: mosaic serve   (or name one: --url http://HOST:PORT, MOSAIC_URL)".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use mosaic_adapters::data_dir::DirLock;
    use mosaic_core::domain::ids::Timestamp;

    use super::*;

    #[test]
    fn an_agent_uses_its_own_token() {
        let env = |name: &str| match name {
            "MOSAIC_AGENT_ID" => Some("7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a".into()),
            "MOSAIC_API" => Some("http://127.0.0.1:3001".into()),
            "MOSAIC_API_TOKEN" => Some("mosaic_agent_x".into()),
            _ => None,
        };
        let place = find(&Wanted::default(), &env).unwrap().unwrap();
        assert_eq!((place.url.as_str(), place.explicit), ("http://127.0.0.1:3001", true));
        assert_eq!(place.token.unwrap().expose(), "mosaic_agent_x");
        // The same variables mean nothing where no agent runs.
        let outside = |name: &str| match name {
            "MOSAIC_AGENT_ID" => None,
            "MOSAIC_DATA_DIR" => Some("/nowhere".into()),
            other => env(other),
        };
        assert!(find(&Wanted::default(), &outside).unwrap().is_none());
    }

    #[test]
    fn flags_win_over_files_and_https_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let env = move |name: &str| (name == "MOSAIC_DATA_DIR").then(|| path.clone().into_os_string());
        assert!(find(&Wanted::default(), &env).unwrap().is_none());
        std::fs::write(dir.path().join("token"), "t0ken\n").unwrap();
        let lock = DirLock::take(dir.path()).unwrap();
        let server = ServerFile::of_this_process("http://127.0.0.1:3001/", Timestamp(0), true);
        server.write(dir.path()).unwrap();
        let place = find(&Wanted::default(), &env).unwrap().unwrap();
        assert_eq!(
            (place.url.as_str(), place.explicit, place.port),
            ("http://127.0.0.1:3001", false, Some(3001))
        );
        assert_eq!(place.token.unwrap().expose(), "t0ken");
        // One without authentication gets no token, also where an earlier one lies about.
        ServerFile { wants_token: false, ..server.clone() }.write(dir.path()).unwrap();
        assert!(find(&Wanted::default(), &env).unwrap().unwrap().token.is_none());
        // A recycled process number is not the server.
        ServerFile { process_start: server.process_start + 1, ..server.clone() }.write(dir.path()).unwrap();
        assert!(find(&Wanted::default(), &env).unwrap().is_none());
        server.write(dir.path()).unwrap();
        drop(lock);
        assert!(
            find(&Wanted::default(), &env).unwrap().is_none(),
            "the file of a server that is gone counts"
        );
        let wanted = Wanted { url: Some("http://localhost:9".to_owned()), token_file: None };
        assert!(find(&wanted, &env).unwrap().unwrap().explicit);
        for bad in ["https://x", "localhost:3001", "http://", "http://u:p@h", "http://h/path", "http://h\n"] {
            let wanted = Wanted { url: Some(bad.to_owned()), token_file: None };
            let outcome = find(&wanted, &env);
            assert!(bad == "http://h\n" || outcome.is_err(), "{bad} was taken");
        }
    }
}
