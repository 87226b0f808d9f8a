//! `llvm-cov export` (and `cargo llvm-cov --json`): segments of each file, read as llvm-cov itself makes lines of them.

use mosaic_core::limits;
use serde::Deserialize;

use super::coverage::{Coverage, LineCollector};
use super::json::{self, AtMost, Each, Fields, Object};
use super::malformed::Malformed;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess};

/// Reads a report.
pub(super) fn parse(bytes: &[u8]) -> Result<Coverage, Malformed> {
    let mut export = Export::default();
    json::document(bytes, &mut export)?;
    match export.is_llvm {
        true => export.lines.finish(),
        false => Err(Malformed::NotOfFormat("llvm-cov export (no \"llvm.coverage.json.export\")")),
    }
}

#[derive(Default)]
struct Export {
    lines: LineCollector,
    is_llvm: bool,
}

/// One binary, or several that were merged.
struct Data<'a>(&'a mut LineCollector);

#[derive(Deserialize)]
struct File {
    filename: String,
    #[serde(default)]
    segments: AtMost<Segment, { limits::COVERAGE_LINES }>,
    summary: Option<FileSummary>,
}

#[derive(Deserialize)]
struct FileSummary {
    lines: LineSummary,
}

#[derive(Deserialize)]
struct LineSummary {
    count: u64,
    covered: u64,
}

/// A place from which on a count holds.
#[derive(Debug, Clone, Copy)]
struct Segment {
    line: u32,
    ran: bool,
    has_count: bool,
    is_entry: bool,
    is_gap: bool,
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> serde::de::Visitor<'de> for Parts {
            type Value = Segment;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a segment")
            }
            fn visit_seq<S: serde::de::SeqAccess<'de>>(self, mut seq: S) -> Result<Segment, S::Error> {
                let short = || Error::custom("a segment has less than five parts");
                let line = seq.next_element()?.ok_or_else(short)?;
                let _column: u32 = seq.next_element()?.ok_or_else(short)?;
                let count: f64 = seq.next_element()?.ok_or_else(short)?;
                let has_count = seq.next_element::<Flag>()?.ok_or_else(short)?.0;
                let is_entry = seq.next_element::<Flag>()?.ok_or_else(short)?.0;
                let is_gap = seq.next_element::<Flag>()?.is_some_and(|gap| gap.0);
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(Segment { line, ran: count > 0.0, has_count, is_entry, is_gap })
            }
        }
        reader.deserialize_seq(Parts)
    }
}

/// A flag, which older versions write as a number.
#[derive(Deserialize)]
#[serde(from = "Truth")]
struct Flag(bool);

#[derive(Deserialize)]
#[serde(untagged)]
enum Truth {
    Is(bool),
    Number(u8),
}

impl From<Truth> for Flag {
    fn from(truth: Truth) -> Self {
        Self(match truth {
            Truth::Is(is) => is,
            Truth::Number(number) => number > 0,
        })
    }
}

impl Fields for Export {
    fn field<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
        match key {
            "type" => {
                self.is_llvm = map.next_value::<String>()? == "llvm.coverage.json.export";
                Ok(())
            }
            "data" => map.next_value_seed(EachData(&mut self.lines)),
            _ => json::skip(map),
        }
    }
}

/// The list of binaries.
struct EachData<'a>(&'a mut LineCollector);

impl<'de> DeserializeSeed<'de> for EachData<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> serde::de::Visitor<'de> for EachData<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of exports")
    }

    fn visit_seq<S: serde::de::SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        while seq.next_element_seed(Object(&mut Data(self.0)))?.is_some() {}
        Ok(())
    }
}

impl Fields for Data<'_> {
    fn field<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
        match key {
            "files" => map.next_value_seed(Each::new(|file| add(self.0, &file))),
            _ => json::skip(map),
        }
    }
}

