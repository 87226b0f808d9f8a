//! Tells whether a shell command would run `git push`. Publishing is the orchestrator's step, after the gates, so an
//! agent is denied it with a reason it can understand. This is courtesy, not containment: a script file or an encoded
//! command gets past it, and then meets a clone without credentials.

/// Says to an agent why it may not push.
pub(super) const REASON: &str =
    "git push is not allowed here: commit your work, it is judged and pushed for you";

/// Words after which further words are a command of their own.
const SHELLS: &[&str] = &[
    "sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "eval", "xargs", "parallel", "watch", "script", "su",
];
/// git subcommands that run a command given to them.
const RUNNERS: &[&str] = &["submodule", "rebase", "bisect", "filter-branch", "for-each-repo"];
/// git options whose value is the next word.
const VALUED: &[&str] = &[
    "-C",
    "-c",
    "--git-dir",
    "--work-tree",
    "--namespace",
    "--exec-path",
    "--super-prefix",
    "--config-env",
    "--attr-source",
];
/// Deepest nesting of quoted commands that is looked into; what is nested deeper counts as a push.
const DEPTH: usize = 8;

/// Returns true when running this command line would push, as far as reading it can tell.
pub(super) fn asks_to_push(line: &str) -> bool {
    looks_inside(line, 0)
}

fn looks_inside(line: &str, depth: usize) -> bool {
    if depth > DEPTH {
        return mentions_push(line);
    }
    let parsed = Splitter::new(line).run();
    // A shell that reads its commands from a pipe or a heredoc: what it will run stands somewhere in the line.
    let piped_shell = parsed.commands.iter().any(|words| {
        words.first().is_some_and(|word| SHELLS.contains(&base_name(word)))
            && !words.iter().any(|w| w == "-c")
            && (words.len() == 1 || words[1..].iter().all(|w| w.starts_with('-')))
    });
    (piped_shell && mentions_push(line))
        || parsed.nested.iter().any(|inner| looks_inside(inner, depth + 1))
        || parsed.commands.iter().any(|words| command_pushes(words, depth, line.contains("push")))
}

/// Looks at one simple command: its words after quotes were removed.
fn command_pushes(words: &[String], depth: usize, mentioned: bool) -> bool {
    // A variable in the place of a command may hold `git`, so the words behind it are read as the arguments of git.
    let Some(at) = words.iter().position(|word| base_name(word) == "git" || word.starts_with('$')) else {
        return runs_commands(words) && words.iter().any(|word| looks_inside_word(word, depth));
    };
    if runs_commands(&words[..at]) && words[..at].iter().any(|word| looks_inside_word(word, depth)) {
        return true;
    }
    let mut rest = words[at + 1..].iter();
    while let Some(word) = rest.next() {
        if VALUED.contains(&word.as_str()) {
            if rest.next().is_some_and(|value| value.contains("alias.") && value.contains("push")) {
                return true;
            }
        } else if !word.starts_with('-') {
            let rest: Vec<String> = rest.cloned().collect();
            return subcommand_pushes(word, &rest, depth, mentioned);
        } else if word.contains("alias.") && word.contains("push") {
            return true;
        }
    }
    false
}

fn subcommand_pushes(subcommand: &str, rest: &[String], depth: usize, mentioned: bool) -> bool {
    match subcommand {
        "push" | "send-pack" | "http-push" => true,
        "subtree" | "lfs" => rest.first().is_some_and(|word| word == "push"),
        word if RUNNERS.contains(&word) => {
            command_pushes(rest, depth, mentioned) || rest.iter().any(|word| looks_inside_word(word, depth))
        }
        word if word.starts_with('$') || word.starts_with('`') => mentioned,
        _ => false,
    }
}

/// A word can only be a command line of its own when it has more than one word in it.
fn looks_inside_word(word: &str, depth: usize) -> bool {
    word.contains(char::is_whitespace) && looks_inside(word, depth + 1)
}

fn runs_commands(words: &[String]) -> bool {
    words.iter().any(|word| SHELLS.contains(&base_name(word)))
}

fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// The crude rule for text whose structure is not known: the word `git`, later the word `push`.
fn mentions_push(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric()).skip_while(|word| *word != "git");
    words.any(|word| word == "push")
}

/// The parts of a shell line.
struct Parsed {
    /// The simple commands, each as its words without quotes.
    commands: Vec<Vec<String>>,
    /// Text in command substitutions, to be looked at as a line of its own.
    nested: Vec<String>,
}

