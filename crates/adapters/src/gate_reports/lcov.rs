//! lcov: which lines ran, by the line records themselves; a cut-off report is an error.

use super::coverage::{Coverage, LineCollector};
use super::malformed::Malformed;

/// Reads a report. Errors with a fragment that names the line.
pub(super) fn parse(bytes: &[u8]) -> Result<Coverage, Malformed> {
    let mut lines = LineCollector::default();
    let mut current: Option<Record> = None;
    for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        let fault =
            |fault: &'static str| Err(Malformed::Line { format: "lcov report", line: index + 1, fault });
        if line.is_empty() {
            continue;
        }
        if line == "end_of_record" {
            let Some(record) = current.take() else { return fault("end_of_record without SF") };
            lines.summary(&record.path, record.found, record.hit)?;
            continue;
        }
        let Some((tag, value)) = line.split_once(':') else { return fault("no record") };
        match (tag, &mut current) {
            ("SF", None) => current = Some(Record { path: value.to_owned(), found: 0, hit: 0 }),
            ("SF", Some(_)) => return fault("SF before end_of_record"),
            ("DA" | "LF" | "LH", None) => return fault("line record outside a file"),
            ("DA", Some(record)) => match line_record(value) {
                Some((line, ran)) => lines.line(&record.path, line, ran)?,
                None => return fault("bad DA record"),
            },
            ("LF", Some(record)) => match value.parse() {
                Ok(found) => record.found = found,
                Err(_) => return fault("bad LF record"),
            },
            ("LH", Some(record)) => match value.parse() {
                Ok(hit) => record.hit = hit,
                Err(_) => return fault("bad LH record"),
            },
            (tag, _) if tag.len() <= 16 && tag.bytes().all(|b| b.is_ascii_uppercase()) => {}
            _ => return fault("unknown record"),
        }
    }
    match current {
        Some(record) => Err(Malformed::CutOff(format!("the record of {}", record.path))),
        None => lines.finish(),
    }
}

/// A file whose record is being read.
struct Record {
    path: String,
    found: u64,
    hit: u64,
}

/// Reads `line,count[,checksum]`. A count may be written as a real number; anything not above 0 is not a hit.
fn line_record(value: &str) -> Option<(u32, bool)> {
    let mut parts = value.split(',');
    let line = parts.next()?.trim().parse().ok().filter(|line| *line > 0)?;
    // Some tools write counts as real numbers. NaN is neither above nor below 0, so that it would be a miss in one comparison
    // and a hit in another.
    let count: f64 = parts.next()?.trim().parse().ok().filter(|count: &f64| count.is_finite())?;
    Some((line, count > 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORY: &str =
        "TN:\nSF:calc.sh\nDA:2,1\nDA:5,3\nDA:6,0\nDA:7,0\nDA:9,1\nLF:5\nLH:3\nend_of_record\n";

    #[test]
    fn counts_lines_over_all_files() {
        let coverage = parse(STORY.as_bytes()).unwrap();
        assert_eq!(coverage.summary(85.0), "60.0% < 85%");
        assert_eq!(coverage.poor()[0].told("calc.sh"), "calc.sh 3/5 lines: 6-7 not run");
        let both = parse(format!("{STORY}SF:/tree/b.sh\nDA:1,5\nend_of_record\r\n").as_bytes()).unwrap();
        assert_eq!((both.hit, both.total), (4, 6));
    }

    #[test]
    fn records_of_one_file_are_merged_by_line() {
        let text = "SF:a\nDA:1,0\nDA:2,0\nend_of_record\nSF:a\nDA:1,2\nDA:2,0\nend_of_record\n";
        let coverage = parse(text.as_bytes()).unwrap();
        assert_eq!((coverage.hit, coverage.total), (1, 2));
    }

    #[test]
    fn summaries_count_only_where_there_are_no_lines() {
        let coverage =
            parse(b"SF:a\nLF:10\nLH:9\nend_of_record\nSF:b\nDA:1,0\nLF:10\nLH:10\nend_of_record\n").unwrap();
        assert_eq!((coverage.hit, coverage.total), (9, 11));
    }

    #[test]
    fn what_says_nothing_is_an_error() {
        for bad in [
            "",
            "\n\n",
            "ok",
            "100%",
            "{\"total\": 100}",
            "SF:a\nend_of_record\n",
            "SF:a\nDA:1,1\n",
            "DA:1,1\nend_of_record\n",
            "SF:a\nDA:x,1\nend_of_record\n",
            "SF:a\nDA:1,NaN\nend_of_record\n",
            "SF:a\nDA:0,1\nend_of_record\n",
            "SF:a\nLF:1\nLH:2\nend_of_record\n",
            "SF:a\nSF:b\nend_of_record\n",
            "SF:a\nLF:99999999999999999999\nend_of_record\n",
            "SF:a\nDA:1\nend_of_record\n",
            "\u{0}\u{1}:x\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
