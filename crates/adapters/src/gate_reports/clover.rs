//! Clover XML, as PHPUnit and istanbul write it.

use super::cobertura::hits;
use super::coverage::{Coverage, LineCollector};
use super::malformed::Malformed;
use super::xml::{self, Element, Handler};

/// Reads a report.
pub(super) fn parse(bytes: &[u8]) -> Result<Coverage, Malformed> {
    let mut reader = CloverReader::default();
    xml::read_typed(bytes, &mut reader)?;
    if !reader.project {
        return Err(Malformed::NotOfFormat("Clover report (no <project>)"));
    }
    match reader.fault {
        Some(fault) => Err(fault),
        None => reader.lines.finish(),
    }
}

#[derive(Default)]
struct CloverReader {
    lines: LineCollector,
    project: bool,
    file: Option<String>,
    fault: Option<Malformed>,
}

impl Handler for CloverReader {
    fn open(&mut self, element: &Element<'_>) {
        match element.name {
            "project" => self.project = true,
            // PHPUnit has the whole path as the name, istanbul beside it.
            "file" => self.file = element.get("path").or(element.get("name")).map(str::to_owned),
            // The line of a method's head counts its calls, and is no statement.
            "line" if element.get("type") != Some("method") => self.line(element),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        if name == "file" {
            self.file = None;
        }
    }

    fn text(&mut self, _: &str) {}
}

impl CloverReader {
    fn line(&mut self, element: &Element<'_>) {
        let Some(file) = &self.file else { return };
        let ran = match (element.get("count"), element.get("truecount"), element.get("falsecount")) {
            (None, Some(yes), Some(no)) => hits(Some(yes)).zip(hits(Some(no))).map(|(yes, no)| yes || no),
            (count, _, _) => hits(count),
        };
        let added = match element.get("num").and_then(|line| line.trim().parse().ok()).zip(ran) {
            Some((line, ran)) => self.lines.line(file, line, ran),
            None => Err(Malformed::Document("has a line without num or count")),
        };
        if let Err(why) = added {
            self.fault.get_or_insert(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<coverage generated="1733000000000" clover="3.2.0"><project timestamp="1733000000000" name="All files">
<metrics statements="4" coveredstatements="4" conditionals="0" coveredconditionals="0" methods="1" coveredmethods="1"/>
<file name="calc.js" path="/tree/src/calc.js"><metrics statements="4" coveredstatements="4"/>
<line num="1" count="2" type="stmt"/><line num="2" count="0" type="cond" truecount="0" falsecount="0"/>
<line num="3" count="0" type="stmt"/><line num="9" count="1" type="method" name="add"/></file></project></coverage>"#;

    #[test]
    fn statements_and_conditions_are_lines_and_metrics_are_not_believed() {
        let coverage = parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!((coverage.hit, coverage.total), (1, 3));
        assert_eq!(coverage.files[0].path, "/tree/src/calc.js");
        assert!(parse(b"<coverage><project><metrics statements=\"4\"/></project></coverage>").is_err());
        assert!(parse(b"<coverage><packages/></coverage>").is_err());
    }
}
