//! The operator's login, lent to agents. A refresh token works once: the program that renews its login inside an agent's
//! directory uses the operator's up, so the renewed one is brought back at once, and every other agent gets it before
//! its own is refused.
//!
//! An agent can write into its directory whatever it likes. Only the three values that a renewal changes are taken over,
//! only when they look like what they replace and are newer, and the login before stays beside the file.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mosaic_core::limits;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::bounded_file;
use crate::durable_write::WholeFile;
use crate::private_place::{ASIDE, PrivatePlace};

/// The file's name, in the operator's directory and in an agent's.
pub(super) const FILE: &str = ".credentials.json";
/// The login that was there before the newest was brought back.
const BEFORE: &str = ".credentials.json.before-mosaic";
/// Marks of the newest login that was brought back and of the one that the operator had put there: together one account.
const ACCOUNT: &str = ".credentials.json.account-mosaic";
/// Longest content of that file in bytes: two digests in hexadecimal digits.
const ACCOUNT_BYTES: u64 = 256;
/// The part of the file that is a login; everything else in it stays as the operator has it.
const LOGIN: &str = "claudeAiOauth";

/// Why a login was not lent or brought back.
#[derive(Debug, Error)]
pub enum LoginError {
    /// A file could not be read or written.
    #[error("{what} {path}: {error}")]
    File {
        /// The operation that was tried.
        what: &'static str,
        /// With which file.
        path: String,
        /// Why it failed.
        #[source]
        error: io::Error,
    },
    /// Somebody else holds the lock for too long.
    #[error("the login in {0} is locked by another program")]
    Locked(String),
    /// The file in an agent's directory is no renewed login of this operator's.
    #[error("what the agent has in the place of its login was not brought back: {0}")]
    Refused(&'static str),
}

/// Result of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exchanged {
    /// Both have the same, or what both have is to stay.
    Nothing,
    /// The agent's was newer; the operator has it now.
    BroughtBack(BroughtBack),
    /// The operator's was newer; the agent has it now.
    Lent(Vec<u8>),
}

/// A login that was brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BroughtBack {
    /// The operator's file as it is now.
    pub(super) login: Vec<u8>,
    /// The agent's file.
    pub(super) theirs: Vec<u8>,
}

/// The operator's directory.
#[derive(Debug, Clone)]
pub(super) struct Login {
    dir: PathBuf,
}

/// Returns what stands for a login in records: its tokens cannot be found out from it, and whatever else the file says
/// does not matter.
pub(super) fn mark(file: &[u8]) -> String {
    let tokens =
        login_of(file).map(|login| Value::Array(TOKENS.map(|name| login.get(name).cloned().into()).to_vec()));
    let text = tokens.map_or_else(|| file.to_vec(), |tokens| tokens.to_string().into_bytes());
    base16ct::lower::encode_string(&Sha256::digest(text))
}

impl Login {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Reads the login as it is now.
    pub(super) fn read(&self) -> Result<Vec<u8>, LoginError> {
        let path = self.dir.join(FILE);
        bounded(&path).map_err(|error| file("the Claude login cannot be read from", &path, error))
    }

    /// Returns what stands for the login's account: the mark of the login that the operator put there, also after renewals of it
    /// were brought back. A login that was put there anew counts as another account, since its tokens do not say whose they are.
    pub(super) fn account(&self) -> Result<String, LoginError> {
        let newest = mark(&self.read()?);
        let known = bounded_file::read(&self.beside(ACCOUNT), ACCOUNT_BYTES).unwrap_or_default();
        let known = String::from_utf8_lossy(&known);
        let first = known.lines().next().zip(known.lines().nth(1)).filter(|(of, _)| *of == newest);
        Ok(first.map_or(newest.clone(), |(_, first)| first.to_owned()))
    }

    /// Lends the newest login to an agent: brings back what its directory has of an earlier run, then writes the
    /// operator's there. `lent` is the mark of what it was lent last.
    pub(super) fn lend(&self, place: &Path, lent: Option<&str>) -> Result<Vec<u8>, LoginError> {
        let _lock = self.lock()?;
        let config = PrivatePlace::open(place).map_err(|e| file("cannot open", place, e))?;
        // What is refused is overwritten in a moment.
        let _ = self.bring_back(&config, lent);
        let login = self.read()?;
        config.replace(FILE, &login).map_err(|e| file("cannot write into", place, e))?;
        Ok(login)
    }

