//! Programs that cargo builds beside these tests.

use std::path::PathBuf;

/// Finds an example by its name.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: `cargo test` makes it, `cargo test --test it` needs `cargo build -p mosaic-adapters --examples` first",
        path.display()
    );
    path
}
