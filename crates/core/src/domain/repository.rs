//! Where a repository is. A URL from outside is taken apart here, against a list of what is allowed, before any
//! part of it can reach a command line: no options, no `ext::`, no credentials, no control characters.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::characters::{is_unprintable, was_unprintable};
use super::ids::InvalidName;

/// Transport by which a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Transport {
    /// `https://host/path`.
    Https,
    /// `ssh://user@host/path` or `user@host:path`.
    Ssh,
    /// `http://` on a loopback host. Only with `MOSAIC_ALLOW_LOCAL_REPOSITORIES`.
    LoopbackHttp,
    /// An absolute path or `file://` URL. Only with `MOSAIC_ALLOW_LOCAL_REPOSITORIES`.
    Local,
}

/// A repository's address that is safe to hand to git behind `--end-of-options`. It never carries a password.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryUrl(String);

impl RepositoryUrl {
    /// Returns the address as git takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells how the repository is reached.
    pub fn transport(&self) -> Transport {
        if self.0.starts_with("https://") {
            Transport::Https
        } else if self.0.starts_with("http://") {
            Transport::LoopbackHttp
        } else if self.0.starts_with('/') || self.0.starts_with("file://") {
            Transport::Local
        } else {
            Transport::Ssh
        }
    }

    /// Returns the host without user and port; `None` for a local path.
    pub fn host(&self) -> Option<&str> {
        let authority = match self.0.split_once("://") {
            Some(("file", _)) => return None,
            Some((_, rest)) => rest.split('/').next()?,
            None if self.0.starts_with('/') => return None,
            None => self.0.split_once(':')?.0,
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if let Some(v6) = host.strip_prefix('[') {
            return v6.split(']').next();
        }
        Some(host.split(':').next().unwrap_or(host))
    }

    /// Returns the port of an http address, its usual one when it names none.
    pub fn http_port(&self) -> Option<u16> {
        let (scheme, rest) = self.0.split_once("://")?;
        let authority = rest.split('/').next()?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
        match (after.split_once(':'), scheme) {
            (Some((_, port)), "https" | "http") => port.parse().ok(),
            (None, "https") => Some(443),
            (None, "http") => Some(80),
            _ => None,
        }
    }

    /// Tells whether a refused text names a way of reaching repositories that no server allows, such as `ext::` or
    /// `git://`.
    pub fn is_forbidden_transport(text: &str) -> bool {
        let is_word =
            |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+');
        let helper = text.split_once("::").is_some_and(|(word, _)| is_word(word));
        let scheme = text
            .split_once("://")
            .is_some_and(|(word, _)| is_word(word) && !matches!(word, "https" | "http" | "ssh" | "file"));
        helper || scheme
    }

    /// Returns the path of a local repository; `None` for any other.
    pub fn local_path(&self) -> Option<&str> {
        match self.transport() {
            Transport::Local => Some(self.0.strip_prefix("file://").unwrap_or(&self.0)),
            _ => None,
        }
    }

    /// Tells whether reaching it needs `MOSAIC_ALLOW_LOCAL_REPOSITORIES`: local paths, http on loopback, and every address
    /// of this machine or its link, however it is written.
    pub fn needs_local_permission(&self) -> bool {
        matches!(self.transport(), Transport::Local | Transport::LoopbackHttp)
            || self.host().is_some_and(is_local_host)
    }
}

/// Names that mean this machine on every system.
const LOCAL_NAMES: &[&str] =
    &["localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"];

/// Tells whether a host name or address leads to this machine or its link, in any spelling that resolvers take.
fn is_local_host(host: &str) -> bool {
    // Resolvers take a name with a dot at its end for the same host, so `localhost.` would otherwise get past
    // the comparison.
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if LOCAL_NAMES.contains(&name.as_str()) || name.ends_with(".localhost") {
        return true;
    }
    match name.parse::<Ipv6Addr>() {
        Ok(address) => is_local_address(address.into()),
        Err(_) => loose_ipv4(&name).is_some_and(|address| is_local_address(address.into())),
    }
}

/// Tells whether an address is of this machine (loopback, unspecified) or of its link, where metadata services answer.
pub fn is_local_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => {
            let local = v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local();
            local || embedded_ipv4(v6).is_some_and(|v4| is_local_address(v4.into()))
        }
    }
}

