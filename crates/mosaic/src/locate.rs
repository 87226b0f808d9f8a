//! Where the server is and which token it wants: flags, then variables, then the files that `serve` leaves in its
//! data directory (`server.json` and `token`).

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::{self, ConfigError, Lookup, Secret, table};
use crate::problem::Problem;

/// Largest `server.json` or `token`, in bytes; both are a few lines.
const FILE_BYTES: u64 = 64 * 1024;

/// What the command line says about the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// `--url`.
    pub(crate) url: Option<String>,
    /// `--token-file`.
    pub(crate) token_file: Option<PathBuf>,
}

/// Where a server is expected.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its address, `http://host:port`.
    pub(crate) url: String,
    /// Its token; none when there is no token file (a server with authentication off writes none).
    pub(crate) token: Option<Secret>,
    /// The address was asked for by flag or variable: nothing else may be tried instead.
    pub(crate) explicit: bool,
}

fn read_small(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads what a running or crashed server left about itself.
pub(crate) fn server_file(data_dir: &Path) -> Option<Value> {
    serde_json::from_str(&read_small(&data_dir.join("server.json")).ok()?).ok()
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
            Problem::usage(format!("--token-file {}: {e}", crate::plain::line(&file.display().to_string())))
        })?;
        return checked_token(text.trim(), "--token-file").map(Some);
    }
    if let Some(value) = variable("MOSAIC_TOKEN", env)? {
        return checked_token(value.trim(), "MOSAIC_TOKEN").map(Some);
    }
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
pub(crate) fn find(wanted: &Wanted, env: Lookup<'_>) -> Result<Option<Place>, Problem> {
    let asked = match &wanted.url {
        Some(url) => Some(("--url", url.clone())),
        None => match variable("MOSAIC_URL", env)? {
            Some(url) => Some(("MOSAIC_URL", url)),
            None => of_agent("MOSAIC_API", env).map(|url| ("MOSAIC_API", url)),
        },
    };
    if let Some((from, url)) = asked {
        let url = checked_url(&url, from)?;
        return Ok(Some(Place { url, token: token(wanted, env)?, explicit: true }));
    }
    let data_dir = config::data_dir(env)?;
    let Some(file) = server_file(&data_dir) else { return Ok(None) };
    let Some(url) = file.get("url").and_then(Value::as_str) else { return Ok(None) };
    let url = checked_url(url, "server.json")?;
    Ok(Some(Place { url, token: token(wanted, env)?, explicit: false }))
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
        let shown = crate::plain::cut(&crate::plain::line(url), 80);
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
        std::fs::write(dir.path().join("server.json"), r#"{"url":"http://127.0.0.1:3001/","pid":7}"#)
            .unwrap();
        std::fs::write(dir.path().join("token"), "t0ken\n").unwrap();
        let place = find(&Wanted::default(), &env).unwrap().unwrap();
        assert_eq!((place.url.as_str(), place.explicit), ("http://127.0.0.1:3001", false));
        assert_eq!(place.token.unwrap().expose(), "t0ken");
        let wanted = Wanted { url: Some("http://localhost:9".to_owned()), token_file: None };
        assert!(find(&wanted, &env).unwrap().unwrap().explicit);
        for bad in ["https://x", "localhost:3001", "http://", "http://u:p@h", "http://h/path", "http://h\n"] {
            let wanted = Wanted { url: Some(bad.to_owned()), token_file: None };
            let outcome = find(&wanted, &env);
            assert!(bad == "http://h\n" || outcome.is_err(), "{bad} was taken");
        }
    }
}
