//! Percent-encoding of everything that RFC 3986 does not leave unreserved: letters, digits and `-._~` stay.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Encodes bytes for any part of a URL.
pub(crate) fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}
