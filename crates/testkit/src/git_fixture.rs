//! Sample repositories and bare remotes for tests.
