//! Cobertura XML, as coverage.py, gcovr, c8, coverlet and cargo-tarpaulin write it.

use super::coverage::{Coverage, LineCollector};
use super::malformed::Malformed;
use super::xml::{self, Element, Handler};

/// Reads a report.
pub(super) fn parse(bytes: &[u8]) -> Result<Coverage, Malformed> {
    let mut reader = CoberturaReader::default();
    // Cobertura itself names the address of its document type, which is never fetched.
    xml::read_typed(bytes, &mut reader)?;
    if !reader.root {
        return Err(Malformed::NotOfFormat("Cobertura report (no <coverage> with classes)"));
    }
    match reader.fault {
        Some(fault) => Err(fault),
        None => reader.lines.finish(),
    }
}

#[derive(Default)]
struct CoberturaReader {
    lines: LineCollector,
    root: bool,
    /// Text of the `<source>` that is being read, and the sources before it.
    source: Option<String>,
    sources: Vec<String>,
    /// File of the class that is being read.
    file: Option<String>,
    fault: Option<Malformed>,
}

/// Most source directories of one report; more than one already cannot be told apart.
const SOURCES: usize = 16;

impl Handler for CoberturaReader {
    fn open(&mut self, element: &Element<'_>) {
        match element.name {
            "coverage" => self.root = true,
            "source" => self.source = Some(String::new()),
            "class" => {
                self.file = element.get("filename").or(element.get("name")).map(|name| self.path(name))
            }
            "line" => self.line(element),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "source" if self.sources.len() < SOURCES => self.sources.extend(self.source.take()),
            "class" => self.file = None,
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(source) = self.source.as_mut().filter(|source| source.len() < 4096) {
            source.push_str(text);
        }
    }
}

impl CoberturaReader {
    /// Returns the path of a file below the one source directory of the report; of several the right one is not known.
    fn path(&self, name: &str) -> String {
        match self.sources.as_slice() {
            [one] if !name.starts_with('/') && !one.trim().is_empty() => {
                format!("{}/{name}", one.trim().trim_end_matches('/'))
            }
            _ => name.to_owned(),
        }
    }

    fn line(&mut self, element: &Element<'_>) {
        let Some(file) = &self.file else { return };
        let record = element.get("number").and_then(|n| n.trim().parse().ok()).zip(hits(element.get("hits")));
        let added = match record {
            // Methods repeat the lines of their class; a line counts once.
            Some((line, ran)) => self.lines.line(file, line, ran),
            None => Err(Malformed::Document("has a line without number or hits")),
        };
        if let Err(why) = added {
            self.fault.get_or_insert(why);
        }
    }
}

/// Returns whether a count of hits is above zero; `None` when it is no count.
pub(super) fn hits(count: Option<&str>) -> Option<bool> {
    let count: f64 = count?.trim().parse().ok()?;
    count.is_finite().then_some(count > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"<?xml version="1.0" ?>
<!DOCTYPE coverage SYSTEM 'http://cobertura.sourceforge.net/xml/coverage-04.dtd'>
<coverage version="7.6.1" lines-valid="4" lines-covered="3" line-rate="0.75" branch-rate="0">
  <sources><source>/tree/src</source></sources>
  <packages><package name="." line-rate="0.75"><classes>
    <class name="calc.py" filename="calc.py" line-rate="0.75">
      <methods><method name="add"><lines><line number="2" hits="1"/></lines></method></methods>
      <lines><line number="1" hits="1"/><line number="2" hits="1"/><line number="4" hits="1"/><line number="5" hits="0"/></lines>
    </class>
    <class name="empty.py" filename="empty.py" line-rate="1"><methods/><lines/></class>
  </classes></package></packages>
</coverage>"#;

    #[test]
    fn lines_are_counted_and_rates_are_not_believed() {
        let coverage = parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!((coverage.hit, coverage.total), (3, 4));
        assert_eq!(coverage.files[0].path, "/tree/src/calc.py");
        assert_eq!(coverage.files[0].missed().collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn what_says_nothing_is_an_error() {
        for bad in [
            "<coverage line-rate=\"1\"><packages/></coverage>",
            "<report/>",
            "<coverage><class filename=\"a\"><line number=\"1\"/></class></coverage>",
            "<coverage><class filename=\"a\"><line number=\"x\" hits=\"1\"/></class></coverage>",
            "<!DOCTYPE coverage [<!ENTITY a \"b\">]><coverage/>",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
