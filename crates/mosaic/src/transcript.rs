//! Transcript entries for people: one line each with time and kind; a tool's output below it. What agents print is
//! data: control characters are shown, never passed on.

use mosaic_api::{TranscriptEntry, TranscriptEvent, TranscriptKind};
use serde_json::Value;

use crate::color::Paint;
use crate::sanitize;
use crate::sent::Sent;
use crate::view::{clock, shown, time};

/// Lines of a tool's output that are shown; the rest is counted.
const OUTPUT_LINES: usize = 12;
/// Width of the column of kinds.
const KIND: usize = 8;
/// Kind of the event of a live transcript that is no entry.
const END: &str = "end";

/// An entry of a transcript.
pub(crate) type Entry = Sent<TranscriptEntry>;

/// Reads an entry of a live transcript; nothing for its end, and for what is no entry: a page then says what is wrong with it.
pub(crate) fn streamed(kind: &str, data: Value) -> Option<Entry> {
    if kind == END { None } else { Sent::read(data).ok() }
}

/// Returns the word for an entry's kind, also for one of a newer server.
fn kind_of(entry: &Entry) -> String {
    Sent::<TranscriptKind>::read(entry.json().clone()).map(|word| word.kind.clone()).unwrap_or_default()
}

/// Tells whether an entry is of one of these kinds; no kinds means all.
pub(crate) fn is_wanted(entry: &Entry, kinds: &[String]) -> bool {
    kinds.is_empty() || kinds.contains(&kind_of(entry))
}

/// Cuts a tool's name to the word people read.
fn tool_word(name: &str) -> String {
    match name {
        "Bash" => "run".to_owned(),
        "" => "tool".to_owned(),
        other => sanitize::cut(&sanitize::line(other).to_lowercase(), KIND),
    }
}

/// Returns text under an entry: each line after a bar, at most [`OUTPUT_LINES`].
fn below(text: &str, paint: Paint) -> String {
    let mut out = String::new();
    let lines: Vec<&str> = text.lines().collect();
    for line in lines.iter().take(OUTPUT_LINES) {
        out.push_str(&format!("          {}\n", paint.dim(&format!("| {}", sanitize::line(line)))));
    }
    if lines.len() > OUTPUT_LINES {
        let more = format!("| … {} more lines (all of it: --json or --raw)", lines.len() - OUTPUT_LINES);
        out.push_str(&format!("          {}\n", paint.dim(&more)));
    }
    out
}

/// Renders one entry, with its line break. Empty when there is nothing to see.
pub(crate) fn render(entry: &Entry, paint: Paint) -> String {
    let at = time(&entry.at).map_or_else(|| "--:--:--".to_owned(), clock);
    let head = |kind: &str, text: &str| {
        let pad = " ".repeat(KIND.saturating_sub(kind.chars().count()));
        format!("{}  {}{pad}{}", paint.dim(&at), paint.by_word(kind, kind), format_args!("  {text}"))
            .trim_end()
            .to_owned()
            + "\n"
    };
    let prose = |kind: &str, text: &str| {
        let mut lines = text.trim().lines();
        let mut out = head(kind, &sanitize::line(lines.next().unwrap_or("")));
        for line in lines {
            out.push_str(
                &format!("{:20}{}\n", "", sanitize::line(line)).replace(&format!("{:20}\n", ""), "\n"),
            );
        }
        out
    };
    match &entry.event {
        TranscriptEvent::Started { session, model, version } => {
            let parts = [version, model, session].map(shown);
            let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            head("start", &parts.join(" · "))
        }
        TranscriptEvent::Text { text } => prose("agent", text),
        TranscriptEvent::Thinking { text } => prose("think", text),
        TranscriptEvent::Tool { name, title, .. } => head(&tool_word(name), &sanitize::line(title)),
        TranscriptEvent::ToolResult { ok: true, text, .. } => below(text, paint),
        TranscriptEvent::ToolResult { text, .. } => head("error", "the tool failed") + &below(text, paint),
        TranscriptEvent::Denied { tool, reason } => {
            head("denied", &format!("{}: {}", sanitize::line(tool), sanitize::line(reason)))
        }
        TranscriptEvent::ApiRetry { status, tries } => {
            let status = status.map_or_else(|| "without an answer".to_owned(), |status| status.to_string());
            head("retry", &format!("model service {status}, try {tries}"))
        }
        TranscriptEvent::Usage { input_tokens, output_tokens, cost_usd } => {
            let cost = cost_usd.map_or(String::new(), |cost| format!(" · ${cost:.2}"));
            head("usage", &format!("{input_tokens} tokens in, {output_tokens} out{cost}"))
        }
        TranscriptEvent::Output { text } => head("out", &sanitize::line(text)),
        TranscriptEvent::Notice { text } => head("note", &sanitize::line(text.trim_end())),
        TranscriptEvent::Unknown => {
            let json = entry.json().to_string();
            head(
                &sanitize::cut(&sanitize::line(&kind_of(entry)), KIND),
                &sanitize::cut(&sanitize::line(&json), 200),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::ColorChoice;
    use serde_json::json;

    fn shown(entry: Value) -> String {
        render(&crate::samples::entry(entry), Paint::choose(ColorChoice::Never, false, &|_| None))
    }

    #[test]
    fn entries_read_as_a_story() {
        let at = "2026-11-22T10:04:11.000Z";
        assert_eq!(
            shown(json!({"n":1,"at":at,"kind":"text","text":"I'll look.\nThen fix."})),
            "10:04:11  agent     I'll look.\n                    Then fix.\n"
        );
        assert_eq!(
            shown(json!({"n":2,"at":at,"kind":"tool","id":"t","name":"Bash","title":"./test.sh"})),
            "10:04:11  run       ./test.sh\n"
        );
        assert_eq!(
            shown(json!({"n":3,"at":at,"kind":"toolResult","id":"t","ok":true,"text":"ok add\nok div"})),
            "          | ok add\n          | ok div\n"
        );
        assert_eq!(
            shown(json!({"n":4,"at":at,"kind":"usage","inputTokens":5,"outputTokens":6,"costUsd":0.41})),
            "10:04:11  usage     5 tokens in, 6 out · $0.41\n"
        );
        let again = json!({"n":5,"at":at,"kind":"apiRetry","status":529,"try":2});
        assert_eq!(shown(again), "10:04:11  retry     model service 529, try 2\n");
        assert!(shown(json!({"n":6,"at":at,"kind":"brandNew","x":1})).starts_with("10:04:11  brandNew"));
    }

    #[test]
    fn control_characters_are_shown_escaped_everywhere() {
        for entry in [
            json!({"kind":"text","text":"a\u{1b}]0;b\u{7}"}),
            json!({"kind":"tool","id":"t","name":"\u{1b}[2J","title":"\u{1b}[2J"}),
            json!({"kind":"toolResult","id":"t","ok":false,"text":"x\r\u{1b}[1A"}),
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
        let out = shown(json!({"kind":"toolResult","id":"t","ok":true,"text":text}));
        assert!(out.lines().count() == 13 && out.contains("8 more lines"), "{out}");
    }
}
