//! Transcript entries for people: one line each with time and kind; a tool's output below it. What agents print is
//! data: control characters are shown, never passed on.

use serde_json::Value;

use crate::paint::Paint;
use crate::plain;
use crate::view::{View, clock};

/// Lines of a tool's output that are shown; the rest is counted.
const OUTPUT_LINES: usize = 12;
/// Width of the column of kinds.
const KIND: usize = 8;

/// Returns an entry's number; 0 when it has none.
pub(crate) fn number(entry: &Value) -> u64 {
    View::new(entry).number("n")
}

/// Tells whether an entry is of one of these kinds; no kinds means all.
pub(crate) fn is_wanted(entry: &Value, kinds: &[String]) -> bool {
    kinds.is_empty() || kinds.iter().any(|kind| kind == View::new(entry).text("kind"))
}

/// Cuts a tool's name to the word people read.
fn tool_word(name: &str) -> String {
    match name {
        "Bash" => "run".to_owned(),
        "" => "tool".to_owned(),
        other => plain::cut(&plain::line(other).to_lowercase(), KIND),
    }
}

/// Returns text under an entry: each line after a bar, at most [`OUTPUT_LINES`].
fn below(text: &str, paint: Paint) -> String {
    let mut out = String::new();
    let lines: Vec<&str> = text.lines().collect();
    for line in lines.iter().take(OUTPUT_LINES) {
        out.push_str(&format!("          {}\n", paint.dim(&format!("| {}", plain::line(line)))));
    }
    if lines.len() > OUTPUT_LINES {
        let more = format!("| … {} more lines (all of it: --json or --raw)", lines.len() - OUTPUT_LINES);
        out.push_str(&format!("          {}\n", paint.dim(&more)));
    }
    out
}

/// Renders one entry, with its line break. Empty when there is nothing to see.
pub(crate) fn render(entry: &Value, paint: Paint) -> String {
    let view = View::new(entry);
    let at = view.time("at").map_or_else(|| "--:--:--".to_owned(), clock);
    let head = |kind: &str, text: &str| {
        let pad = " ".repeat(KIND.saturating_sub(kind.chars().count()));
        format!("{}  {}{pad}{}", paint.dim(&at), paint.by_word(kind, kind), format_args!("  {text}"))
            .trim_end()
            .to_owned()
            + "\n"
    };
    let prose = |kind: &str, text: &str| {
        let mut lines = text.trim().lines();
        let mut out = head(kind, &plain::line(lines.next().unwrap_or("")));
        for line in lines {
            out.push_str(&format!("{:20}{}\n", "", plain::line(line)).replace(&format!("{:20}\n", ""), "\n"));
        }
        out
    };
    match view.text("kind") {
        "started" => {
            let parts: Vec<String> = ["version", "model", "session"]
                .into_iter()
                .map(|f| view.shown(f))
                .filter(|s| !s.is_empty())
                .collect();
            head("start", &parts.join(" · "))
        }
        "text" => prose("agent", view.text("text")),
        "thinking" => prose("think", view.text("text")),
        "tool" => head(&tool_word(view.text("name")), &plain::line(view.text("title"))),
        "toolResult" => {
            let ok = view.value().get("ok").and_then(Value::as_bool).unwrap_or(true);
            let text = below(view.text("text"), paint);
            if ok { text } else { head("error", "the tool failed") + &text }
        }
        "denied" => head("denied", &format!("{}: {}", view.shown("tool"), view.shown("reason"))),
        "apiRetry" => {
            head("retry", &format!("model service {}, try {}", view.number("status"), view.number("attempt")))
        }
        "usage" => {
            let cost = view
                .value()
                .get("costUsd")
                .and_then(Value::as_f64)
                .map_or(String::new(), |c| format!(" · ${c:.2}"));
            head(
                "usage",
                &format!(
                    "{} tokens in, {} out{cost}",
                    view.number("inputTokens"),
                    view.number("outputTokens")
                ),
            )
        }
        "output" => head("out", &view.shown("text")),
        "notice" => head("note", &plain::line(view.text("text").trim_end())),
        other => {
            head(&plain::cut(&plain::line(other), KIND), &plain::cut(&plain::line(&entry.to_string()), 200))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(entry: Value) -> String {
        render(&entry, Paint::PLAIN)
    }

    #[test]
    fn entries_read_as_a_story() {
        let at = "2026-11-22T10:04:11.000Z";
        assert_eq!(
            shown(json!({"n":1,"at":at,"kind":"text","text":"I'll look.\nThen fix."})),
            "10:04:11  agent     I'll look.\n                    Then fix.\n"
        );
        assert_eq!(
            shown(json!({"n":2,"at":at,"kind":"tool","name":"Bash","title":"./test.sh"})),
            "10:04:11  run       ./test.sh\n"
        );
        assert_eq!(
            shown(json!({"n":3,"at":at,"kind":"toolResult","ok":true,"text":"ok add\nok div"})),
            "          | ok add\n          | ok div\n"
        );
        assert_eq!(
            shown(json!({"n":4,"at":at,"kind":"usage","inputTokens":5,"outputTokens":6,"costUsd":0.41})),
            "10:04:11  usage     5 tokens in, 6 out · $0.41\n"
        );
        assert!(shown(json!({"n":5,"at":at,"kind":"brandNew","x":1})).starts_with("10:04:11  brandNew"));
    }

    #[test]
    fn control_characters_are_shown_escaped_everywhere() {
        for entry in [
            json!({"kind":"text","text":"a\u{1b}]0;b\u{7}"}),
            json!({"kind":"tool","name":"\u{1b}[2J","title":"\u{1b}[2J"}),
            json!({"kind":"toolResult","ok":false,"text":"x\r\u{1b}[1A"}),
            json!({"kind":"output","text":"\u{9b}2J"}),
            json!({"kind":"\u{1b}c","text":"\u{202e}"}),
            json!({"kind":"denied","tool":"\u{1b}","reason":"\u{8}"}),
        ] {
            let text = shown(entry);
            assert!(
                text.chars().all(|c| c == '\n' || !mosaic_core::domain::ids::is_unprintable(c)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn long_output_is_counted() {
        let text = (0..20).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        let out = shown(json!({"kind":"toolResult","ok":true,"text":text}));
        assert!(out.lines().count() == 13 && out.contains("8 more lines"), "{out}");
    }
}