fn add(lines: &mut LineCollector, file: &File) -> Result<(), Malformed> {
    if let Some(summary) = &file.summary {
        lines.summary(&file.filename, summary.lines.count, summary.lines.covered)?;
    }
    let segments = &file.segments.0;
    let mut at = 0;
    // The segment that was last on an earlier line holds on until the next one.
    let mut wrapped: Option<Segment> = None;
    let mut line = segments.first().map_or(1, |segment| segment.line);
    while at < segments.len() {
        let on_line = segments[at..].iter().take_while(|segment| segment.line == line).count();
        let here = &segments[at..at + on_line];
        if let Some(ran) = line_ran(here, wrapped) {
            lines.line(&file.filename, line, ran)?;
        }
        at += on_line;
        wrapped = here.last().copied().or(wrapped);
        let Some(next) = segments.get(at) else { break };
        if next.line < line {
            return Err(Malformed::Document("has segments that are not in order"));
        }
        // Lines between segments are counted only where a count holds: a gap of a billion lines must not be walked.
        line =
            if wrapped.is_some_and(|segment| segment.has_count) { line + 1 } else { next.line.max(line + 1) };
    }
    Ok(())
}

/// Tells whether a line ran; `None` when it has no code. As `LineCoverageStats` of LLVM.
fn line_ran(here: &[Segment], wrapped: Option<Segment>) -> Option<bool> {
    let starts = |segment: &&Segment| !segment.is_gap && segment.has_count && segment.is_entry;
    let skipped = here.first().is_some_and(|first| !first.has_count && first.is_entry);
    let counted = wrapped.is_some_and(|segment| segment.has_count);
    let started = here.iter().filter(starts).count() > 0;
    if skipped || !(counted || started) {
        return None;
    }
    Some(wrapped.is_some_and(|segment| segment.ran) || here.iter().filter(starts).any(|segment| segment.ran))
}

#[cfg(test)]
mod tests {
    use super::*;

    // fn add() { … }  on 1–3 ran, fn never() { … } on 5–7 did not.
    const SAMPLE: &str = r#"{"data": [{"files": [{"branches": [], "expansions": [], "filename": "/tree/src/lib.rs",
        "segments": [[1, 1, 2, true, true, false], [3, 2, 0, false, false, false], [5, 1, 0, true, true, false], [7, 2, 0, false, false, false]],
        "summary": {"lines": {"count": 6, "covered": 6, "percent": 100.0}}}], "functions": [], "totals": {"lines": {"count": 6, "covered": 6}}}],
        "type": "llvm.coverage.json.export", "version": "3.0.1"}"#;

    #[test]
    fn segments_become_lines_and_summaries_are_not_believed() {
        let coverage = parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!((coverage.hit, coverage.total), (3, 6));
        assert_eq!(coverage.files[0].missed().collect::<Vec<_>>(), [5, 6, 7]);
    }

    #[test]
    fn a_report_of_numbers_only_is_read_by_them() {
        let text = r#"{"data": [{"files": [{"filename": "a.c", "summary": {"lines": {"count": 10, "covered": 9}}}]}], "type": "llvm.coverage.json.export"}"#;
        let coverage = parse(text.as_bytes()).unwrap();
        assert_eq!((coverage.hit, coverage.total), (9, 10));
    }

    #[test]
    fn hostile_places_are_bounded() {
        let text = |segments: &str| {
            format!(
                "{{\"type\": \"llvm.coverage.json.export\", \"data\": [{{\"files\": [{{\"filename\": \"a\", \"segments\": [{segments}]}}]}}]}}"
            )
        };
        let wide = text("[1,1,1,true,true,false],[4294967295,1,0,false,false,false]");
        assert!(parse(wide.as_bytes()).unwrap_err().to_string().contains("line records"));
        let back = text("[9,1,1,true,true,false],[1,1,0,false,false,false]");
        assert!(parse(back.as_bytes()).is_err());
        assert!(parse(text("[1,1]").as_bytes()).is_err());
        assert!(parse(b"{\"data\": []}").is_err());
        let apart =
            text("[1,1,1,true,true,false],[2,1,0,false,false,false],[4294967295,1,1,true,true,false]");
        assert_eq!(parse(apart.as_bytes()).unwrap().total, 3);
    }
}
