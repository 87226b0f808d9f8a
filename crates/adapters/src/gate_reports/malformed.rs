//! Faults of a report's content, as fragments that follow its name.

use mosaic_core::limits;
use thiserror::Error;

/// Longest part of a parser's message that is shown, in characters: it may quote the report.
const QUOTED: usize = 160;

/// A fault of a report's content.
#[derive(Debug, Error)]
pub(crate) enum Malformed {
    /// It ends in the middle of an element or a record.
    #[error("is cut off inside {}", quoted(.0))]
    CutOff(String),
    /// It is not XML.
    #[error("is not well-formed XML: {}", quoted(&.0.to_string()))]
    Xml(#[source] quick_xml::Error),
    /// It is not JSON, or not the JSON of its format.
    #[error("is not the JSON of its format: {}", quoted(&.0.to_string()))]
    Json(#[source] serde_json::Error),
    /// It is not the one bounded document that reports are.
    #[error("{0}")]
    Document(&'static str),
    /// It has more of something than any real one.
    #[error("has more than {most} {of}")]
    TooMuch {
        /// The bound.
        most: usize,
        /// The thing that is bounded.
        of: &'static str,
    },
    /// Its elements lie deeper in each other than in any real one.
    #[error("is nested more than {} deep", limits::REPORT_DEPTH)]
    TooDeep,
    /// It is of another format.
    #[error("is no {0}")]
    NotOfFormat(&'static str),
    /// A line is no record of its format.
    #[error("is no {format}: line {line}: {fault}")]
    Line {
        /// The format.
        format: &'static str,
        /// The line, from 1.
        line: usize,
        /// Its fault.
        fault: &'static str,
    },
    /// It contradicts itself.
    #[error("claims {hit} of {all} lines in {}", quoted(path))]
    Contradiction {
        /// Lines that ran.
        hit: u64,
        /// Lines that could run.
        all: u64,
        /// The file.
        path: String,
    },
    /// It has no line that could run.
    #[error("says nothing: it has no line that could run")]
    Empty,
}

/// Returns a text of the report fit for a message: short and printable.
fn quoted(text: &str) -> String {
    text.chars().take(QUOTED).flat_map(char::escape_debug).collect()
}
