//! Faults below the port, and the errors of the port that they become. The file's name is only known at
//! the edge, so a fault gets its words there.

use std::path::Path;

use mosaic_core::ports::store::StoreError;
use rusqlite::ErrorCode;

/// A fault of SQLite, or an answer that is an error of the port.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite failed; what the request wrote is undone.
    Sql(rusqlite::Error),
    /// The port's own words; whoever says them has written nothing that must be undone.
    Said(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sql(e)
    }
}

impl From<StoreError> for Fault {
    fn from(e: StoreError) -> Self {
        Self::Said(e)
    }
}

impl Fault {
    /// Turns the fault into the port's words.
    pub(super) fn into_store_error(self, path: &Path) -> StoreError {
        match self {
            Self::Said(e) => e,
            Self::Sql(e) => message(&e, path),
        }
    }
}

/// Returns the port's words for a fault while a file is opened. What makes no sense there (a table that is missing, a row
/// that must be there) is damage, as every file was whole when it got its name.
pub(super) fn at_opening(fault: Fault, path: &Path) -> StoreError {
    use rusqlite::Error as E;
    match &fault {
        Fault::Sql(e) if e.sqlite_error_code() == Some(ErrorCode::Unknown) => damaged(path, &e.to_string()),
        Fault::Sql(
            e @ (E::QueryReturnedNoRows | E::FromSqlConversionFailure(..) | E::InvalidColumnType(..)),
        ) => damaged(path, &e.to_string()),
        _ => fault.into_store_error(path),
    }
}

/// Returns the port's words for a fault of SQLite on this file.
pub(super) fn message(e: &rusqlite::Error, path: &Path) -> StoreError {
    match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(path, &e.to_string()),
        Some(ErrorCode::DiskFull) => {
            StoreError::Unavailable(format!("the disk of {} is full; free some space", path.display()))
        }
        _ => StoreError::Unavailable(format!("{}: {e}", path.display())),
    }
}

/// Returns the refusal of a file that is no usable database.
pub(super) fn damaged(path: &Path, why: &str) -> StoreError {
    StoreError::Damaged(format!(
        "the database {} is damaged ({why}); it was left as it is: restore a copy of it, or move it (with its -wal \
         file) aside to start with an empty store",
        path.display()
    ))
}
