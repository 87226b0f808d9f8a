//! Paths as git reads them on its input.

/// A path in the quoting that git reads on its input.
pub(super) fn quoted(path: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in path {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => out.push_str(&format!("\\{byte:03o}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_quoted_for_fast_import() {
        assert_eq!(quoted("a \"b\"\\\n\u{e9}".as_bytes()), "\"a \\\"b\\\"\\\\\\012\\303\\251\"");
    }
}
