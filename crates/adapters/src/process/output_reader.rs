//! Follows a job's output from the files that [`super::output_writer`] makes, while they are being written, and
//! notices what was overwritten before it could be read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use mosaic_core::limits;

use crate::passing::is_passing;
use crate::private_place::open_unheld;

use super::output_writer::{HEADER, overflow_paths, parse_header};

/// The result of one read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Output, never empty.
    Data(Vec<u8>),
    /// So many bytes are gone.
    Gap(u64),
}

/// The reading side of a job's standard output. Reads are small and come from files that were just written, so
/// they are done in place rather than on another thread.
#[derive(Debug)]
pub(super) struct OutputReader {
    main: File,
    base: u64,
    limit: u64,
    overflow: [PathBuf; 2],
    position: u64,
}

impl OutputReader {
    /// Follows from the start of the job, which is `base` bytes into the output file.
    pub(super) fn open(output: &Path, base: u64, limit: u64) -> io::Result<Self> {
        Ok(Self { main: open_unheld(output)?, base, limit, overflow: overflow_paths(output), position: 0 })
    }

    /// Returns the next piece, `None` when there is nothing more at the moment.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        if let Some(piece) = self.read_main()? {
            return Ok(Some(piece));
        }
        let segments = self.segments()?;
        if segments.is_empty() {
            return Ok(None);
        }
        // Overflow means that the output file is final: what was added since the look above comes first.
        if let Some(piece) = self.read_main()? {
            return Ok(Some(piece));
        }
        for (file, start, end) in &segments {
            if (*start..*end).contains(&self.position)
                && let Some(data) = read_segment(file, *start, self.position)?
            {
                return Ok(Some(self.advance(data)));
            }
        }
        let next = segments.iter().map(|(_, start, _)| *start).filter(|start| *start > self.position).min();
        Ok(next.map(|start| {
            let gap = start - self.position;
            self.position = start;
            Piece::Gap(gap)
        }))
    }

    /// Gives up on everything before `total`; returns what that loses.
    pub(super) fn skip_to(&mut self, total: u64) -> Option<Piece> {
        let gap = total.saturating_sub(self.position);
        self.position += gap;
        (gap > 0).then_some(Piece::Gap(gap))
    }

    /// Removes the overflow files, which serve nobody but this reader. For the end.
    pub(super) fn remove_overflow(&self) {
        for path in &self.overflow {
            // Most jobs have none; one that stays is removed by the next job with this output file.
            let _ = std::fs::remove_file(path);
        }
    }

    fn advance(&mut self, data: Vec<u8>) -> Piece {
        self.position += data.len() as u64;
        Piece::Data(data)
    }

    fn read_main(&mut self) -> io::Result<Option<Piece>> {
        let room = self.limit.saturating_sub(self.position).min(limits::OUTPUT_CHUNK_BYTES as u64);
        let data = read_at(&self.main, self.base + self.position, usize::try_from(room).unwrap_or(0))?;
        Ok((!data.is_empty()).then(|| self.advance(data)))
    }

    /// Opens the overflow files that have content: each with the part of the output that it holds. Errors when that cannot be known
    /// now: what they hold must not pass for lost.
    fn segments(&self) -> io::Result<Vec<(File, u64, u64)>> {
        let mut found = Vec::new();
        for path in &self.overflow {
            let file = match open_unheld(path) {
                Err(e) if is_passing(&e) => return Err(e),
                Err(_) => continue,
                Ok(file) => file,
            };
            let used = file.metadata()?.len().checked_sub(HEADER).filter(|used| *used > 0);
            if let (Some(start), Some(used)) = (segment_start(&file), used) {
                found.push((file, start, start + used));
            }
        }
        Ok(found)
    }
}

fn segment_start(file: &File) -> Option<u64> {
    let mut head = [0; HEADER as usize];
    file.read_exact_at(&mut head, 0).ok()?;
    parse_header(&head)
}

/// Reads from an overflow file; `None` when it was begun anew meanwhile, which the head then shows.
fn read_segment(file: &File, start: u64, position: u64) -> io::Result<Option<Vec<u8>>> {
    let data = read_at(file, HEADER + position - start, limits::OUTPUT_CHUNK_BYTES)?;
    // The head is read again after the content. The writer may have begun the file anew in between, and then
    // the bytes belong to another part of the output.
    Ok((segment_start(file) == Some(start) && !data.is_empty()).then_some(data))
}

fn read_at(file: &File, offset: u64, most: usize) -> io::Result<Vec<u8>> {
    let left = file.metadata()?.len().saturating_sub(offset);
    let mut data = vec![0; usize::try_from(left).unwrap_or(most).min(most)];
    let mut done = 0;
    while done < data.len() {
        match file.read_at(&mut data[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    data.truncate(done);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::super::output_writer::OutputWriter;
    use super::*;

    fn read_all(reader: &mut OutputReader) -> (Vec<u8>, u64) {
        let (mut all, mut gaps) = (Vec::new(), 0);
        while let Some(piece) = reader.next().unwrap() {
            match piece {
                Piece::Data(data) => all.extend(data),
                Piece::Gap(n) => gaps += n,
            }
        }
        (all, gaps)
    }

    #[test]
    fn a_reader_in_step_misses_nothing_past_the_limit() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("out");
        std::fs::write(&path, "earlier\n").unwrap();
        let mut writer = OutputWriter::open(&path, 10).unwrap();
        let mut reader = OutputReader::open(&path, writer.base(), 10).unwrap();
        let mut seen = Vec::new();
        for n in 0..40_000_u32 {
            writer.append(format!("line {n} with enough text to turn the overflow files over\n").as_bytes());
            if n % 100 == 0 {
                seen.extend(read_all(&mut reader).0);
            }
        }
        let (rest, gaps) = read_all(&mut reader);
        seen.extend(rest);
        assert_eq!((seen.len() as u64, gaps), (writer.total(), 0));
        assert!(seen.ends_with(b"line 39999 with enough text to turn the overflow files over\n"));
        let file = std::fs::read_to_string(&path).unwrap();
        assert_eq!(file.matches("[mosaic: output limit of 10 bytes reached").count(), 1);
        assert!(file.starts_with("earlier\nline 0 wit"));
    }

    #[test]
    fn a_late_reader_gets_the_start_a_gap_and_the_end() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("out");
        let mut writer = OutputWriter::open(&path, 1000).unwrap();
        for _ in 0..400 {
            writer.append(&[b'x'; 65_536]);
        }
        writer.append(b"the end\n");
        let mut reader = OutputReader::open(&path, 0, 1000).unwrap();
        let (seen, gaps) = read_all(&mut reader);
        assert_eq!(seen.len() as u64 + gaps, writer.total());
        assert!(gaps > 0 && seen.ends_with(b"the end\n") && seen.len() as u64 > limits::OVERFLOW_BYTES);
        let beside: u64 = overflow_paths(&path).iter().map(|p| p.metadata().unwrap().len()).sum();
        assert!(beside <= 2 * (limits::OVERFLOW_BYTES + 65_536 + HEADER));
    }

    #[test]
    fn a_full_disk_is_remembered_and_what_fits_is_read() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("out");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut writer = OutputWriter::open(&path, 1000).unwrap();
        writer.append(b"first\n");
        writer.append(b"second\n");
        assert!(writer.error().unwrap().contains("could not be kept"));
        let mut reader = OutputReader::open(&path, writer.base(), 1000).unwrap();
        assert_eq!(read_all(&mut reader), (b"first\nsecond\n".to_vec(), 0));
    }
}
