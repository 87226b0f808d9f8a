//! `.gitmodules` as data: which submodules a commit declares and where they come from. Names become paths below a git
//! directory and addresses reach git, so both are checked here; whatever is odd is refused by name, never repaired.

use std::collections::BTreeMap;

use mosaic_core::domain::repository::RepositoryUrl;

use super::errors::plain;

/// Longest name of a submodule, in bytes: each part of it is a file name.
const NAME_BYTES: usize = 255;

/// One submodule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    /// Its name, which is safe as a path below `.git/modules`.
    pub(crate) name: String,
    /// Its path in the tree.
    pub(crate) path: String,
    /// Its address as it stands there, perhaps relative.
    pub(crate) url: String,
    /// It is not to be checked out.
    pub(crate) never: bool,
}

/// Reads what `git config -z --get-regexp` prints of the file. Returns the usable ones and, in words, the others.
pub(crate) fn declared(output: &[u8]) -> (Vec<Declared>, Vec<String>) {
    let mut sections: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    let mut faults = Vec::new();
    for entry in output.split(|b| *b == 0).filter(|entry| !entry.is_empty()) {
        let Ok(text) = std::str::from_utf8(entry) else {
            faults.push("one in .gitmodules is not UTF-8 text".to_owned());
            continue;
        };
        let (key, value) = text.split_once('\n').unwrap_or((text, ""));
        if let Some((name, variable)) = key.strip_prefix("submodule.").and_then(|key| key.rsplit_once('.')) {
            sections.entry(name).or_default().insert(variable, value);
        }
    }
    let mut all: Vec<Declared> = Vec::new();
    for (name, values) in sections {
        let value = |variable: &str| values.get(variable).copied().unwrap_or_default();
        let (path, url) = (value("path"), value("url"));
        let shown = plain(if path.is_empty() { name } else { path });
        let within = |other: &Declared| {
            name.strip_prefix(other.name.as_str()).is_some_and(|rest| rest.starts_with('/'))
                || other.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
        };
        if !is_plain_path(name) || name.len() > NAME_BYTES {
            faults.push(format!("{shown}: its name is not a plain path"));
        } else if !is_plain_path(path) {
            faults.push(format!("{shown}: its path is not a plain path"));
        } else if url.is_empty() {
            faults.push(format!("{shown}: .gitmodules gives no url"));
        } else if all.iter().any(within) {
            faults.push(format!("{shown}: its name lies within the name of another"));
        } else if all.iter().any(|other| other.path == path) {
            faults.push(format!("{shown}: another has the same path"));
        } else {
            let (name, path, url) = (name.to_owned(), path.to_owned(), url.to_owned());
            all.push(Declared { name, path, url, never: value("update") == "none" });
        }
    }
    (all, faults)
}

/// Tells whether a text is a relative path with nothing special in it: no part that leads up or into a git directory, by
/// whatever spelling a file system takes for one.
fn is_plain_path(text: &str) -> bool {
    let is_git = |part: &str| {
        let part: String = part.chars().filter(|c| c.is_ascii()).collect::<String>().to_ascii_lowercase();
        let part = part.trim_end_matches(['.', ' ']);
        part == ".git" || part.starts_with("git~") || part.starts_with(".git:")
    };
    let fine = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && !is_git(part) && !part.contains(['\\', '\0'])
    };
    !text.starts_with('-') && !text.chars().any(char::is_control) && text.split('/').all(fine)
}

/// An address of a submodule that is not used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// A relative one takes more parts off than there are.
    #[error("its address {0} leads out of its server")]
    OutOfServer(String),
    /// It has a part that leads up.
    #[error("its address {0} leads upwards")]
    Upwards(String),
    /// It is no address of a repository.
    #[error("its address {address} {source}")]
    NoAddress {
        /// The address.
        address: String,
        /// The cause.
        #[source]
        source: mosaic_core::domain::ids::InvalidName,
    },
}

/// Returns the address of a submodule. A relative one is taken from the address of the repository that declares it.
pub(crate) fn address(base: &RepositoryUrl, url: &str) -> Result<RepositoryUrl, AddressError> {
    let shown = || plain(url);
    let whole = if url.starts_with("./") || url.starts_with("../") {
        relative(base.as_str(), url).ok_or_else(|| AddressError::OutOfServer(shown()))?
    } else {
        url.to_owned()
    };
    // Some servers resolve such parts themselves, so that an address of an allowed repository could name another one.
    if whole.split(['/', ':']).any(|part| part == "..") {
        return Err(AddressError::Upwards(shown()));
    }
    whole.parse().map_err(|source| AddressError::NoAddress { address: shown(), source })
}

