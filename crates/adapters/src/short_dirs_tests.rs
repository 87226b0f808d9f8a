//! Short directories: where they lie, whose they are, and that nothing of them stays.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;

fn agent() -> AgentId {
    AgentId(Uuid::new_v4())
}

fn dirs(data: &Path) -> ShortDirs {
    ShortDirs::new(data, Arc::new(Trash::new(data)))
}

/// A data directory so deep that no socket fits below it.
fn deep(place: &Path) -> PathBuf {
    let data = place.canonicalize().unwrap().join("d".repeat(60)).join("e".repeat(60));
    std::fs::create_dir_all(&data).unwrap();
    data
}

#[tokio::test]
async fn a_socket_fits_however_deep_the_data_directory_is() {
    let place = tempfile::tempdir().unwrap();
    let deep = deep(place.path());
    let short = tempfile::Builder::new().prefix("m").tempdir_in("/tmp").unwrap();
    for data in [short.path(), &deep] {
        let (dirs, agent) = (dirs(data), agent());
        for made in [dirs.of(agent).unwrap(), dirs.fresh(agent).unwrap()] {
            assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o700);
            let socket = made.join("pytest-of-someone/pytest-0/s.sock");
            std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
            UnixListener::bind(&socket).unwrap();
        }
        assert_eq!(dirs.of(agent).unwrap(), dirs.of(agent).unwrap(), "an agent keeps its own");
        let inside = dirs.root().unwrap().starts_with(data);
        assert_eq!(inside, data == short.path());
    }
}

#[tokio::test]
async fn what_is_released_goes_and_with_the_last_the_directory_outside() {
    let place = tempfile::tempdir().unwrap();
    let data = deep(place.path());
    let (mine, other) = (agent(), agent());
    let first = dirs(&data);
    let own = [first.of(mine).unwrap(), first.fresh(mine).unwrap()];
    let others = first.of(other).unwrap();
    let root = first.root().unwrap();
    // A server that starts later knows by the note alone.
    let later = dirs(&data);
    later.release(mine).unwrap();
    later.release(mine).unwrap();
    assert!(own.iter().all(|path| !path.exists()) && others.exists());
    later.idle().await;
    assert!(root.exists(), "the other agent is still there");
    later.discard(&others).unwrap();
    later.idle().await;
    assert!(!root.exists());
    assert!(later.of(mine).unwrap().is_dir(), "and it can be made again");
    later.release(mine).unwrap();
    later.idle().await;
}

#[tokio::test]
async fn a_note_that_leads_elsewhere_is_not_followed() {
    let place = tempfile::tempdir().unwrap();
    let data = deep(place.path());
    let victim = place.path().join("mosaic-victim");
    std::fs::create_dir(&victim).unwrap();
    std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o755)).unwrap();
    let link = place.path().join("mosaic-link");
    symlink(&victim, &link).unwrap();
    for planted in [victim.as_path(), &link, Path::new("mosaic-x"), Path::new("/etc")] {
        std::fs::write(data.join(NOTE), planted.as_os_str().as_bytes()).unwrap();
        let dirs = dirs(&data);
        let own = dirs.of(agent()).unwrap();
        assert!(!own.starts_with(&victim) && !own.starts_with(&link), "{}", own.display());
        dirs.discard(&own).unwrap();
        dirs.idle().await;
    }
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
}

#[test]
fn a_directory_that_others_may_replace_is_no_place() {
    let place = tempfile::Builder::new().prefix("m").tempdir_in("/tmp").unwrap();
    let open = place.path().join("o");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(!usable(&open));
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(usable(&open));
    assert!(!usable(Path::new("relative")) && !usable(&place.path().join("missing")));
    assert!(!usable(&PathBuf::from("/tmp").join("x".repeat(60))));
}

#[tokio::test]
async fn a_copied_data_directory_is_closed_to_others_again() {
    let place = tempfile::Builder::new().prefix("m").tempdir_in("/tmp").unwrap();
    let (dirs, agent) = (dirs(place.path()), agent());
    let own = dirs.of(agent).unwrap();
    let all = [own.clone(), own.parent().unwrap().to_owned()];
    for path in &all {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(dirs.of(agent).unwrap(), own);
    for path in &all {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
    }
}
