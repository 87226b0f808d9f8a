//! The embedded store: SQLite in the data directory behind the store port.
