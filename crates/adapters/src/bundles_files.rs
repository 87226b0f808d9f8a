//! Bundles that callers of a coordinator send, as files: each in a directory of its own below the state, of which only the owner
//! reads. One that was not received to its end is removed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use mosaic_core::domain::ids::Word;
use mosaic_core::limits;
use mosaic_core::ports::bundles::{BundleError, BundleWriter, Bundles};

use crate::disk;

/// Name of the file in a bundle's directory.
const BUNDLE: &str = "bundle";
/// End of the name of a directory whose bundle is being received.
const PARTIAL: &str = ".part";

/// Bundles in one directory.
pub struct FileBundles {
    dir: PathBuf,
}

impl FileBundles {
    /// Keeps bundles in this directory; it is made when the first one comes.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn place(&self, name: &Word) -> PathBuf {
        self.dir.join(name.as_str())
    }
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, |entries| entries.count())
}

#[async_trait]
impl Bundles for FileBundles {
    async fn begin(&self) -> Result<Box<dyn BundleWriter>, BundleError> {
        let dir = self.dir.clone();
        disk::run(move || {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
            if count(&dir) >= limits::CHECK_BUNDLES {
                return Err(BundleError::Full);
            }
            let name = uuid::Uuid::new_v4().simple().to_string();
            let partial = dir.join(format!("{name}{PARTIAL}"));
            DirBuilder::new().mode(0o700).create(&partial)?;
            // Made before the file, so that the directory goes again when the file cannot be made.
            let mut writer = FileWriter { name, dir, file: None, bytes: 0, done: false };
            let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial.join(BUNDLE));
            writer.file = Some(open?);
            Ok(Box::new(writer) as Box<dyn BundleWriter>)
        })
        .await?
    }

    async fn find(&self, name: &Word) -> Option<PathBuf> {
        let place = self.place(name);
        disk::run(move || place.join(BUNDLE).is_file().then_some(place)).await.ok().flatten()
    }

    async fn discard(&self, name: &Word) {
        let place = self.place(name);
        // What cannot be removed now is removed by the next sweep.
        let _ = disk::run(move || fs::remove_dir_all(place)).await;
    }

    async fn sweep(&self, older_than: Duration) {
        let dir = self.dir.clone();
        let swept = disk::run(move || sweep(&dir, older_than)).await;
        if let Err(e) = swept.and_then(|swept| swept) {
            tracing::warn!(error = %e, "bundles that no check used could not be removed");
        }
    }
}

fn sweep(dir: &Path, older_than: Duration) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let written = entry.metadata()?.modified()?;
        // A clock that went back makes a bundle younger, never older.
        let age = SystemTime::now().duration_since(written).unwrap_or_default();
        if age >= older_than {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A bundle that is being received.
struct FileWriter {
    name: String,
    dir: PathBuf,
    file: Option<File>,
    bytes: u64,
    done: bool,
}

impl FileWriter {
    fn partial(&self) -> PathBuf {
        self.dir.join(format!("{}{PARTIAL}", self.name))
    }
}

#[async_trait]
impl BundleWriter for FileWriter {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > limits::BUNDLE_BYTES {
            return Err(BundleError::TooLarge);
        }
        let mut file = self.file.take().ok_or_else(|| io::Error::other("an earlier write failed"))?;
        let bytes = bytes.to_owned();
        self.file = Some(disk::run(move || file.write_all(&bytes).map(|()| file)).await??);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Word, BundleError> {
        self.file = None;
        let name: Word = self.name.parse().map_err(|_| io::Error::other("its name cannot be one"))?;
        let (partial, place) = (self.partial(), self.dir.join(&self.name));
        disk::run(move || fs::rename(partial, place)).await??;
        self.done = true;
        Ok(name)
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if !self.done {
            // A disk that does not remove it now is asked again by the sweep.
            let _ = fs::remove_dir_all(self.partial());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bundle_is_found_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let bundles = FileBundles::new(place.path().join("bundles"));
        let mut half = bundles.begin().await.unwrap();
        half.write(b"half").await.unwrap();
        drop(half);
        assert_eq!(count(&bundles.dir), 0, "what was broken off is gone");
        let mut whole = bundles.begin().await.unwrap();
        for part in ["# v2 ", "git bundle"] {
            whole.write(part.as_bytes()).await.unwrap();
        }
        let name = whole.finish().await.unwrap();
        let found = bundles.find(&name).await.unwrap();
        assert_eq!(fs::read_to_string(found.join(BUNDLE)).unwrap(), "# v2 git bundle");
        bundles.sweep(Duration::from_secs(3600)).await;
        assert!(bundles.find(&name).await.is_some(), "it is young");
        bundles.discard(&name).await;
        assert!(bundles.find(&name).await.is_none());
    }

    #[tokio::test]
    async fn no_more_bundles_are_kept_than_may_be() {
        let place = tempfile::tempdir().unwrap();
        let bundles = FileBundles::new(place.path().to_owned());
        let mut kept = Vec::new();
        for _ in 0..limits::CHECK_BUNDLES {
            kept.push(bundles.begin().await.unwrap());
        }
        assert!(matches!(bundles.begin().await, Err(BundleError::Full)));
        drop(kept);
        assert!(bundles.begin().await.is_ok());
    }
}