/// Returns the IPv4 address within an IPv6 one: mapped, compatible, translated (NAT64) or 6to4.
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(of(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low] => Some(of(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Reads an IPv4 address as `inet_aton` does: one to four parts, each decimal, octal or hexadecimal, the last of which
/// fills what is left.
fn loose_ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = text.split('.').map(loose_number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) || *last >= 1 << (8 * (4 - first.len())) {
        return None;
    }
    let high = first.iter().enumerate().fold(0, |sum, (at, part)| sum | part << (8 * (3 - at)));
    u32::try_from(high | last).ok().map(Ipv4Addr::from)
}

fn loose_number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some("") => return Some(0),
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

fn check_host(host: &str) -> Result<(), InvalidName> {
    let refuse = |why: &str| Err(InvalidName(why.to_owned()));
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else { return refuse("has an unclosed IPv6 host") };
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return refuse("has an invalid IPv6 host");
        }
        return if after.is_empty() { Ok(()) } else { check_port(after.strip_prefix(':')) };
    }
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if name.is_empty() || name.starts_with(['-', '.']) || !name.bytes().all(ok) {
        return refuse("has no valid host name");
    }
    if port.is_some() { check_port(port) } else { Ok(()) }
}

fn check_port(port: Option<&str>) -> Result<(), InvalidName> {
    match port.map(str::parse::<u16>) {
        Some(Ok(number)) if number > 0 => Ok(()),
        _ => Err(InvalidName("has an invalid port".to_owned())),
    }
}

fn is_loopback(authority: &str) -> bool {
    let name = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => authority.split(':').next().unwrap_or(""),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl FromStr for RepositoryUrl {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::checked(text, is_unprintable)
    }
}

impl RepositoryUrl {
    fn checked(text: &str, refused: fn(char) -> bool) -> Result<Self, InvalidName> {
        let refuse = |why: &str| Err(InvalidName(why.to_owned()));
        if text.is_empty() {
            return refuse("must not be empty");
        }
        if text.len() > crate::limits::URL_BYTES {
            return refuse("is longer than 2048 bytes");
        }
        if text.chars().any(|c| refused(c) || c.is_whitespace()) {
            return refuse("must not contain spaces or control characters");
        }
        if text.starts_with('-') {
            return refuse("must not start with a dash");
        }
        if text.contains("::") && !text.contains('[') {
            return refuse("must not name a remote helper (\"::\")");
        }
        if let Some(path) = text.strip_prefix("file://").or_else(|| text.starts_with('/').then_some(text)) {
            return match path.starts_with('/') && !path.split('/').any(|part| part == "..") {
                true => Ok(Self(text.to_owned())),
                false => refuse("must be an absolute path without \"..\""),
            };
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            if path.is_empty() {
                return refuse("has no repository path after the host");
            }
            if path.contains(['?', '#']) {
                return refuse("must not have a query or a fragment");
            }
            match scheme {
                "https" | "http" => {
                    if authority.contains('@') {
                        return refuse(
                            "must not carry credentials; give them with MOSAIC_GIT_CREDENTIALS_FILE",
                        );
                    }
                    check_host(authority)?;
                    if scheme == "http" && !is_loopback(authority) {
                        return refuse("must use https; http is allowed on loopback only");
                    }
                }
                "ssh" => {
                    let (user, host) =
                        authority.split_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
                    check_ssh(user, host, path)?;
                }
                _ => return refuse("must be https, ssh or git@host:path"),
            }
            return Ok(Self(text.to_owned()));
        }
        // The scp form, user@host:path; a user is required so that no Windows path or typo is taken for a host.
        let Some((authority, path)) = text.split_once(':') else {
            return refuse("must be https, ssh or git@host:path");
        };
        let Some((user, host)) = authority.split_once('@') else {
            return refuse("must be https, ssh or git@host:path");
        };
        if path.is_empty() {
            return refuse("has no repository path after the host");
        }
        check_ssh(Some(user), host, path)?;
        Ok(Self(text.to_owned()))
    }
}

