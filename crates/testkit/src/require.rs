//! Skipping honestly: a test that needs something missing says so in one line, or fails when
//! `MOSAIC_TEST_REQUIRE` lists the thing (as CI does).

/// Returns true when `available`; otherwise prints why the test is skipped. Panics instead of skipping when
/// `MOSAIC_TEST_REQUIRE` (a comma-separated list) has `thing`.
pub fn have(thing: &str, available: bool, how_to_get: &str) -> bool {
    if available {
        return true;
    }
    let required = std::env::var("MOSAIC_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|one| one.trim() == thing),
        "{thing} is required here but missing: {how_to_get}"
    );
    eprintln!("skipped: needs {thing} ({how_to_get})");
    false
}