    /// Compares the agent's login with the operator's: the newer one goes to the other.
    pub(super) fn exchange(&self, place: &Path, lent: Option<&str>) -> Result<Exchanged, LoginError> {
        let _lock = self.lock()?;
        let config = PrivatePlace::open(place).map_err(|e| file("cannot open", place, e))?;
        if let Some(newer) = self.bring_back(&config, lent)? {
            return Ok(Exchanged::BroughtBack(newer));
        }
        let (ours, theirs) = (self.read()?, config.read(FILE, limits::LOGIN_BYTES).unwrap_or_default());
        let is_as_lent = lent.is_some_and(|lent| mark(&theirs) == lent);
        let is_older = expiry(&theirs).is_some_and(|theirs| Some(theirs) < expiry(&ours));
        if theirs == ours || same_tokens(&theirs, &ours) || !(is_as_lent || is_older) {
            return Ok(Exchanged::Nothing);
        }
        config.replace(FILE, &ours).map_err(|e| file("cannot write into", place, e))?;
        Ok(Exchanged::Lent(ours))
    }

    /// Takes the agent's login over when it is a renewal of the operator's; returns both files as they are then.
    fn bring_back(
        &self,
        config: &PrivatePlace,
        lent: Option<&str>,
    ) -> Result<Option<BroughtBack>, LoginError> {
        // An agent without a login has nothing newer.
        let Ok(theirs) = config.read(FILE, limits::LOGIN_BYTES) else { return Ok(None) };
        let ours = self.read()?;
        let is_as_lent = lent.is_some_and(|lent| mark(&theirs) == lent);
        if theirs == ours || is_as_lent || same_tokens(&theirs, &ours) {
            return Ok(None);
        }
        // Nobody has renewed it since it was lent: whatever differs is newer.
        let untouched = lent.is_some_and(|lent| mark(&ours) == lent);
        let Some(renewed) = renewal(&ours, &theirs, untouched).map_err(LoginError::Refused)? else {
            return Ok(None);
        };
        // The login before is kept first and the file itself is written last. A crash in between leaves the operator
        // with the login that was there.
        self.write(BEFORE, &ours)?;
        let account = format!("{}\n{}\n", mark(&renewed), self.account()?);
        self.write(ACCOUNT, account.as_bytes())?;
        self.write(FILE, &renewed)?;
        Ok(Some(BroughtBack { login: renewed, theirs }))
    }

    /// Holds the directory against other servers of this machine.
    fn lock(&self) -> Result<File, LoginError> {
        // The directory is locked and not the file: a rename replaces the file, and a lock on the old one would keep no
        // other server out.
        let dir = bounded_file::open_dir_linked(&self.dir)
            .map_err(|e| file("the Claude login's directory cannot be opened", &self.dir, e))?;
        for _ in 0..limits::LOGIN_LOCK_TRIES {
            match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(dir),
                Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(20)),
                Err(e) => return Err(file("cannot lock", &self.dir, e.into())),
            }
        }
        Err(LoginError::Locked(self.dir.display().to_string()))
    }

    /// Returns where a file of the login lies. Operators link such files to where they keep their settings.
    fn beside(&self, name: &str) -> PathBuf {
        let target = self.dir.join(FILE).canonicalize().unwrap_or_else(|_| self.dir.join(FILE));
        if name == FILE { target } else { target.with_file_name(name) }
    }

    /// Puts a file in place as a whole, for its owner only, who stays the same.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), LoginError> {
        let target = self.beside(name);
        let aside = target.with_file_name(format!("{ASIDE}{}", uuid::Uuid::new_v4().simple()));
        let owner = std::fs::metadata(self.dir.join(FILE)).ok().map(|found| (found.uid(), found.gid()));
        let written = WholeFile::at(&target).through(aside).fill(|new| {
            let ours = new.metadata()?;
            if let Some((user, group)) = owner.filter(|owner| *owner != (ours.uid(), ours.gid())) {
                fchown(&new, Some(user), Some(group))?;
            }
            new.write_all(bytes)
        });
        written.map_err(|error| file("the Claude login cannot be written to", &target, error))
    }
}

