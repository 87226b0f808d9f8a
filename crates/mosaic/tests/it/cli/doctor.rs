//! Findings of `mosaic doctor` about files around the data directory and of the operator.

use std::path::Path;

use super::{mosaic_with, parts};

/// Returns the findings of `doctor` with an id, as text, for a user whose home and data directory is this one.
fn doctor_finds(dir: &Path, id: &str) -> Vec<String> {
    let (_, out, err) = parts(mosaic_with(dir, &[("MOSAIC_RUNTIME", "demo")], &["doctor", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    let findings = report["findings"].as_array().unwrap().iter();
    findings.filter(|f| f["id"] == id).map(|f| f["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn doctor_names_a_directory_above_the_data_that_everybody_may_write() {
    let dir = tempfile::tempdir().unwrap();
    let (open, data) = (dir.path().join("open"), dir.path().join("open/data"));
    std::fs::create_dir_all(&data).unwrap();
    let mode = |bits| std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(bits));
    mode(0o755).unwrap();
    assert_eq!(doctor_finds(&data, "D-DATA-3"), Vec::<String>::new());
    mode(0o777).unwrap();
    let found = doctor_finds(&data, "D-DATA-3");
    assert!(found.len() == 1 && found[0].contains(open.to_str().unwrap()), "{found:?}");
    // As in /tmp: others may add to it, but not move away what is there.
    mode(0o1777).unwrap();
    assert_eq!(doctor_finds(&data, "D-DATA-3"), Vec::<String>::new());
}

#[test]
fn doctor_names_an_attribute_file_of_the_operator_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(".config/git/attributes");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "*.sec filter=crypt\n").unwrap();
    assert_eq!(doctor_finds(dir.path(), "D-GIT-2"), Vec::<String>::new());
    std::fs::remove_file(&file).unwrap();
    // Reading it fails whoever asks, root too.
    std::os::unix::fs::symlink("/proc/self/mem", &file).unwrap();
    let found = doctor_finds(dir.path(), "D-GIT-2");
    assert!(found.len() == 1 && found[0].contains(file.to_str().unwrap()), "{found:?}");
}
