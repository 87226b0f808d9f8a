//! Names of remotes that lead to this machine. A URL with such an address in it is refused when the task is admitted; a name
//! is looked up before git is started, and over http git calls what was found then: a name server that answers differently
//! the second time leads nowhere else. Over ssh the host's key says who answers, and a name may mean something in the operator's
//! own configuration, so it is looked up once more there.

use super::errors::GitError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::repository::is_local_address;

/// Longest time for the look-up. Git has a deadline of its own and says better what a name server that hangs means.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Returns the addresses of a host. Errors when one is this machine or on its link. A host that cannot be looked up has none: it
/// is left to git, or to its proxy.
pub(super) async fn outside(host: &str) -> Result<Vec<IpAddr>, GitError> {
    let Ok(Ok(found)) = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host, 0))).await else {
        return Ok(Vec::new());
    };
    let found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    check(host, found.iter().copied())?;
    Ok(found)
}

/// Returns the setting by which git calls these addresses and looks nothing up; nothing for a host that is an address itself,
/// and without any.
pub(super) fn pin(host: &str, port: u16, addresses: &[IpAddr]) -> Option<String> {
    if addresses.is_empty() || host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let mut all: Vec<String> = Vec::new();
    for address in addresses {
        let text = match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        if !all.contains(&text) {
            all.push(text);
        }
    }
    Some(format!("{host}:{port}:{}", all.join(",")))
}

fn check(host: &str, mut addresses: impl Iterator<Item = IpAddr>) -> Result<(), GitError> {
    match addresses.find(|address| is_local_address(*address) || is_our_own(*address)) {
        Some(address) => Err(GitError::refused(
            FailureKind::BadInput,
            format!(
                "{host} resolves to {address}, an address of this machine or of its link; set MOSAIC_ALLOW_LOCAL_REPOSITORIES=true to allow it"
            ),
        )),
        None => Ok(()),
    }
}

/// Tells whether an address is one of this machine's own interfaces. The kernel chooses it as the source of what would be sent to
/// it; nothing is sent.
fn is_our_own(address: IpAddr) -> bool {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, DISCARD))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}

/// Port of the discard service: any other would do.
const DISCARD: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_of_this_machine_among_several_is_enough() {
        let found = |list: &[&str]| {
            let addresses: Vec<IpAddr> = list.iter().map(|text| text.parse().unwrap()).collect();
            check("git.example.com", addresses.into_iter())
        };
        assert!(found(&["192.0.2.1", "2001:db8::1"]).is_ok() && found(&[]).is_ok());
        for list in [&["127.0.0.1"][..], &["192.0.2.1", "::1"], &["169.254.169.254"], &["::ffff:127.0.0.1"]] {
            let failure = found(list).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::BadInput);
            assert!(failure.to_string().contains("git.example.com resolves to"), "{failure}");
        }
    }

    #[test]
    fn an_interface_of_this_machine_is_its_own() {
        assert!(is_our_own("127.0.0.1".parse().unwrap()));
        for other in ["192.0.2.77", "198.51.100.9"] {
            assert!(!is_our_own(other.parse().unwrap()), "{other}");
        }
        // A machine in a test may have no interface but the loopback; one that has another knows it.
        let outside = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        if outside.connect(("198.51.100.9", DISCARD)).is_ok() {
            assert!(is_our_own(outside.local_addr().unwrap().ip()));
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_before_git_is_started() {
        assert!(outside("localhost").await.is_err());
        assert!(outside("127.0.0.1").await.is_err());
        assert_eq!(outside("no-such-name.invalid").await.unwrap(), Vec::<IpAddr>::new());
    }

    #[test]
    fn git_is_told_what_was_found_and_looks_nothing_up_again() {
        let addresses: Vec<IpAddr> =
            ["192.0.2.1", "2001:db8::1", "192.0.2.1"].iter().map(|text| text.parse().unwrap()).collect();
        let pinned = pin("git.example.com", 8443, &addresses);
        assert_eq!(pinned.as_deref(), Some("git.example.com:8443:192.0.2.1,[2001:db8::1]"));
        assert_eq!(pin("git.example.com", 443, &[]), None);
        assert_eq!(pin("192.0.2.1", 443, &addresses), None);
    }

    #[test]
    fn git_calls_the_address_that_it_is_told_whatever_the_name_means() {
        // A name that nobody can look up, and a port on which something answers once.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let called = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let pinned = pin("no-such-name.invalid", port, &["127.0.0.1".parse().unwrap()]).unwrap();
        let git = std::process::Command::new("git")
            .args(["-c", &format!("http.curloptResolve={pinned}"), "ls-remote"])
            .arg(format!("http://no-such-name.invalid:{port}/x.git"))
            .env_remove("http_proxy")
            .env("no_proxy", "*")
            .output()
            .unwrap();
        // Nobody answered it properly; without a name to look up it got this far.
        assert!(!String::from_utf8_lossy(&git.stderr).contains("Could not resolve"), "{git:?}");
        called.join().unwrap();
    }
}