/// Splits a shell line into simple commands, as far as is needed here: quotes, escapes, comments, heredocs,
/// substitutions. It never fails: what is not closed ends with the line.
struct Splitter<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    word: Option<String>,
    words: Vec<String>,
    heredocs: Vec<(String, bool)>,
    parsed: Parsed,
}

impl<'a> Splitter<'a> {
    fn new(line: &'a str) -> Self {
        let parsed = Parsed { commands: Vec::new(), nested: Vec::new() };
        Self { rest: line.chars().peekable(), word: None, words: Vec::new(), heredocs: Vec::new(), parsed }
    }

    fn run(mut self) -> Parsed {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => match self.rest.next() {
                    Some('\n') | None => {}
                    Some(escaped) => self.push(escaped),
                },
                '\'' => {
                    self.word.get_or_insert_default();
                    while let Some(c) = self.rest.next().filter(|c| *c != '\'') {
                        self.push(c);
                    }
                }
                '"' => self.double_quoted(),
                '`' => self.substitution('`'),
                '$' if self.rest.peek() == Some(&'(') => {
                    self.rest.next();
                    self.substitution(')');
                }
                '#' if self.word.is_none() => while self.rest.next_if(|c| *c != '\n').is_some() {},
                '<' if self.rest.peek() == Some(&'<') => self.heredoc_start(),
                '\n' => {
                    self.end_command();
                    self.heredoc_bodies();
                }
                ';' | '&' | '|' | '(' | ')' => self.end_command(),
                '{' | '}' if self.word.is_none() => self.end_command(),
                '<' | '>' => self.end_word(),
                c if c.is_whitespace() => self.end_word(),
                c => self.push(c),
            }
        }
        self.end_command();
        self.parsed
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) {
        // Words that only open a construct are not the command's name.
        const OPENERS: [&str; 7] = ["if", "then", "else", "do", "while", "until", "!"];
        if let Some(word) =
            self.word.take().filter(|word| !(self.words.is_empty() && OPENERS.contains(&word.as_str())))
        {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.words.is_empty() {
            self.parsed.commands.push(std::mem::take(&mut self.words));
        }
    }

    fn double_quoted(&mut self) {
        self.word.get_or_insert_default();
        self.expanded(Some('"'));
    }

    /// Takes text in which only substitutions and escapes count, up to its end. In the body of a heredoc a quote is a
    /// character like any other.
    fn expanded(&mut self, end: Option<char>) {
        while let Some(c) = self.rest.next() {
            match c {
                c if Some(c) == end => return,
                '\\' => {
                    if let Some(escaped) = self.rest.next().filter(|c| *c != '\n') {
                        self.push(escaped);
                    }
                }
                '`' => self.substitution('`'),
                '$' if self.rest.peek() == Some(&'(') => {
                    self.rest.next();
                    self.substitution(')');
                }
                c => self.push(c),
            }
        }
    }

    /// Takes the text up to the closing character; parentheses nest. In the word it becomes a variable-like mark.
    fn substitution(&mut self, close: char) {
        let mut open = 1;
        let mut inner = String::new();
        for c in self.rest.by_ref() {
            if c == '(' && close == ')' {
                open += 1;
            } else if c == close {
                open -= 1;
            }
            if open == 0 {
                break;
            }
            inner.push(c);
        }
        self.parsed.nested.push(inner);
        self.push('$');
    }

    fn heredoc_start(&mut self) {
        self.rest.next();
        self.end_word();
        if self.rest.next_if_eq(&'<').is_some() {
            return;
        }
        self.rest.next_if_eq(&'-');
        while self.rest.next_if(|c| *c == ' ' || *c == '\t').is_some() {}
        let (mut delimiter, mut quoted) = (String::new(), false);
        while let Some(c) = self.rest.next_if(|c| !c.is_whitespace() && !";&|<>()".contains(*c)) {
            quoted |= matches!(c, '\'' | '"' | '\\');
            match c {
                // Between quotes the delimiter may have blanks.
                '\'' | '"' => delimiter.extend(self.rest.by_ref().take_while(|inside| *inside != c)),
                '\\' => delimiter.extend(self.rest.next()),
                c => delimiter.push(c),
            }
        }
        self.heredocs.push((delimiter, quoted));
    }

    /// Skips the bodies that begin after this line break. Substitutions in an unquoted body do run.
    fn heredoc_bodies(&mut self) {
        for (delimiter, quoted) in std::mem::take(&mut self.heredocs) {
            let mut body = String::new();
            loop {
                let mut line = String::new();
                while let Some(c) = self.rest.next_if(|c| *c != '\n') {
                    line.push(c);
                }
                let ended = self.rest.next().is_none();
                if line.trim_start_matches('\t') == delimiter {
                    break;
                }
                body.push_str(&line);
                body.push('\n');
                if ended {
                    break;
                }
            }
            if !quoted {
                let mut text = Splitter::new(&body);
                text.expanded(None);
                self.parsed.nested.append(&mut text.parsed.nested);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::asks_to_push;

    #[test]
    fn pushes_are_seen() {
        for line in [
            "git push",
            "  git   push origin HEAD",
            "/usr/bin/git push",
            "git -C x push",
            "git -c a=b push --force",
            "git -c a=b -C 'some dir' --no-pager push",
            "git --git-dir=.git push",
            "git --git-dir .git --work-tree . push",
            "cd x && git push",
            "true; git push",
            "true\ngit push",
            "false || git push &",
            "(git push)",
            "{ git push; }",
            "if true; then git push; fi",
            "! git push",
            "sh -c \"git push\"",
            "bash -lc 'cd x && git push'",
            "sh -c \"sh -c 'git push'\"",
            "eval git push",
            "eval 'git push'",
            "env GIT_SSH=x git push",
            "FOO=1 git push",
            "sudo -u x git push",
            "timeout 5 git push",
            "git \"push\"",
            "git 'pu'sh",
            "g\\it push",
            "git \\\n push",
            "echo $(git push)",
            "echo \"a $(git push) b\"",
            "echo `git push`",
            "echo origin | xargs git push",
            "echo 'git push' | sh",
            "bash <<EOF\ngit push\nEOF",
            "cat <<EOF\n$(git push)\nEOF",
            "cat <<EOF\nshe said \"now\" $(git push)\nEOF",
            "cat <<EOF\na lone \" and `git push`\nEOF",
            "cat <<'A B'\ntext\nA B\ngit push",
            "cat <<\"E F\"\nit's\nE F\ngit push",
            "cat <<A\\ B\ntext\nA B\ngit push",
            "git -c alias.p=push p",
            "git submodule foreach 'git push'",
            "git submodule foreach git push",
            "git rebase --exec 'git push' main",
            "git subtree push --prefix=a origin b",
            "git lfs push origin main",
            "git send-pack origin",
            "G=git; $G push",
            "git commit -m x&&git push",
            "X=push; git $X",
        ] {
            assert!(asks_to_push(line), "not seen: {line:?}");
        }
    }

    #[test]
    fn other_commands_pass() {
        for line in [
            "",
            "git status",
            "git commit -m 'explain git push'",
            "git commit -m \"do not git push; ever\"",
            "git stash push -m wip",
            "git log --oneline | grep push",
            "git fetch origin && git merge origin/main",
            "echo push",
            "# git push",
            "ls # then git push",
            "cat > doc.md <<'EOF'\nRun git push and `git push`.\nEOF\ngit add doc.md",
            "cat > doc.md <<EOF\nRun git push.\nEOF",
            "cat > doc.md <<EOF\nRun \"git push\" and \\$(git push).\nEOF",
            "cat > doc.md <<'THE END'\nRun `git push` and $(git push).\nTHE END",
            "git checkout push",
            "git branch push-notifications",
            "npm run push",
            "grep -r 'git push' docs",
            "sh -c 'git status'",
            "bash ./scripts/test.sh",
            "vec.push(git)",
        ] {
            assert!(!asks_to_push(line), "taken for a push: {line:?}");
        }
    }

    #[test]
    fn nesting_without_end_is_bounded() {
        assert!(!asks_to_push(&"$(".repeat(50_000)));
        assert!(!asks_to_push(&"sh -c \"".repeat(10_000)));
        assert!(asks_to_push(&format!("{} git push", "$(".repeat(500))));
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_panic(line in ".*") {
            asks_to_push(&line);
        }

        #[test]
        fn no_shell_like_line_makes_it_panic(parts in proptest::collection::vec(proptest::sample::select(vec![
            "git", " ", "push", "'", "\"", "`", "$(", ")", "<<", "EOF", "\n", "\\", ";", "#", "sh -c ", "{", "}", "$", "-c"]), 0..40)) {
            asks_to_push(&parts.concat());
        }
    }
}