fn file(what: &'static str, path: &Path, error: io::Error) -> LoginError {
    LoginError::File { what, path: path.display().to_string(), error }
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let opened = crate::private_place::open_unheld(path)?;
    if !opened.metadata()?.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    io::Read::read_to_end(&mut io::Read::take(opened, limits::LOGIN_BYTES), &mut bytes)?;
    Ok(bytes)
}

fn login_of(file: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice::<Value>(file).ok()?.get_mut(LOGIN)?.take() {
        Value::Object(login) => Some(login),
        _ => None,
    }
}

fn expiry(file: &[u8]) -> Option<u64> {
    login_of(file)?.get("expiresAt")?.as_u64()
}

fn same_tokens(one: &[u8], other: &[u8]) -> bool {
    mark(one) == mark(other)
}

/// The values that a renewal changes besides the time.
const TOKENS: [&str; 2] = ["accessToken", "refreshToken"];

/// Returns the operator's file with the agent's newer tokens; nothing when they are not newer, and why they are no tokens
/// of such a login when they are not.
fn renewal(ours: &[u8], theirs: &[u8], untouched: bool) -> Result<Option<Vec<u8>>, &'static str> {
    let (Some(mine), Some(new)) = (login_of(ours), login_of(theirs)) else {
        return Err("it is no login");
    };
    let (Some(before), Some(after)) =
        (mine.get("expiresAt").and_then(Value::as_u64), new.get("expiresAt").and_then(Value::as_u64))
    else {
        return Err("it does not say when it expires");
    };
    if after < before || (after == before && !untouched) {
        return Ok(None);
    }
    if is_anothers(ours, theirs) {
        return Err("it names another account");
    }
    // A planted login that expires in a hundred years would make every true renewal after it look older, and none would
    // be brought back any more.
    let latest = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + limits::LOGIN_LASTS;
    if u128::from(after) > latest.as_millis() {
        return Err("it expires later than any login does");
    }
    let mut login = mine.clone();
    for name in TOKENS {
        let old = mine.get(name).and_then(Value::as_str).unwrap_or_default();
        let token = new.get(name).and_then(Value::as_str).filter(|token| is_like(token, old));
        login.insert(name.to_owned(), token.ok_or("its tokens do not look like the ones before")?.into());
    }
    login.insert("expiresAt".to_owned(), after.into());
    if let Some(lasts) = new
        .get("refreshTokenExpiresAt")
        .filter(|at| at.is_u64() && mine.contains_key("refreshTokenExpiresAt"))
    {
        login.insert("refreshTokenExpiresAt".to_owned(), lasts.clone());
    }
    let mut file: Value = serde_json::from_slice(ours).map_err(|_| "it is no login")?;
    file[LOGIN] = Value::Object(login);
    Ok(Some(file.to_string().into_bytes()))
}

/// Tells whether both files name another account or organisation where they name one.
fn is_anothers(ours: &[u8], theirs: &[u8]) -> bool {
    const WHOSE: [&str; 5] = ["account", "organization", "email", "uuid", "user"];
    let differs = |ours: &Map<String, Value>, theirs: &Map<String, Value>| {
        ours.iter().any(|(key, mine)| {
            let lower = key.to_lowercase();
            let is_whose = WHOSE.iter().any(|word| lower.contains(word)) && !TOKENS.contains(&key.as_str());
            is_whose && theirs.get(key).is_some_and(|other| other != mine)
        })
    };
    let whole = |file: &[u8]| serde_json::from_slice::<Map<String, Value>>(file).unwrap_or_default();
    let logins = login_of(ours).zip(login_of(theirs)).is_some_and(|(ours, theirs)| differs(&ours, &theirs));
    logins || differs(&whole(ours), &whole(theirs))
}

