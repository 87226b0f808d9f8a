//! Lines that a commit adds or changes, read from a unified diff.

/// Lines of one file that differ from the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedLines {
    /// Path in the repository, of the new file; lossy where it is not UTF-8.
    pub path: String,
    /// First and last line of each run of changed lines, from 1, in order.
    pub ranges: Vec<(u64, u64)>,
}

/// Reads a unified diff. Files that only lose lines, and binary ones, have no changed lines.
pub fn of_diff(diff: &[u8]) -> Vec<ChangedLines> {
    let mut files: Vec<ChangedLines> = Vec::new();
    let mut hunk = Hunk::default();
    for line in diff.split(|byte| *byte == b'\n') {
        // Inside a hunk a line may look like anything, a file's head included: only the hunk's own numbers say where it ends.
        if hunk.takes(line, files.last_mut()) {
            continue;
        }
        if let Some(name) = line.strip_prefix(b"+++ ") {
            if let Some(path) = path(name) {
                files.push(ChangedLines { path, ranges: Vec::new() });
            }
        } else if let Some(next) = Hunk::of(line) {
            hunk = next;
        }
    }
    files.retain(|file| !file.ranges.is_empty());
    files
}

/// The rest of a hunk.
#[derive(Default)]
struct Hunk {
    old: u64,
    new: u64,
    at: u64,
}

impl Hunk {
    /// Reads `@@ -1,3 +1,4 @@`.
    fn of(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line.get(..line.len().min(128))?).unwrap_or_default();
        let mut words = line.strip_prefix("@@ -")?.split(' ');
        let (_, old) = span(words.next()?)?;
        let (at, new) = span(words.next()?.strip_prefix('+')?)?;
        Some(Self { old, new, at })
    }

    /// Takes a line, where the hunk has one left.
    fn takes(&mut self, line: &[u8], file: Option<&mut ChangedLines>) -> bool {
        if self.old == 0 && self.new == 0 {
            return false;
        }
        match line.first() {
            Some(b'+') => {
                if let Some(file) = file {
                    match file.ranges.last_mut() {
                        Some((_, last)) if *last + 1 == self.at => *last = self.at,
                        _ => file.ranges.push((self.at, self.at)),
                    }
                }
                (self.new, self.at) = (self.new.saturating_sub(1), self.at + 1);
            }
            Some(b'-') => self.old = self.old.saturating_sub(1),
            // `\ No newline at end of file`
            Some(b'\\') => {}
            _ => {
                (self.old, self.new) = (self.old.saturating_sub(1), self.new.saturating_sub(1));
                self.at += 1;
            }
        }
        true
    }
}

/// Reads `1,3` or `1`.
fn span(text: &str) -> Option<(u64, u64)> {
    match text.split_once(',') {
        Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
        None => Some((text.parse().ok()?, 1)),
    }
}

/// Reads a name as git writes it: in quotes with escapes when it has odd bytes, with a tab behind it when it has spaces.
fn path(name: &[u8]) -> Option<String> {
    let plain = match name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")) {
        Some(quoted) => unquoted(quoted),
        None => name.strip_suffix(b"\t").unwrap_or(name).to_vec(),
    };
    let path = plain.strip_prefix(b"b/")?;
    Some(String::from_utf8_lossy(path).into_owned())
}

fn unquoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match rest.next() {
            Some(digit @ b'0'..=b'7') => {
                let more = [rest.next(), rest.next()].into_iter().flatten();
                let value = more.fold(u32::from(digit - b'0'), |value, digit| {
                    value * 8 + u32::from(digit.wrapping_sub(b'0'))
                });
                out.push(value as u8);
            }
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'r') => out.push(b'\r'),
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_lines_are_ranges_of_the_new_file() {
        let diff = b"diff --git a/a.rs b/a.rs\nindex 1..2 100644\n--- a/a.rs\n+++ b/a.rs\n@@ -1,4 +1,5 @@ fn x\n one\n-two\n+2\n+2b\n three\n four\n\
            @@ -9 +10,2 @@\n+++ looks like a head\n nine\n\\ No newline at end of file\n\
            diff --git a/gone b/gone\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\
            diff --git a/new name b/new name\n--- /dev/null\n+++ b/new name\t\n@@ -0,0 +1,2 @@\n+a\n+b\n";
        let found = of_diff(diff);
        let wanted = [("a.rs", vec![(2, 3), (10, 10)]), ("new name", vec![(1, 2)])];
        let shown: Vec<_> = found.iter().map(|file| (file.path.as_str(), file.ranges.clone())).collect();
        assert_eq!(shown, wanted);
    }

    #[test]
    fn odd_names_are_unquoted() {
        let diff = b"--- /dev/null\n+++ \"b/\\303\\244\\t\\\"x\"\n@@ -0,0 +1 @@\n+a\n";
        assert_eq!(of_diff(diff)[0].path, "\u{e4}\t\"x");
        assert!(of_diff(b"+++ b/a\n@@ -0,0 +1 @@\n").is_empty());
        assert!(of_diff(b"@@ -1 +1 @@\n+x\n@@ -99999999999999999999 +1 @@\n+++ b/\xff\n").is_empty());
    }
}
