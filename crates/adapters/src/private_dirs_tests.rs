//! Tests of private directories.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn private_directories_are_kept_until_they_are_released() {
    let place = tempfile::tempdir().unwrap();
    let trash = Arc::new(Trash::new(place.path()));
    let dirs = PrivateDirs::new(place.path(), "/usr/bin:/bin", Arc::clone(&trash));
    let agent = AgentId(uuid::Uuid::new_v4());
    let first = dirs.prepare(agent, Purpose::Agent).unwrap();
    std::fs::write(first.config.join("session"), "x").unwrap();
    assert_eq!(dirs.prepare(agent, Purpose::Agent).unwrap(), first);
    assert!(first.config.join("session").exists());
    assert_eq!(first.home.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let names: Vec<&str> = first.env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["PATH", "HOME", "TMPDIR", "LANG", "TERM", "GIT_CEILING_DIRECTORIES"]);
    let half_made = first.config.with_file_name(format!("{ASIDE}0"));
    std::fs::write(&half_made, "of a server that was killed").unwrap();
    dirs.release(agent).unwrap();
    dirs.release(agent).unwrap();
    assert!(!first.home.exists() && !first.config.exists() && !half_made.exists());
    trash.idle().await;
    assert_eq!(std::fs::read_dir(place.path().join("trash")).unwrap().count(), 0);
}

#[test]
fn what_is_passed_on_replaces_defaults_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let trash = Arc::new(Trash::new(place.path()));
    let passed = [("LANG", "de_DE.UTF-8"), ("HOME", "/root"), ("PROXY", "p")];
    let passed = passed.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let dirs = PrivateDirs::new(place.path(), "/bin", trash).passing(passed);
    let made = dirs.prepare(AgentId(uuid::Uuid::new_v4()), Purpose::Agent).unwrap();
    let all =
        |name: &str| made.env.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!((all("LANG"), all("PROXY")), (vec!["de_DE.UTF-8"], vec!["p"]));
    assert_eq!(all("HOME"), [made.home.to_str().unwrap()]);
}

#[tokio::test]
async fn a_skill_lands_in_the_agents_directory_whatever_was_planted() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let outside = place.path().join("outside");
    let skill = place.path().join("skill");
    std::fs::create_dir_all(outside.join("review")).unwrap();
    std::fs::write(outside.join("review/precious"), "keep").unwrap();
    std::fs::create_dir_all(skill.join("sub")).unwrap();
    std::fs::write(skill.join("sub/SKILL.md"), "new").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", skill.join("link")).unwrap();
    std::fs::create_dir(&data).unwrap();
    let trash = Arc::new(Trash::new(&data));
    let dirs = PrivateDirs::new(&data, "/bin", Arc::clone(&trash));
    let agent = AgentId(uuid::Uuid::new_v4());
    let config = dirs.prepare(agent, Purpose::Agent).unwrap().config;
    let untouched = || {
        let names: Vec<_> = std::fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["review"]);
        assert_eq!(std::fs::read_dir(outside.join("review")).unwrap().count(), 1);
    };
    for planted in ["skills", "skills/review"] {
        let staged = dirs.staging(agent).unwrap();
        std::fs::write(staged.join("SKILL.md"), "staged").unwrap();
        trash.discard(&config.join(planted)).unwrap();
        std::os::unix::fs::symlink(&outside, config.join(planted)).unwrap();
        dirs.place(agent, &staged, "skills/review").unwrap();
        untouched();
        assert_eq!(std::fs::read_to_string(config.join("skills/review/SKILL.md")).unwrap(), "staged");
        assert!(!staged.exists());
        dirs.place(agent, &skill, "skills/review").unwrap();
        let names: Vec<_> = std::fs::read_dir(config.join("skills/review"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["sub"]);
    }
    assert!(dirs.place(agent, &skill, "../home/x").is_err());
    std::fs::rename(&config, config.with_file_name("away")).unwrap();
    std::os::unix::fs::symlink(&outside, &config).unwrap();
    assert!(dirs.place(agent, &skill, "skills/review").is_err());
    untouched();
    dirs.staging(agent).unwrap();
    std::fs::remove_dir_all(config.with_file_name("away")).unwrap();
    dirs.release(agent).unwrap();
    assert_eq!(std::fs::read_dir(config.parent().unwrap()).unwrap().count(), 0);
}
