//! Profiles of `go test -coverprofile`: blocks of statements with their counts. A line of a block that has statements could
//! run; it ran when any block on it did.

use std::collections::HashMap;

use mosaic_core::limits;

use super::coverage::{Coverage, LineCollector};
use super::lines;
use super::malformed::Malformed;

/// First and last line of a block.
type Block = (u32, u32);

/// Reads a report. Errors with a fragment that names the line.
pub(super) fn parse(bytes: &[u8]) -> Result<Coverage, Malformed> {
    let mut mode = false;
    // Several packages that cover each other repeat each block, so blocks are put together before they become lines.
    let mut blocks: HashMap<String, HashMap<Block, bool>> = HashMap::new();
    let mut count = 0;
    for (index, line) in lines::of(bytes).enumerate() {
        let fault =
            |fault: &'static str| Malformed::Line { format: "Go cover profile", line: index + 1, fault };
        match line.trim() {
            "" => continue,
            // Profiles that were put together have it again.
            "mode: set" | "mode: count" | "mode: atomic" => mode = true,
            _ if !mode => return Err(fault("no `mode:` before it")),
            record => {
                let (file, block, ran) = block(record).ok_or_else(|| fault("no block"))?;
                let Some(block) = block else { continue };
                if !blocks.contains_key(file) {
                    blocks.insert(file.to_owned(), HashMap::new());
                }
                let of_file = blocks.get_mut(file).expect("it was inserted above");
                count += usize::from(!of_file.contains_key(&block));
                *of_file.entry(block).or_default() |= ran;
            }
        }
        if count > limits::COVERAGE_LINES || blocks.len() > limits::COVERAGE_FILES {
            return Err(Malformed::TooMuch { most: limits::COVERAGE_LINES, of: "blocks" });
        }
    }
    let mut collected = LineCollector::default();
    for (file, blocks) in blocks {
        for ((first, last), ran) in blocks {
            for line in first..=last {
                collected.line(&file, line, ran)?;
            }
        }
    }
    collected.finish()
}

/// Reads `file:line.column,line.column statements count`. The block is `None` when it has no statements.
fn block(record: &str) -> Option<(&str, Option<Block>, bool)> {
    let (front, count) = record.rsplit_once(' ')?;
    let (front, statements) = front.rsplit_once(' ')?;
    let (file, range) = front.rsplit_once(':')?;
    let (from, to) = range.split_once(',')?;
    let part = |text: &str| {
        let (line, column) = text.split_once('.')?;
        column.parse::<u32>().ok()?;
        line.parse::<u32>().ok()
    };
    let (first, last) = (part(from)?, part(to)?);
    let (count, statements): (u64, u64) = (count.parse().ok()?, statements.parse().ok()?);
    let block = (first > 0 && last >= first && statements > 0).then_some((first, last));
    if file.is_empty() || last < first {
        return None;
    }
    Some((file, block, count > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "mode: set\nexample.org/calc/calc.go:3.24,5.2 1 1\nexample.org/calc/calc.go:7.29,8.12 1 1\n\
                          example.org/calc/calc.go:8.12,10.3 1 0\nexample.org/calc/calc.go:11.2,11.14 1 1\nexample.org/calc/doc.go:1.1,2.2 0 0\n";

    #[test]
    fn blocks_become_lines() {
        let coverage = parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!((coverage.hit, coverage.total), (6, 8));
        assert_eq!(coverage.files.len(), 1);
        assert_eq!(coverage.files[0].missed().collect::<Vec<_>>(), [9, 10]);
        let twice = format!("{SAMPLE}{SAMPLE}");
        assert_eq!(parse(twice.as_bytes()).unwrap().total, 8);
    }

    #[test]
    fn what_says_nothing_is_an_error() {
        for bad in [
            "mode: set\n",
            "a.go:1.1,2.2 1 1\n",
            "mode: set\na.go:1.1,2.2 1\n",
            "mode: set\na.go:2.1,1.2 1 1\n",
            "mode: set\na.go:1.1,2.2 1 -1\n",
            "mode: maybe\na.go:1.1,2.2 1 1\n",
            "mode: set\na.go:1.1,4294967295.2 1 1\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
