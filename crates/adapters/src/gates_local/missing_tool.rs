//! Tools that a command needs and this machine does not have, told before an agent is started. Only what is certain: the first
//! program of a command, when the command does not say where it lies.

use super::toolchain::Toolchain;

/// Words that a shell knows by itself.
const OF_THE_SHELL: &[&str] = &[
    ".", ":", "[", "alias", "bg", "break", "case", "cd", "command", "continue", "echo", "eval", "exec",
    "exit", "export", "false", "fg", "for", "function", "getopts", "hash", "if", "jobs", "kill", "local",
    "printf", "pwd", "read", "readonly", "return", "set", "shift", "source", "test", "time", "times", "trap",
    "true", "type", "typeset", "ulimit", "umask", "unalias", "unset", "until", "wait", "while",
];

/// Returns the program that a command begins with and that is not there; `None` when it is there or nothing is certain.
pub(super) fn of_command(command: &str, tools: &Toolchain) -> Option<String> {
    let program = first_program(command)?;
    if tools.find(program).is_none() {
        return Some(program.to_owned());
    }
    // A subcommand that is a program of its own. Those of the toolchain itself are not looked for.
    let of_cargo = (program == "cargo")
        .then(|| command.split_whitespace().skip_while(|word| *word != "cargo").nth(1))??;
    let own = ["llvm-cov", "nextest"].contains(&of_cargo).then(|| format!("cargo-{of_cargo}"))?;
    tools.find(&own).is_none().then_some(own)
}

/// Returns the first program, when it is looked up in the `PATH` that the gate gets.
fn first_program(command: &str) -> Option<&str> {
    for word in command.split_whitespace() {
        let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match word.split_once('=') {
            Some((variable, value)) if !variable.is_empty() && variable.chars().all(name) => {
                // A value in quotes may go on in the next word, and one that runs something may change anything.
                if variable == "PATH" || value.contains(['"', '\'', '`', '$', '\\', ';', '&', '|']) {
                    return None;
                }
            }
            _ => {
                let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c));
                return (is_plain && !OF_THE_SHELL.contains(&word)).then_some(word);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certain_is_missing() {
        let tools = Toolchain { path: "/usr/bin:/bin".to_owned(), passed: Vec::new() };
        for missing in
            ["no-such-tool test", "  A=1 no-such-tool", "no-such-tool && true", "no-such-tool\ntrue"]
        {
            assert_eq!(of_command(missing, &tools).as_deref(), Some("no-such-tool"), "{missing}");
        }
        for unknown in [
            "sh -c true",
            "./no-such-tool",
            "node_modules/.bin/no-such-tool",
            "cd x && no-such-tool",
            "export PATH=x; no-such-tool",
            "PATH=x no-such-tool",
            "A='x y' no-such-tool",
            "(no-such-tool)",
            "if no-such-tool; then true; fi",
            "\"no-such-tool\"",
            "$TOOL test",
            "",
        ] {
            assert_eq!(of_command(unknown, &tools), None, "{unknown}");
        }
    }
}