fn check_ssh(user: Option<&str>, host: &str, path: &str) -> Result<(), InvalidName> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if let Some(user) = user
        && (user.is_empty() || user.starts_with('-') || !user.bytes().all(ok))
    {
        return Err(InvalidName("has no valid user name (and must not carry a password)".to_owned()));
    }
    if path.starts_with('-') {
        return Err(InvalidName("must not have a path that starts with a dash".to_owned()));
    }
    check_host(host)
}

impl TryFrom<String> for RepositoryUrl {
    type Error = InvalidName;
    // It was stored, perhaps by a version whose table of characters was narrower.
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::checked(&text, was_unprintable)
    }
}

impl From<RepositoryUrl> for String {
    fn from(url: RepositoryUrl) -> String {
        url.0
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_forms_that_git_hosts_print() {
        let cases = [
            ("https://git.example.com/a/b.git", Transport::Https, Some("git.example.com")),
            ("https://git.example.com:8443/a", Transport::Https, Some("git.example.com")),
            ("git@github.example:a/b.git", Transport::Ssh, Some("github.example")),
            ("ssh://git@host.example:22/a/b", Transport::Ssh, Some("host.example")),
            ("http://127.0.0.1:8000/a.git", Transport::LoopbackHttp, Some("127.0.0.1")),
            ("http://[::1]:8000/a.git", Transport::LoopbackHttp, Some("::1")),
            ("/srv/git/a.git", Transport::Local, None),
            ("file:///srv/git/a.git", Transport::Local, None),
        ];
        for (text, transport, host) in cases {
            let url: RepositoryUrl = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((url.transport(), url.host()), (transport, host), "{text}");
        }
    }

    #[test]
    fn every_spelling_of_this_machine_and_its_link_needs_permission() {
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "ip6-localhost",
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.255.1.2",
            "2130706433",
            "0x7f000001",
            "0x7F.1",
            "0177.0.0.1",
            "017700000001",
            "0",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.43518",
            "0xa9fea9fe",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            "[fe80::1]",
            "[febf::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
        ] {
            for url in [
                format!("https://{host}/x/y.git"),
                format!("https://{host}:9/x"),
                format!("ssh://git@{host}/x"),
            ] {
                // What is no host name at all may also be refused.
                let refused = url.parse::<RepositoryUrl>().map_or(true, |url| url.needs_local_permission());
                assert!(refused, "{url}");
            }
            if !host.starts_with('[') {
                assert!(
                    format!("git@{host}:x.git").parse::<RepositoryUrl>().unwrap().needs_local_permission(),
                    "{host}"
                );
            }
        }
        for host in [
            "git.example.com",
            "localhost.example.com",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "1.1.1.1",
            "8.8",
            "[2001:db8::1]",
            "[fd00::1]",
            "notlocalhost",
            "0x7f.example.com",
            "128.0.0.1",
            "256.0.0.1.example",
        ] {
            let url: RepositoryUrl = format!("https://{host}/x/y.git").parse().unwrap();
            assert!(!url.needs_local_permission(), "{host}");
        }
    }

    #[test]
    fn refuses_what_could_run_something_or_reach_elsewhere() {
        for text in [
            "",
            "-x",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c x",
            "ext::sh",
            "ssh://-oProxyCommand=x/y",
            "ssh://u@-oProxyCommand=x/y",
            "git@-host:x",
            "-u@host:x",
            "https://u:p@h/x",
            "http://example.com/x",
            "ftp://h/x",
            "https://",
            "https://host",
            "https:///x",
            "https://h/x?y",
            "https://h:0/x",
            "https://h:99999/x",
            "https://h\u{202e}/x",
            "a b",
            "relative/path",
            "/a/../b",
            "file://host/x",
            "git@host:",
            "git@host:-x",
            "C:\\x",
            "host:path",
            "https://h/x\n",
            "fd::17/x",
        ] {
            assert!(text.parse::<RepositoryUrl>().is_err(), "{text:?} was taken");
        }
    }
}
