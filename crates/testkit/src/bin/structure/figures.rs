//! Figures that need no more than one file at a time.

use std::fmt;
use std::path::Path;

/// Longest function, in lines with its signature and braces.
const LONG_FUNCTION: usize = 70;
/// Longest file, in lines.
const LONG_FILE: usize = 500;
/// Words that a doc summary does not begin with.
const QUESTIONS: [&str; 5] = ["What", "Who", "Whether", "How", "Whoever"];

/// Sums over all files.
#[derive(Default)]
pub(crate) struct Figures {
    files: usize,
    lines: usize,
    code: usize,
    plain_comments: usize,
    summaries: usize,
    questions: Vec<String>,
    long_files: Vec<String>,
    long_functions: Vec<String>,
    functions: usize,
    untyped_errors: usize,
    untyped_answers: usize,
    test_binaries: usize,
}

impl Figures {
    pub(crate) fn add(&mut self, path: &str, text: &str) {
        self.files += 1;
        let lines: Vec<&str> = text.lines().collect();
        self.lines += lines.len();
        if lines.len() > LONG_FILE {
            self.long_files.push(format!("{path}: {} lines", lines.len()));
        }
        self.comments(path, &lines);
        self.functions(path, &lines);
        let production = path.contains("/src/") && !path.contains("/testkit/");
        let shipped = || lines.iter().take_while(|line| line.trim() != "mod tests {");
        if production {
            self.untyped_errors += shipped()
                .filter(|line| line.contains(", String>"))
                .filter(|line| line.contains("Result<"))
                .count();
        }
        if path.contains("/server/src/") {
            self.untyped_answers += shipped().map(|line| line.matches("json!").count()).sum::<usize>();
        }
        let parts: Vec<&str> = path.rsplit('/').collect();
        let own_binary =
            parts.get(1) == Some(&"tests") || (parts[0] == "main.rs" && parts.get(2) == Some(&"tests"));
        self.test_binaries += usize::from(own_binary);
    }

    fn comments(&mut self, path: &str, lines: &[&str]) {
        let mut before = "";
        for (at, line) in lines.iter().map(|line| line.trim_start()).enumerate() {
            let summary = |mark: &str| line.starts_with(mark) && !before.starts_with(mark.trim_end());
            if summary("/// ") || summary("//! ") {
                self.summaries += 1;
                let word = line[4..].split([' ', ',', ':']).next().unwrap_or_default();
                if QUESTIONS.contains(&word) {
                    self.questions.push(format!("{path}:{}: {line}", at + 1));
                }
            } else if line.starts_with("// ") {
                self.plain_comments += 1;
            } else if !line.is_empty() && !line.starts_with("//") {
                self.code += 1;
            }
            before = line;
        }
    }

    fn functions(&mut self, path: &str, lines: &[&str]) {
        for (at, line) in lines.iter().enumerate() {
            let trimmed = line.trim_start();
            if !is_function(trimmed) {
                continue;
            }
            let indentation = &line[..line.len() - trimmed.len()];
            let end = format!("{indentation}}}");
            let rest = &lines[at..];
            // A declaration in a trait ends without a body.
            let length = rest.iter().position(|line| {
                *line == end
                    || (line.starts_with(indentation)
                        && line.ends_with(';')
                        && line[indentation.len()..].starts_with([')', 'f', 'a', 'p', 'c']))
            });
            let Some(length) = length else { continue };
            self.functions += 1;
            if length + 1 > LONG_FUNCTION {
                self.long_functions.push(format!("{path}:{}: {} lines", at + 1, length + 1));
            }
        }
    }

    /// Lists by name what the figures count.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &String> {
        self.long_functions.iter().chain(&self.long_files).chain(&self.questions)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: usize, whole: usize| part as f64 * 100.0 / whole.max(1) as f64;
        writeln!(out, "| figure | value |\n|---|---|")?;
        writeln!(out, "| files, lines | {}, {} |", self.files, self.lines)?;
        writeln!(out, "| files over {LONG_FILE} lines | {} |", self.long_files.len())?;
        writeln!(
            out,
            "| functions; over {LONG_FUNCTION} lines | {}; {} |",
            self.functions,
            self.long_functions.len()
        )?;
        let questions = percent(self.questions.len(), self.summaries);
        writeln!(
            out,
            "| doc summaries; that begin with a question word | {}; {questions:.1} % |",
            self.summaries
        )?;
        writeln!(
            out,
            "| plain comments per line of code | {:.1} % |",
            percent(self.plain_comments, self.code)
        )?;
        writeln!(out, "| `Result<_, String>` in src | {} |", self.untyped_errors)?;
        writeln!(out, "| `json!` in server/src | {} |", self.untyped_answers)?;
        writeln!(out, "| test binaries | {} |", self.test_binaries)
    }
}

fn is_function(line: &str) -> bool {
    let words = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "unsafe ", "extern \"C\" "];
    let mut rest = line;
    while let Some(after) = words.iter().find_map(|word| rest.strip_prefix(word)) {
        rest = after;
    }
    rest.starts_with("fn ")
}

/// Returns all Rust sources below a directory with their paths, in order.
pub(crate) fn sources(below: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![below.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                found.push((path.display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}
