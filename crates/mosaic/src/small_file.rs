//! Small files that a server keeps for the command line, `server.json` and `token`.

use std::path::Path;

use rustix::fs::OFlags;

/// Largest `server.json` or `token`, in bytes; both are a few lines.
const FILE_BYTES: u64 = 64 * 1024;

/// Reads a small plain file; anything else that stands there, such as a FIFO, is refused and not waited for.
pub(crate) fn read_small(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // Looked at after the open, because the file could be replaced in between. NONBLOCK keeps the open of a FIFO from
    // waiting for a writer.
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no plain file"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}
