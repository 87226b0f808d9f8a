//! Reading what git prints for programs.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt};

/// Longest entry of a listing: a mode, object ids and one path.
const ENTRY_BYTES: u64 = 64 * 1024;

/// Reads up to the next NUL; `None` at the end.
pub(super) async fn field(
    out: &mut (impl AsyncRead + AsyncBufReadExt + Unpin),
) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if out.take(ENTRY_BYTES).read_until(0, &mut bytes).await? == 0 {
        return Ok(None);
    }
    if bytes.pop_if(|last| *last == 0).is_none() && bytes.len() as u64 == ENTRY_BYTES {
        return Err(std::io::Error::other("an entry of git's listing is too long"));
    }
    Ok(Some(bytes))
}

/// Takes the next object off what `cat-file --batch` prints; none when it is not whole.
pub(super) fn next_object<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let line = rest.iter().position(|byte| *byte == b'\n')?;
    let size: usize = std::str::from_utf8(&rest[..line]).ok()?.rsplit(' ').next()?.parse().ok()?;
    let (text, after) = rest.get(line + 1..)?.split_at_checked(size)?;
    *rest = after.get(1..)?;
    Some(text)
}
