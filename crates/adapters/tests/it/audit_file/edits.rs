//! Edits of the log: whatever is changed, the check finds it.

use super::*;

/// Edits that do not keep to the ends of records.
fn edits_of_bytes(original: &Original, lines: &[&[u8]], kind: &mut impl FnMut(&'static str, Vec<Vec<u8>>)) {
    let ends: Vec<usize> = lines
        .iter()
        .scan(0, |at, line| {
            *at += line.len();
            Some(*at)
        })
        .collect();
    kind(
        "cut behind a record",
        ends.iter().take(199).copied().chain([0]).map(|at| original.bytes[..at].to_vec()).collect(),
    );
    kind(
        "cut within a record",
        ends.iter()
            .flat_map(|end| [end - 1, end - 2, end - 150])
            .map(|at| original.bytes[..at].to_vec())
            .collect(),
    );
    kind(
        "end of line changed",
        ends.iter()
            .map(|end| [&original.bytes[..end - 1], b"\r\n", &original.bytes[*end..]].concat())
            .collect(),
    );
    kind(
        "blank line or space put in",
        ends.iter()
            .flat_map(|end| [(*end, b'\n'), (end - 1, b' ')])
            .map(|(at, byte)| [&original.bytes[..at], &[byte], &original.bytes[at..]].concat())
            .collect(),
    );
    kind(
        "bytes put behind the end",
        vec![
            [&original.bytes[..], b"x"].concat(),
            [&original.bytes[..], b"\n"].concat(),
            [&original.bytes[..], lines[199]].concat(),
        ],
    );
}

#[tokio::test]
async fn any_single_edit_is_found() {
    let original = Original::make(200).await;
    let lines = original.lines();
    assert_eq!(lines.len(), 200);
    let mut counts: Vec<(&str, usize, usize)> = Vec::new();
    let step = if dense() { 1 } else { 5 };
    let mut kind = |name: &'static str, edits: Vec<Vec<u8>>| {
        let edits: Vec<Vec<u8>> = edits.into_iter().step_by(step).collect();
        let missed = edits.iter().filter(|bytes| original.with(bytes).is_none()).count();
        counts.push((name, edits.len(), edits.len() - missed));
    };
    let join = |lines: &[&[u8]]| lines.concat();
    let without = |i: usize| [&lines[..i], &lines[i + 1..]].concat();
    kind("record deleted", (0..200).map(|i| join(&without(i))).collect());
    kind("record repeated", (0..200).map(|i| join(&[&lines[..=i], &lines[i..]].concat())).collect());
    kind(
        "neighbours swapped",
        (0..199)
            .map(|i| {
                let mut other = lines.clone();
                other.swap(i, i + 1);
                join(&other)
            })
            .collect(),
    );
    kind(
        "record moved",
        (0..200)
            .map(|i| {
                let mut other = without(i);
                other.insert((i + 77) % 200, lines[i]);
                join(&other)
            })
            .collect(),
    );
    kind(
        "order turned around",
        (2..=200)
            .step_by(9)
            .map(|to| {
                let mut other = lines.clone();
                other[..to].reverse();
                join(&other)
            })
            .collect(),
    );
    edits_of_bytes(&original, &lines, &mut kind);
    for (name, tried, found) in &counts {
        println!("{name}: {found} of {tried} found");
    }
    // The untouched bytes still pass: the edits were found for what they are.
    assert_eq!(original.with(&original.bytes), None);
    assert!(counts.iter().all(|(_, tried, found)| tried == found && *tried > 0), "{counts:?}");
}

#[tokio::test]
async fn any_changed_byte_is_found() {
    let original = Original::make(200).await;
    // Every byte of the first and the last record, and some of each other; with MOSAIC_TEST_EDITS every byte there is.
    let lines = original.lines();
    let mut places = Vec::new();
    let mut at = 0;
    for (i, line) in lines.iter().enumerate() {
        let step = if dense() || [0, 199].contains(&i) { 1 } else { 61 };
        places.extend((at + i % step..at + line.len()).step_by(step));
        at += line.len();
    }
    let file = OpenOptions::new().write(true).open(log(original.dir.path())).unwrap();
    let mut found = 0;
    for &at in &places {
        let byte = original.bytes[at];
        // One bit, and another character of the same kind.
        let other =
            if at % 2 == 0 { byte ^ (1 << (at / 2 % 8)) } else { if byte == b'0' { b'1' } else { b'0' } };
        file.write_all_at(&[other], at as u64).unwrap();
        let bad = broken(original.dir.path())
            .unwrap_or_else(|| panic!("byte {at}: {byte} as {other} is not found"));
        let record = lines
            .iter()
            .scan(0, |end, line| {
                *end += line.len();
                Some(*end)
            })
            .position(|end| at < end)
            .unwrap() as u64
            + 1;
        assert_eq!(bad.n, record, "byte {at}: {bad}");
        found += 1;
        file.write_all_at(&[byte], at as u64).unwrap();
    }
    println!("changed byte: {found} of {} found, each at its record", places.len());
    assert_eq!(broken(original.dir.path()), None);
}

#[tokio::test]
async fn edits_of_the_head_file_and_whole_rewrites_are_found() {
    let original = Original::make(20).await;
    let head = original.dir.path().join("audit/laptop.head");
    let text = fs::read(&head).unwrap();
    for at in 0..text.len() {
        let mut other = text.clone();
        other[at] ^= 1 << (at % 8);
        fs::write(&head, other).unwrap();
        assert!(broken(original.dir.path()).is_some(), "byte {at} of the head file");
    }
    fs::remove_file(&head).unwrap();
    assert!(broken(original.dir.path()).is_some());
    fs::write(&head, &text).unwrap();
    // The last record written anew, with everything in it that a record needs: only the head file knows better.
    let forged = tempfile::tempdir().unwrap();
    let audit = open(forged.path());
    for n in 0..19 {
        audit.append(entry(n)).await.unwrap();
    }
    audit.append(entry(777)).await.unwrap();
    drop(audit);
    let bytes = fs::read(log(forged.path())).unwrap();
    assert_eq!(original.with(&bytes).unwrap().n, 20);
    // The log of another node under this one's name.
    let other = tempfile::tempdir().unwrap();
    let audit = FileAudit::open(other.path(), "other", YEAR).unwrap();
    audit.append(entry(0)).await.unwrap();
    drop(audit);
    for end in ["jsonl", "head"] {
        let from = other.path().join(format!("audit/other.{end}"));
        fs::copy(from, original.dir.path().join(format!("audit/laptop.{end}"))).unwrap();
    }
    assert_eq!(broken(original.dir.path()).unwrap().n, 1);
}
