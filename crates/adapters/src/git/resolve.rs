//! Names of remotes that lead to this machine. A URL with such an address in it is refused when the task is admitted; a name
//! is looked up before git is started. Git looks it up once more by itself: a name server that answers differently the second
//! time is not caught.

use std::net::IpAddr;
use std::time::Duration;

use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::repository::is_local_address;

/// Longest time for the look-up. Git has a deadline of its own and says better what a name server that hangs means.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Errors when a host is this machine or on its link. One that cannot be looked up is left to git, or to its proxy.
pub(super) async fn check_outside(host: &str) -> Result<(), Failure> {
    match tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host, 0))).await {
        Ok(Ok(found)) => check(host, found.map(|address| address.ip())),
        _ => Ok(()),
    }
}

fn check(host: &str, mut addresses: impl Iterator<Item = IpAddr>) -> Result<(), Failure> {
    match addresses.find(|address| is_local_address(*address)) {
        Some(address) => Err(Failure::new(
            FailureKind::BadInput,
            format!(
                "{host} resolves to {address}, an address of this machine or of its link; set MOSAIC_ALLOW_LOCAL_REPOSITORIES=true to allow it"
            ),
        )),
        None => Ok(()),
    }
}

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
            assert_eq!(failure.kind, FailureKind::BadInput);
            assert!(failure.message.contains("git.example.com resolves to"), "{}", failure.message);
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_before_git_is_started() {
        assert!(check_outside("localhost").await.is_err());
        assert!(check_outside("127.0.0.1").await.is_err());
        assert!(check_outside("no-such-name.invalid").await.is_ok());
    }
}