/// Tells whether a token may follow another one: the same kind of text, and the same family (`sk-ant-…`).
fn is_like(token: &str, old: &str) -> bool {
    let family = |token: &str| token.splitn(4, '-').take(2).map(str::to_owned).collect::<Vec<_>>();
    let is_text = !token.is_empty()
        && token.len() <= limits::TOKEN_TEXT_BYTES
        && token.bytes().all(|b| b.is_ascii_graphic());
    is_text && (!old.starts_with("sk-") || family(token) == family(old))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use serde_json::json;

    use super::*;

    struct Story {
        _dir: tempfile::TempDir,
        login: Login,
        operators: PathBuf,
        agents: Vec<PathBuf>,
    }

    fn oauth(n: u32, expires: u64) -> Vec<u8> {
        let login = json!({"accessToken": format!("sk-ant-oat01-{n}"), "refreshToken": format!("sk-ant-ort01-{n}"),
            "expiresAt": expires, "scopes": ["user:inference"], "subscriptionType": "max"});
        json!({"claudeAiOauth": login, "mcpOAuth": {"kept": true}}).to_string().into_bytes()
    }

    fn refresh(file: &Path) -> String {
        let value: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        value["claudeAiOauth"]["refreshToken"].as_str().unwrap().to_owned()
    }

    impl Story {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().canonicalize().unwrap();
            let agents = vec![root.join("a"), root.join("b")];
            for place in agents.iter().chain([&root.join("login")]) {
                std::fs::create_dir(place).unwrap();
            }
            let operators = root.join("login").join(FILE);
            std::fs::write(&operators, oauth(1, 1000)).unwrap();
            Self { _dir: dir, login: Login::new(root.join("login")), operators, agents }
        }

        fn lend(&self, agent: usize) -> String {
            mark(&self.login.lend(&self.agents[agent], None).unwrap())
        }

        fn renew(&self, agent: usize, bytes: &[u8]) {
            std::fs::write(self.agents[agent].join(FILE), bytes).unwrap();
        }
    }

    #[test]
    fn a_renewed_login_is_brought_back_and_lent_to_the_others() {
        let story = Story::new();
        let (a, b) = (story.lend(0), story.lend(1));
        story.renew(0, &oauth(2, 2000));
        assert!(matches!(story.login.exchange(&story.agents[0], Some(&a)), Ok(Exchanged::BroughtBack(_))));
        assert_eq!(refresh(&story.operators), "sk-ant-ort01-2");
        assert_eq!(story.operators.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let kept: Value = serde_json::from_slice(&std::fs::read(&story.operators).unwrap()).unwrap();
        assert_eq!(
            (&kept["mcpOAuth"]["kept"], &kept["claudeAiOauth"]["subscriptionType"]),
            (&json!(true), &json!("max"))
        );
        assert_eq!(refresh(&story.operators.with_file_name(BEFORE)), "sk-ant-ort01-1");
        assert!(matches!(story.login.exchange(&story.agents[1], Some(&b)), Ok(Exchanged::Lent(_))));
        assert_eq!(refresh(&story.agents[1].join(FILE)), "sk-ant-ort01-2");
        for (agent, lent) in [(0, &a), (1, &b)] {
            assert_eq!(story.login.exchange(&story.agents[agent], Some(lent)).unwrap(), Exchanged::Nothing);
        }
    }

    #[test]
    fn a_renewal_that_does_not_move_the_time_counts_while_nobody_else_renewed() {
        let story = Story::new();
        let (a, b) = (story.lend(0), story.lend(1));
        story.renew(0, &oauth(2, 1000));
        story.renew(1, &oauth(3, 1000));
        assert!(matches!(story.login.exchange(&story.agents[0], Some(&a)), Ok(Exchanged::BroughtBack(_))));
        assert_eq!(story.login.exchange(&story.agents[1], Some(&b)).unwrap(), Exchanged::Nothing);
        assert_eq!(refresh(&story.operators), "sk-ant-ort01-2");
    }

    #[test]
    fn a_later_server_that_knows_no_mark_takes_what_expires_later_and_nothing_else() {
        let story = Story::new();
        story.lend(0);
        story.renew(0, &oauth(2, 1000));
        assert_eq!(story.login.exchange(&story.agents[0], None).unwrap(), Exchanged::Nothing);
        story.renew(0, &oauth(2, 1001));
        assert!(matches!(story.login.exchange(&story.agents[0], None), Ok(Exchanged::BroughtBack(_))));
        story.renew(0, &oauth(1, 900));
        assert!(matches!(story.login.exchange(&story.agents[0], None), Ok(Exchanged::Lent(_))));
    }

    #[test]
    fn a_new_run_gets_the_newest_and_what_the_run_before_renewed_is_not_lost() {
        let story = Story::new();
        let a = story.lend(0);
        story.renew(0, &oauth(2, 1000));
        story.login.lend(&story.agents[0], Some(&a)).unwrap();
        assert_eq!(refresh(&story.operators), "sk-ant-ort01-2");
        assert_eq!(refresh(&story.agents[0].join(FILE)), "sk-ant-ort01-2");
    }

    #[test]
    fn what_an_agent_forges_is_not_brought_back() {
        let far = json!({"claudeAiOauth": {"accessToken": "sk-ant-oat01-9", "refreshToken": "sk-ant-ort01-9", "expiresAt": u64::MAX}});
        let other = json!({"claudeAiOauth": {"accessToken": "ghp_x", "refreshToken": "sk-ant-ort01-9", "expiresAt": 2000}});
        let blank = json!({"claudeAiOauth": {"accessToken": "sk-ant-oat01-a b", "refreshToken": "sk-ant-ort01-9", "expiresAt": 2000}});
        let list = json!({"claudeAiOauth": {"accessToken": ["sk-ant-oat01-9"], "refreshToken": "sk-ant-ort01-9", "expiresAt": 2000}});
        let huge = json!({"claudeAiOauth": {"accessToken": "x".repeat(1 << 20), "refreshToken": "y", "expiresAt": 2000}});
        let texts = [far, other, blank, list, huge].map(|value| value.to_string());
        for text in texts.iter().map(String::as_str).chain(["", "junk", "[]", "{}", "{\"claudeAiOauth\":7}"])
        {
            let story = Story::new();
            let a = story.lend(0);
            story.renew(0, text.as_bytes());
            // Refused, or nothing to do: what matters is what the operator has.
            let _ = story.login.exchange(&story.agents[0], Some(&a));
            assert_eq!(std::fs::read(&story.operators).unwrap(), oauth(1, 1000), "{text:.80}");
        }
    }

    #[test]
    fn a_login_of_another_account_is_not_brought_back() {
        let file = |whose: &str, n: u32, expires: u64| {
            let login = json!({"accessToken": format!("sk-ant-oat01-{n}"), "refreshToken": format!("sk-ant-ort01-{n}"),
                "expiresAt": expires, "organizationUuid": whose});
            json!({"claudeAiOauth": login}).to_string().into_bytes()
        };
        for (whose, expected) in [("a", "sk-ant-ort01-2"), ("b", "sk-ant-ort01-1")] {
            let story = Story::new();
            std::fs::write(&story.operators, file("a", 1, 1000)).unwrap();
            let a = story.lend(0);
            story.renew(0, &file(whose, 2, 2000));
            let _ = story.login.exchange(&story.agents[0], Some(&a));
            assert_eq!(refresh(&story.operators), expected);
        }
    }

    #[test]
    fn links_pipes_and_links_in_the_way_are_not_followed() {
        let story = Story::new();
        let (a, agent) = (story.lend(0), story.agents[0].clone());
        let newer = agent.with_file_name("newer");
        std::fs::write(&newer, oauth(9, 9000)).unwrap();
        std::fs::remove_file(agent.join(FILE)).unwrap();
        symlink(&newer, agent.join(FILE)).unwrap();
        let _ = story.login.exchange(&agent, Some(&a));
        std::fs::remove_file(agent.join(FILE)).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, agent.join(FILE), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        let _ = story.login.exchange(&agent, Some(&a));
        std::fs::remove_dir_all(&agent).unwrap();
        symlink(&story.agents[1], &agent).unwrap();
        story.renew(1, &oauth(9, 9000));
        assert!(story.login.exchange(&agent, Some(&a)).is_err());
        assert_eq!(refresh(&story.operators), "sk-ant-ort01-1");
    }

    #[test]
    fn an_operators_link_stays_a_link() {
        let story = Story::new();
        let real = story.operators.with_file_name("real.json");
        std::fs::rename(&story.operators, &real).unwrap();
        symlink(&real, &story.operators).unwrap();
        let a = story.lend(0);
        story.renew(0, &oauth(2, 2000));
        assert!(matches!(story.login.exchange(&story.agents[0], Some(&a)), Ok(Exchanged::BroughtBack(_))));
        assert!(story.operators.symlink_metadata().unwrap().is_symlink());
    }
}
