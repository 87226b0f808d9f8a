//! Taking a patch apart: which lines belong to which file, found by the names in its headers. Names and lines are bytes;
//! nothing is assumed about their encoding.

use std::ops::Range;

/// The part of a patch that is about one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// The file's new name; the old one of a file that is deleted.
    pub(crate) path: Vec<u8>,
    /// All lines, by number.
    pub(crate) lines: Range<usize>,
    /// The header line of each hunk and the lines that follow it.
    pub(crate) hunks: Vec<(usize, Range<usize>)>,
    /// It has the content of a binary file.
    pub(crate) has_binary: bool,
}

/// Splits a patch into lines, each with its end.
pub(crate) fn lines(patch: &[u8]) -> Vec<&[u8]> {
    patch.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Finds the sections. A line of content always starts with a blank, `+`, `-` or `\`, so nothing inside a file can look
/// like the start of the next.
pub(crate) fn sections(lines: &[&[u8]]) -> Vec<Section> {
    let starts: Vec<usize> =
        (0..lines.len()).filter(|number| lines[*number].starts_with(b"diff --git ")).collect();
    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    starts.iter().zip(ends).map(|(start, end)| section(lines, *start..end)).collect()
}

fn section(lines: &[&[u8]], range: Range<usize>) -> Section {
    let heads: Vec<usize> = range.clone().filter(|number| lines[*number].starts_with(b"@@ ")).collect();
    let ends = heads.iter().skip(1).copied().chain([range.end]);
    let hunks: Vec<_> = heads.iter().zip(ends).map(|(head, end)| (*head, head + 1..end)).collect();
    let header = &lines[range.start..heads.first().copied().unwrap_or(range.end)];
    let has_binary = header.iter().any(|line| line.starts_with(b"GIT binary patch"));
    Section { path: path(header), lines: range, hunks, has_binary }
}

/// Reads the name out of a file's header.
fn path(header: &[&[u8]]) -> Vec<u8> {
    let after = |start: &[u8]| header.iter().find_map(|line| line.strip_prefix(start)).map(name);
    let below = |start: &[u8], side: &[u8]| {
        let name = after(start).filter(|name| name != b"/dev/null")?;
        name.strip_prefix(side).map(<[u8]>::to_vec)
    };
    after(b"rename to ")
        .or_else(|| after(b"copy to "))
        .or_else(|| below(b"+++ ", b"b/"))
        .or_else(|| below(b"--- ", b"a/"))
        .or_else(|| header.first().map(|line| same_name(line)))
        .unwrap_or_default()
}

/// Reads the name that stands twice in `diff --git a/NAME b/NAME`.
fn same_name(line: &[u8]) -> Vec<u8> {
    let rest = line.strip_prefix(b"diff --git ").unwrap_or_default().trim_ascii_end();
    let first = match rest.first() {
        Some(b'"') => unquoted(rest),
        // A name that is not quoted may have blanks in it. Both halves have the same name behind a prefix of two bytes,
        // so the middle is the only safe place to cut.
        _ => rest[..rest.len() / 2].to_vec(),
    };
    first.strip_prefix(b"a/").unwrap_or(&first).to_vec()
}

/// Reads a name to the end of its line, quoted as in C or as it is; a tab ends one with blanks in it.
fn name(rest: &[u8]) -> Vec<u8> {
    let rest = rest.strip_suffix(b"\n").unwrap_or(rest);
    match rest.first() {
        Some(b'"') => unquoted(rest),
        _ => rest.strip_suffix(b"\t").unwrap_or(rest).to_vec(),
    }
}

fn unquoted(text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 1);
    while let Some(byte) = text.get(at).copied() {
        at += 1;
        match byte {
            b'"' => break,
            b'\\' => {
                let escape = text.get(at).copied().unwrap_or_default();
                at += 1;
                out.push(match escape {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    b'0'..=b'3' => {
                        let digits = text.get(at - 1..at + 2).unwrap_or_default();
                        at += 2;
                        digits.iter().fold(0u8, |value, digit| {
                            value.wrapping_mul(8).wrapping_add(digit.wrapping_sub(b'0'))
                        })
                    }
                    other => other,
                });
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_looks_like_a_header_stays_content() {
        let text =
            b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n a\n+diff --git a/y b/y\n+@@ -1 +1 @@\n\
                    diff --git a/z b/z\nBinary files differ\n";
        let lines = lines(text);
        let found = sections(&lines);
        assert_eq!((found[0].path.as_slice(), found[1].path.as_slice()), (b"x".as_slice(), b"z".as_slice()));
        assert_eq!(found[0].hunks, [(3, 4..7)]);
        assert!(found[1].hunks.is_empty() && found.len() == 2);
    }

    #[test]
    fn names_are_read_from_every_kind_of_header() {
        let cases: [(&[u8], &[u8]); 8] = [
            (b"diff --git a/old b/new\nsimilarity index 90%\nrename from old\nrename to new\n", b"new"),
            (b"diff --git a/x y b/x y\nold mode 100644\nnew mode 100755\n", b"x y"),
            (b"diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n", b"gone"),
            (b"diff --git a/a b b/a b\n--- a/a b\t\n+++ b/a b\t\n", b"a b"),
            (b"diff --git \"a/t\\tq\\\"\" \"b/t\\tq\\\"\"\nnew file mode 100644\n", b"t\tq\""),
            (b"diff --git a/\xe4 b/\xe4\n--- /dev/null\n+++ b/\xe4\n", b"\xe4"),
            (b"diff --git \"a/\\344\\n\" \"b/\\344\\n\"\n", b"\xe4\n"),
            (b"diff --git a/c b/d\ncopy from c\ncopy to d\n", b"d"),
        ];
        for (text, wanted) in cases {
            let lines = lines(text);
            assert_eq!(sections(&lines)[0].path, wanted, "{}", String::from_utf8_lossy(text));
        }
    }
}
