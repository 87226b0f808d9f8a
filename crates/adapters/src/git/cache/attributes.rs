//! Attribute files as git reads them in a working tree. Asked about a commit, git takes a byte order mark for a part of the
//! first pattern, which it skips in a file; and a filter whose name is a word of its answer for "none" it does not tell from
//! none. A copy without the mark, with other names, answers both rightly.

/// The mark with which editors of other systems begin a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The names of filters that git's answer uses for something else.
const WORDS: [&str; 2] = ["unset", "unspecified"];
/// The prefix of such a name in a copy.
const NAMED: &str = "mosaic-named-";

/// Returns a copy of a file to ask git with; none when it can be asked with the file itself.
pub(crate) fn rewritten(text: &[u8]) -> Option<Vec<u8>> {
    let body = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let word = |word: &[u8]| {
        let name = WORDS.iter().find(|name| word == [b"filter=", name.as_bytes()].concat());
        name.map_or_else(|| word.to_owned(), |name| format!("filter={NAMED}{name}").into_bytes())
    };
    let mut copy = Vec::with_capacity(body.len());
    for piece in body.split_inclusive(|byte| byte.is_ascii_whitespace()) {
        let end = piece.len() - usize::from(piece.last().is_some_and(u8::is_ascii_whitespace));
        copy.extend(word(&piece[..end]));
        copy.extend_from_slice(&piece[end..]);
    }
    (copy != text).then_some(copy)
}

/// Returns the name of a filter that git answered with.
pub(crate) fn filter_name(answer: &str) -> &str {
    answer.strip_prefix(NAMED).unwrap_or(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_names_that_mislead_are_replaced_and_nothing_else() {
        let text = b"\xef\xbb\xbf*.sec filter=crypt\n*.a\tfilter=unset diff\n*.b filter=unspecified";
        let copy = rewritten(text).unwrap();
        let expected =
            "*.sec filter=crypt\n*.a\tfilter=mosaic-named-unset diff\n*.b filter=mosaic-named-unspecified";
        assert_eq!(String::from_utf8(copy).unwrap(), expected);
        assert_eq!((filter_name("mosaic-named-unset"), filter_name("lfs")), ("unset", "lfs"));
        for same in ["*.sec filter=crypt\n", "*.a -filter\n", "*.a filter=unsettled\r\n", ""] {
            assert_eq!(rewritten(same.as_bytes()), None, "{same:?}");
        }
    }
}
