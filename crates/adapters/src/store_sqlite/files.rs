//! The database file in the data directory, and the connections to it.
//!
//! The file is made under another name and renamed once it is whole, so an empty or headless `mosaic.db` is
//! always damage and never a new store.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mosaic_core::limits::{STORE_BUSY, STORE_CHECKED_BYTES};
use mosaic_core::ports::store::StoreError;
use rusqlite::{Connection, OpenFlags};

use crate::bounded_file;
use crate::durable_write::put_in_place;

use super::failure::{Fault, damaged};
use super::schema;

/// Every SQLite file starts with these bytes (<https://www.sqlite.org/fileformat.html#the_database_header>).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Returns the path of a database that may be opened; makes it when there is none.
pub(super) fn database(dir: &Path) -> Result<PathBuf, StoreError> {
    let path = dir.join("mosaic.db");
    let unusable =
        |e: io::Error| StoreError::Unusable(format!("the database {} cannot be used: {e}", path.display()));
    let mut file = match bounded_file::open_linked(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            create(dir, &path)?;
            return Ok(path);
        }
        Err(e) => return Err(unusable(e)),
    };
    let mut head = [0u8; 100];
    match file.read_exact(&mut head) {
        Ok(()) if head.starts_with(MAGIC) => {}
        Ok(()) => return Err(damaged(&path, "it does not start like a SQLite file")),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(damaged(&path, "it was cut off")),
        Err(e) => return Err(unusable(e)),
    }
    let length = file.metadata().map_err(unusable)?.len();
    // With a log beside it the file may rightly be short: a checkpoint that was cut off is repeated from the log.
    let logged = wal(dir).metadata().is_ok_and(|meta| meta.len() > 0);
    if !logged && length < promised_bytes(&head) {
        return Err(damaged(&path, "it was cut off"));
    }
    Ok(path)
}

fn wal(dir: &Path) -> PathBuf {
    dir.join("mosaic.db-wal")
}

/// Returns how long the file is by its own header: page size at byte 16 (1 stands for 65536), pages at byte 28.
fn promised_bytes(head: &[u8; 100]) -> u64 {
    let page = match u16::from_be_bytes([head[16], head[17]]) {
        1 => 65536,
        size => u64::from(size),
    };
    page * u64::from(u32::from_be_bytes([head[28], head[29], head[30], head[31]]))
}

/// Makes an empty database under another name, syncs it and gives it its name.
fn create(dir: &Path, path: &Path) -> Result<(), StoreError> {
    let wal = wal(dir);
    // SQLite would replay a log that lies beside a new database into it. It is also the last trace of a store whose
    // file was deleted, and such a store must not begin empty without a word.
    if wal.metadata().is_ok_and(|meta| meta.len() > 0) {
        let why = format!("{} is there without it", wal.display());
        return Err(damaged(path, &why));
    }
    let unusable =
        |e: io::Error| StoreError::Unusable(format!("the database {} cannot be made: {e}", path.display()));
    let new = dir.join("mosaic.db.new");
    for left in ["mosaic.db.new", "mosaic.db.new-wal", "mosaic.db.new-shm", "mosaic.db.new-journal"] {
        match std::fs::remove_file(dir.join(left)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(unusable(e)),
            _ => {}
        }
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(unusable)?;
    let fill = || -> Result<(), Fault> {
        let conn = open(&new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        schema::migrate(&conn)?;
        conn.close().map_err(|(_, e)| e.into())
    };
    fill().map_err(|fault| fault.into_store_error(&new))?;
    put_in_place(&new, path).map_err(unusable)
}

/// Moves the database with its logs into a new directory below `quarantine` and returns that.
pub(super) fn set_aside(dir: &Path) -> Result<PathBuf, StoreError> {
    let at = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string().replace(':', "");
    let place =
        (0..).map(|n| dir.join("quarantine").join(format!("store-{at}-{n}"))).find(|path| !path.exists());
    let place = place.expect("there are more numbers than directories");
    let unusable = |e: io::Error| {
        let hint = "move it aside by hand to start with an empty store";
        StoreError::Unusable(format!(
            "the damaged database in {} cannot be set aside: {e}; {hint}",
            dir.display()
        ))
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&place).map_err(unusable)?;
    // The log goes first: a database whose log is gone is still one that is damaged or old, never a new store.
    for name in ["mosaic.db-wal", "mosaic.db-shm", "mosaic.db"] {
        match std::fs::rename(dir.join(name), place.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(unusable(e)),
            _ => {}
        }
    }
    Ok(place)
}

fn open(path: &Path, mode: OpenFlags) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time, the writer's or the one that a reader's permit allows, so SQLite
    // needs no lock of its own around it.
    let conn = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(STORE_BUSY)?;
    // The file may be damaged, or edited by another program. Its schema may then call nothing that has effects
    // elsewhere, and damage in a page is an error when it is read and no wrong row.
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// Opens the one connection that writes.
pub(super) fn connect_writer(path: &Path) -> Result<Connection, Fault> {
    let conn = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let text = format!("{}: this file system cannot keep a write-ahead log", path.display());
        return Err(StoreError::Unusable(format!("{text}; use a directory on a local disk")).into());
    }
    // With a write-ahead log, NORMAL syncs at checkpoints only, and a loss of power would take the newest answered
    // writes. The writer lowers it for batches that may be lost (ADR 7).
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "cache_size", -8192)?;
    conn.pragma_update(None, "wal_autocheckpoint", 4000)?;
    conn.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    if path.metadata().is_ok_and(|meta| meta.len() <= STORE_CHECKED_BYTES) {
        let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return Err(damaged(path, found.trim()).into());
        }
    }
    Ok(conn)
}

/// Opens a connection that only reads.
pub(super) fn connect_reader(path: &Path) -> Result<Connection, Fault> {
    let conn = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.pragma_update(None, "cache_size", -2048)?;
    Ok(conn)
}
