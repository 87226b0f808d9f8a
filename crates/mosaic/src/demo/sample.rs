//! The demo's sample repository and the scripts of its agents.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use mosaic_adapters::agent_demo::{DemoScript, DemoStep, MARKER, MARKER_TEXT, script_path};
use mosaic_adapters::git::forget_repository;

/// The file that marks a directory made by a demo.
pub(super) const PLACE_MARKER: &str = "made-by-mosaic-demo";

const CALC: &str = include_str!("sample/calc.sh");
const TESTS: &str = include_str!("sample/test.sh");

/// Makes the sample repository `calc` and its remote `remote.git` in a new directory.
pub(super) fn make(place: &Path) -> anyhow::Result<()> {
    let calc = place.join("calc");
    let write = |path: &str, text: &str| -> anyhow::Result<()> {
        let path = calc.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&calc))?;
        std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
    };
    write("calc.sh", CALC)?;
    write("test.sh", TESTS)?;
    write("lint.sh", include_str!("sample/lint.sh"))?;
    write("cover.sh", include_str!("sample/cover.sh"))?;
    write("AGENTS.md", include_str!("sample/AGENTS.md"))?;
    write(".gitignore", "coverage/\n")?;
    write(".mosaic/config.toml", include_str!("sample/config.toml"))?;
    write(
        ".mosaic/work-items/demo-fix.md",
        "Dividing by zero prints a shell error. Say \"divide by zero\" and fail instead.\n",
    )?;
    write(".mosaic/work-items/demo-cover.md", "Add a power function: `calc.sh pow 2 10` prints 1024.\n")?;
    write(".mosaic/work-items/demo-secret.md", "Add a script that uploads results to the cloud.\n")?;
    write(".mosaic/work-items/demo-loop.md", "Think about arithmetic indefinitely.\n")?;
    write(MARKER, MARKER_TEXT)?;
    for (story, script) in
        [("demo-fix", fix()), ("demo-cover", cover()), ("demo-secret", secret()), ("demo-loop", runaway())]
    {
        let text = serde_json::to_string_pretty(&script).context("a script cannot be written")?;
        write(&script_path(story).display().to_string(), &text)?;
    }
    std::fs::write(place.join(PLACE_MARKER), "")?;
    git(&calc, &["init", "--quiet", "--initial-branch=main"])?;
    git(&calc, &["add", "--all"])?;
    git(&calc, &["commit", "--quiet", "--message=A small calculator"])?;
    git(place, &["clone", "--quiet", "--bare", "calc", "remote.git"])?;
    git(&calc, &["remote", "add", "origin", "../remote.git"])?;
    Ok(())
}

/// Returns the branches of a remote besides main, each with its newest subject.
pub(super) fn branches(remote: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let text = git(remote, &["for-each-ref", "--format=%(refname:short)%09%(subject)", "refs/heads/mosaic"])?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(b, s)| (b.to_owned(), s.to_owned()))
        .collect())
}

fn git(at: &Path, args: &[&str]) -> anyhow::Result<String> {
    let output = forget_repository(&mut Command::new("git"))
        .current_dir(at)
        .args([
            "-c",
            "user.name=Mosaic Demo",
            "-c",
            "user.email=demo@mosaic.invalid",
            "-c",
            "commit.gpgsign=false",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        .args(args)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::null())
        .output()
        .context("git cannot be started; install git 2.38 or newer")?;
    ensure!(
        output.status.success(),
        "git {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn say(text: &str) -> DemoStep {
    DemoStep::Say(text.to_owned())
}

fn write(path: &str, content: String) -> DemoStep {
    DemoStep::Write { path: path.to_owned(), content }
}

fn run(line: &str) -> DemoStep {
    DemoStep::Run(line.to_owned())
}

fn commit(message: &str) -> DemoStep {
    DemoStep::Commit(message.to_owned())
}

/// Puts a function before the calculator's last line.
fn calc_with(function: &str) -> String {
    CALC.replace("\"$@\"\n", &format!("{function}\n\"$@\"\n"))
}

/// Puts checks after the existing ones.
fn tests_with(checks: &str) -> String {
    TESTS
        .replace("check div 2 bash calc.sh div 6 3\n", &format!("check div 2 bash calc.sh div 6 3\n{checks}"))
}

fn fix() -> DemoScript {
    let guard = "div() {\n  if [ \"$2\" -eq 0 ]; then\n    echo \"divide by zero\" >&2\n    return 1\n  fi\n";
    DemoScript {
        turns: vec![vec![
            say("I look at how div handles its second argument."),
            run("bash calc.sh div 1 0 || true"),
            write("calc.sh", CALC.replace("div() {\n", guard)),
            write("test.sh", tests_with("check 'div by zero' 'divide by zero' bash calc.sh div 1 0\n")),
            run("bash test.sh"),
            commit("fix: refuse to divide by zero"),
            say("Dividing by zero now says so and fails; there is a test for it."),
        ]],
    }
}

fn cover() -> DemoScript {
    let pow = "pow() {\n  if [ \"$2\" -lt 0 ]; then\n    echo \"negative exponent\" >&2\n    return 1\n  fi\n  result=1\n  \
               for _ in $(seq \"$2\"); do\n    result=$((result * $1))\n  done\n  echo \"$result\"\n}\n";
    let checks = "check pow 1024 bash calc.sh pow 2 10\ncheck 'negative pow' 'negative exponent' bash calc.sh pow 2 -1\n";
    DemoScript {
        turns: vec![
            vec![
                write("calc.sh", calc_with(pow)),
                run("bash calc.sh pow 2 10"),
                commit("feat: add pow"),
                say("pow works: 2 to the 10th is 1024."),
            ],
            vec![
                say("The new function has no tests. I add them."),
                write("test.sh", tests_with(checks)),
                run("bash test.sh"),
                commit("test: cover pow"),
                say("Every line of pow is tested now."),
            ],
        ],
    }
}

fn secret() -> DemoScript {
    let upload = |line: &str| {
        format!("#!/usr/bin/env bash\n# Uploads results.\n{line}\necho \"uploading as $AWS_ACCESS_KEY_ID\"\n")
    };
    // The agent puts the key together: it must stand neither in a file of this project nor in the sample's base, where this
    // script lies. What the base holds is no new finding.
    let key = "sed -i \"s/=KEY/=$(printf '%s' AKIA Q3EGRXJ5T7HW LZPK)/\" upload.sh";
    DemoScript {
        turns: vec![
            vec![
                write("upload.sh", upload("export AWS_ACCESS_KEY_ID=KEY")),
                run(key),
                commit("feat: upload results"),
                say("The upload script is there."),
            ],
            vec![
                say("The key must come from the environment, and must leave the history too."),
                run("git reset --quiet --soft \"$MOSAIC_BASE\""),
                write("upload.sh", upload(": \"${AWS_ACCESS_KEY_ID:?set it in the environment}\"")),
                commit("feat: upload results with a key from the environment"),
                say("No commit holds a key any more."),
            ],
        ],
    }
}

fn runaway() -> DemoScript {
    DemoScript { turns: vec![vec![say("I think about arithmetic."), DemoStep::Loop(true)]] }
}
