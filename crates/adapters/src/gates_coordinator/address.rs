//! The address of a coordinator.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// Address of a coordinator: scheme, host, port, and a path below which its routes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorUrl {
    is_tls: bool,
    host: String,
    port: u16,
    path: String,
}

/// A text that is no address of a coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "must be an http or https address without user, query and fragment, such as https://gates.example.com"
)]
pub struct InvalidCoordinatorUrl;

impl FromStr for CoordinatorUrl {
    type Err = InvalidCoordinatorUrl;

    fn from_str(text: &str) -> Result<Self, InvalidCoordinatorUrl> {
        let (is_tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(InvalidCoordinatorUrl),
        };
        if rest.contains(['@', '?', '#', '\\']) || !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidCoordinatorUrl);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']').ok_or(InvalidCoordinatorUrl)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| InvalidCoordinatorUrl)?;
                (host, port)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(InvalidCoordinatorUrl)?,
            None if port.is_empty() => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
            None => return Err(InvalidCoordinatorUrl),
        };
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(is_name) {
            return Err(InvalidCoordinatorUrl);
        }
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { is_tls, host: host.to_ascii_lowercase(), port, path })
    }
}

impl CoordinatorUrl {
    /// Tells whether what is sent there is encrypted.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Tells whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        let is_local = |address: IpAddr| address.is_loopback();
        self.host.parse().is_ok_and(is_local) || self.host == "localhost" || self.host.ends_with(".localhost")
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of a route.
    pub(super) fn target(&self, route: &str) -> String {
        format!("{}{route}", self.path)
    }

    /// Returns host and port as the `Host` header has them.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for CoordinatorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_shown_as_it_was() {
        for (text, shown, loopback) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000", true),
            ("http://localhost/", "http://localhost", true),
            ("https://Gates.Example.com:443/team/", "https://gates.example.com/team", false),
            ("http://[::1]:9", "http://[::1]:9", true),
            ("http://coordinator:8000", "http://coordinator:8000", false),
        ] {
            let url: CoordinatorUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.is_loopback()), (shown, loopback));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "gates",
            "ftp://x",
            "http://",
            "http://u:p@x",
            "http://x?y",
            "http://x:0",
            "http://x:99999",
            "http://[x]",
            "http://x y",
            "http://x:1x",
        ] {
            assert!(text.parse::<CoordinatorUrl>().is_err(), "{text}");
        }
    }
}
