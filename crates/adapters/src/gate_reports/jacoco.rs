//! JaCoCo XML: instructions per source line; a line ran when any of its instructions did.

use super::coverage::{Coverage, LineCollector};
use super::malformed::Malformed;
use super::xml::{self, Element, Handler};

/// Reads a report.
pub(super) fn parse(bytes: &[u8]) -> Result<Coverage, Malformed> {
    let mut reader = JacocoReader::default();
    // JaCoCo names its own document type, which is never fetched.
    xml::read_typed(bytes, &mut reader)?;
    if !reader.root {
        return Err(Malformed::NotOfFormat("JaCoCo report (no <report>)"));
    }
    match reader.fault {
        Some(fault) => Err(fault),
        None => reader.lines.finish(),
    }
}

#[derive(Default)]
struct JacocoReader {
    lines: LineCollector,
    root: bool,
    package: String,
    /// Path of the source file that is being read: its package and its name. The source directory is not in the report.
    file: Option<String>,
    fault: Option<Malformed>,
}

impl Handler for JacocoReader {
    fn open(&mut self, element: &Element<'_>) {
        let name = element.get("name").unwrap_or_default();
        match element.name {
            "report" => self.root = true,
            "package" => self.package = name.to_owned(),
            "sourcefile" => {
                let package = self.package.trim_matches('/');
                self.file =
                    Some(if package.is_empty() { name.to_owned() } else { format!("{package}/{name}") });
            }
            "line" | "counter" => self.record(element),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        if name == "sourcefile" {
            self.file = None;
        }
    }

    fn text(&mut self, _: &str) {}
}

impl JacocoReader {
    fn record(&mut self, element: &Element<'_>) {
        let Some(file) = &self.file else { return };
        let number = |name| element.get(name).and_then(|value| value.trim().parse::<u64>().ok());
        let added = match (element.name, element.get("type")) {
            ("counter", Some("LINE")) => match (number("missed"), number("covered")) {
                (Some(missed), Some(covered)) => {
                    self.lines.summary(file, missed.saturating_add(covered), covered)
                }
                _ => Err(Malformed::Document("has a counter without numbers")),
            },
            ("counter", _) => Ok(()),
            _ => match (number("nr").and_then(|line| u32::try_from(line).ok()), number("ci")) {
                (Some(line), Some(covered)) => self.lines.line(file, line, covered > 0),
                _ => Err(Malformed::Document("has a line without nr or ci")),
            },
        };
        if let Err(why) = added {
            self.fault.get_or_insert(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<!DOCTYPE report PUBLIC "-//JACOCO//DTD Report 1.1//EN" "report.dtd">
<report name="calc"><sessioninfo id="h-1" start="1" dump="2"/>
<package name="org/calc"><class name="org/calc/Calc" sourcefilename="Calc.java">
<method name="add" desc="(II)I" line="5"><counter type="LINE" missed="9" covered="9"/></method></class>
<sourcefile name="Calc.java"><line nr="3" mi="0" ci="3" mb="0" cb="0"/><line nr="5" mi="4" ci="0" mb="0" cb="0"/>
<line nr="6" mi="2" ci="1" mb="1" cb="1"/><counter type="LINE" missed="0" covered="3"/></sourcefile></package>
<counter type="LINE" missed="0" covered="3"/></report>"#;

    #[test]
    fn a_line_ran_when_any_of_its_instructions_did() {
        let coverage = parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!((coverage.hit, coverage.total), (2, 3));
        assert_eq!(coverage.files[0].path, "org/calc/Calc.java");
    }

    #[test]
    fn what_says_nothing_is_an_error() {
        for bad in [
            "<report><counter type=\"LINE\" missed=\"0\" covered=\"9\"/></report>",
            "<report><package name=\"a\"><sourcefile name=\"b\"><line nr=\"1\"/></sourcefile></package></report>",
            "<coverage/>",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
