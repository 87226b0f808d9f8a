//! Secrets: the scan of what is published, and values that must never be shown.

/// Most different values that are compared with the base. A fixture directory that moves has some hundred.
pub const SECRET_VALUES: usize = 4096;
/// Text that is looked at again together with what follows it, in bytes: longer than a token, and than a key in pieces.
pub const SECRET_BORDER: usize = 4 * 1024;
/// Lines after the header of a private key among which its body is looked for when they come one by one: RSA with 16,384 bits has
/// some 210, and as many of other output may stand between them.
pub const KEY_LINES: usize = 512;
/// Bytes of such lines, framed in JSON for instance.
pub const KEY_BYTES: usize = 256 * 1024;
/// Text of the base that is compared with values as they are, in bytes, each value counted: a second's work.
pub const SECRET_COMPARED_BYTES: usize = 1024 * 1024 * 1024;
/// Largest file of the base that is searched for values, in bytes; of one above [`SECRET_FILE_BYTES`] only what stands around
/// them is scanned.
pub const SECRET_SEARCHED_BYTES: usize = 64 * 1024 * 1024;
/// Text around a value in such a file, in bytes: a key of the longest kind before and after its line.
pub const SECRET_AROUND: usize = 32 * 1024;
/// Most files of the base that are scanned for values that were found.
pub const SECRET_FILES: usize = 256;
/// Largest part of such a file that is scanned, in bytes.
pub const SECRET_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Largest file of allowed findings, in bytes: some ten thousand lines.
pub const ALLOWED_SECRETS_BYTES: usize = 1024 * 1024;
/// Most findings that one request allows.
pub const ALLOWED_SECRETS: usize = 100;
/// Most values of the server that are looked for in what leaves it: settings, lines of credentials, logins that were renewed.
/// Every one is up to a hundred patterns of an automaton.
pub const KNOWN_SECRETS: usize = 256;
/// Shortest value that is looked for in all forms, in bytes: parts of ordinary words would be taken for a shorter one.
pub const KNOWN_SHORTEST: usize = 8;
/// Shortest value that is looked for as a word, in bytes: three characters of any kind stand somewhere in every program.
pub const KNOWN_WORD: usize = 4;
/// Longest text over which the pieces of one known value may lie, in bytes: this, and [`KNOWN_SPREAD`] for every letter.
pub const KNOWN_APART: usize = 256;
/// Bytes of text for every letter of a known value in pieces: a line of its own for each letter, indented.
pub const KNOWN_SPREAD: usize = 24;
/// Escapes of escapes that are decoded in the look for known values; each costs another pass over texts that have any.
pub const KNOWN_LAYERS: usize = 3;
/// Letters and digits of a random value that are evidence by themselves: 62^12 is 3 * 10^21.
pub const KNOWN_FRAGMENT: usize = 12;
/// Longest run of encoded text that is hidden beside a known value, in bytes at each end.
pub const KNOWN_REST: usize = 1024;
/// Largest piece of added text handed to the secret scan at once, in bytes.
pub const ADDED_BYTES: usize = 1024 * 1024;