/// Resolves a relative address as git does: each `../` takes one part off the end of the base.
fn relative(base: &str, mut url: &str) -> Option<String> {
    let mut base = base.trim_end_matches('/').trim_end_matches("/.git").to_owned();
    // Nothing before this may be taken off: the server's name.
    let fixed = match base.split_once("://") {
        Some((scheme, rest)) => scheme.len() + 3 + rest.find('/')?,
        None if base.starts_with('/') => 0,
        None => base.find(':')?,
    };
    loop {
        if let Some(rest) = url.strip_prefix("../") {
            url = rest;
            let at = base.rfind('/').filter(|at| *at > fixed).unwrap_or(fixed);
            if at >= base.len() {
                return None;
            }
            base.truncate(at);
        } else if let Some(rest) = url.strip_prefix("./") {
            url = rest;
        } else {
            break;
        }
    }
    // The scp form keeps its colon where the path began.
    let scp = !base.contains("://") && !base.starts_with('/') && base.len() == fixed && !base.is_empty();
    Some(format!("{base}{}{url}", if scp { ":" } else { "/" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base: &str, url: &str) -> Result<String, AddressError> {
        address(&base.parse().unwrap(), url).map(|url| url.as_str().to_owned())
    }

    #[test]
    fn relative_addresses_are_those_of_git() {
        for (base, url, expected) in [
            ("https://h.example/a/b.git", "../c.git", "https://h.example/a/c.git"),
            ("https://h.example/a/b.git", "../../c.git", "https://h.example/c.git"),
            ("https://h.example/a/b.git/", "./c", "https://h.example/a/b.git/c"),
            ("http://127.0.0.1:8/a/b", "../x/c", "http://127.0.0.1:8/a/x/c"),
            ("git@h.example:a/b.git", "../c.git", "git@h.example:a/c.git"),
            ("git@h.example:b.git", "../c.git", "git@h.example:c.git"),
            ("ssh://git@h.example:22/a/b", "../c", "ssh://git@h.example:22/a/c"),
            ("/srv/r", "../lib", "/srv/lib"),
            ("file:///srv/r", "../lib", "file:///srv/lib"),
            ("/srv/r/.git", "../lib", "/srv/lib"),
            ("https://h.example/a/b", "https://other.example/c", "https://other.example/c"),
        ] {
            assert_eq!(at(base, url).as_deref(), Ok(expected), "{base} {url}");
        }
    }

    #[test]
    fn addresses_that_lead_astray_are_refused() {
        for url in [
            "../../../../c",
            "../x/../../c",
            "ext::sh -c x",
            "-oProxy=x",
            "--upload-pack=x",
            "https://user:word@h.example/c",
            "http://h.example/c",
            "git://h.example/c",
            "c",
            "https://h.example/a b",
            "",
        ] {
            assert!(at("https://h.example/a/b.git", url).is_err(), "{url}");
        }
    }

    #[test]
    fn odd_names_and_paths_are_refused_by_name() {
        let entry =
            |name: &str, path: &str| format!("submodule.{name}.path\n{path}\0submodule.{name}.url\n../x\0");
        for (name, path) in [
            ("../../hooks", "lib"),
            ("/abs", "lib"),
            ("a/.GIT/b", "lib"),
            ("-x", "lib"),
            ("a//b", "lib"),
            ("lib", "../lib"),
            ("lib", ".git/modules"),
            ("lib", "a/git~1"),
            ("lib", "a/.g\u{200c}it"),
            ("lib", "-x"),
            ("lib", ""),
        ] {
            let (all, faults) = declared(entry(name, path).as_bytes());
            assert!(all.is_empty() && faults.len() == 1, "{name} {path}: {all:?}");
        }
        let nested = entry("a", "a") + &entry("a/hooks", "b") + &entry("c", "a") + &entry("d.e", "d e");
        let (all, faults) = declared(nested.as_bytes());
        assert_eq!(all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a", "d.e"]);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert_eq!(declared(b"submodule.x.path\nx\0").1.len(), 1, "no url");
    }
}
