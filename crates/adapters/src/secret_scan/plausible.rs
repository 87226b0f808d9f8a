//! Judges whether a value may be a secret at all: by its entropy, and by the many forms of "put yours here".

/// Words that mark a value as nobody's secret.
const PLACEHOLDERS: &[&[u8]] = &[
    b"example",
    b"changeme",
    b"change_me",
    b"change-me",
    b"placeholder",
    b"dummy",
    b"sample",
    b"redacted",
    b"your",
    b"xxxx",
    b"****",
    b"....",
    b"0000000",
    b"replace",
    b"insert",
    b"todo",
    b"fixme",
    b"notasecret",
    b"not-a-secret",
    b"not_a_secret",
    b"lorem",
    b"foobar",
    b"my-secret",
    b"my_secret",
    b"mysecret",
    b"p@ssw0rd",
    b"password",
    b"passwd",
];

/// Marks of a value that is looked up or filled in elsewhere.
const REFERENCES: &[&[u8]] = &[
    b"${",
    b"{{",
    b"$(",
    b"%(",
    b"#{",
    b"<%",
    b"process.env",
    b"os.environ",
    b"getenv",
    b"import.meta",
    b"secrets.",
    b"env.",
    b"config.",
    b"vault:",
    b"arn:",
    b"op://",
    // Encrypted in place by sops.
    b"enc[",
    b"://",
];

/// Signature of the sample that documentation shows as a JSON web token.
const SAMPLE_SIGNATURE: &[u8] = b"SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";

/// Digests as package managers write them.
const DIGESTS: &[&[u8]] =
    &[b"sha1-", b"sha256-", b"sha384-", b"sha512-", b"sha256:", b"sha512:", b"md5:", b"h1:"];

/// Returns the Shannon entropy of a value in bits per byte, 0 to 8.
pub(super) fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in value {
        counts[usize::from(*byte)] += 1;
    }
    let all = value.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / all)
        .map(|p| -p * p.log2())
        .sum()
}

/// Tells whether a token in a service's format is one for documentation: it ends in `EXAMPLE`, as the ones in the
/// manuals of AWS do, or counts through the alphabet or one letter.
pub(super) fn is_example(value: &[u8]) -> bool {
    value.ends_with(b"EXAMPLE")
        || has(value, b"xxxxxx")
        || counts_up(value)
        || value.ends_with(SAMPLE_SIGNATURE)
}

/// Tells whether a value is a placeholder, a reference to something else or a well-known digest.
pub(super) fn is_placeholder(value: &[u8]) -> bool {
    let references = || REFERENCES.iter().any(|word| has(value, word));
    let digest = || DIGESTS.iter().any(|word| starts(value, word));
    let marked = matches!(value.first(), Some(b'$' | b'%' | b'@' | b'&' | b'<' | b'*' | b'{' | b'['));
    let fake = [b"test".as_slice(), b"fake", b"mock", b"none", b"null", b"true", b"false", b"undefined"];
    marked
        || PLACEHOLDERS.iter().any(|word| has(value, word))
        || fake.iter().any(|word| starts(value, word))
        || references()
        || digest()
        || is_uuid(value)
        || counts_up(value)
        || value.contains(&0xe2) && String::from_utf8_lossy(value).contains('…')
}

/// Tells whether a value is a UUID: an identifier far more often than a secret.
pub(super) fn is_uuid(value: &[u8]) -> bool {
    let fits = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    value.len() == 36 && value.iter().enumerate().all(fits)
}

/// Tells whether at least half of the steps from byte to byte are "the next one" or "the same".
fn counts_up(value: &[u8]) -> bool {
    let steps =
        value.windows(2).filter(|pair| pair[1] == pair[0] || pair[1] == pair[0].wrapping_add(1)).count();
    value.len() >= 8 && steps * 2 >= value.len()
}

/// Tells whether a value holds a lower-case word, in any case of letters.
pub(super) fn has(value: &[u8], word: &[u8]) -> bool {
    value.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

fn starts(value: &[u8], word: &[u8]) -> bool {
    value.get(..word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word))
}

/// Counts the kinds of characters in a value: lower-case letters, upper-case letters, digits and other characters.
pub(super) fn classes(value: &[u8]) -> usize {
    let kinds: [fn(&u8) -> bool; 4] =
        [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit, |byte| {
            !byte.is_ascii_alphanumeric()
        }];
    kinds.iter().filter(|kind| value.iter().any(kind)).count()
}

/// Counts the changes between letters and digits: many in random text, few in names such as `access_token_v2`.
pub(super) fn changes(value: &[u8]) -> usize {
    let kind = |byte: &u8| match byte {
        b'0'..=b'9' => 1,
        b if b.is_ascii_alphabetic() => 2,
        _ => 0,
    };
    value.windows(2).filter(|pair| kind(&pair[0]) + kind(&pair[1]) == 3).count()
}
