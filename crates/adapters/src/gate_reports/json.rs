//! JSON of reports: objects and lists are handed on part by part as they are read, so that a list of any length costs the
//! memory of one element. Depth is bounded by the reader.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::malformed::Malformed;

const NO_START: &str = "has too many lines that open an object to find the report among them";
const TWO: &str = "has more than one report, so that one of them is forged";

/// Receiver of an object's fields.
pub(super) trait Fields {
    /// Takes a field: reads its value off `map`, or passes it over with [`skip`].
    fn field<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error>;
}

/// Reads one object that is the whole document.
pub(super) fn document(bytes: &[u8], fields: &mut impl Fields) -> Result<(), Malformed> {
    // Runners print what tests print, and a mark of byte order comes from tools of one system.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Object(fields).deserialize(&mut reader).map_err(Malformed::Json)?;
    reader.end().map_err(Malformed::Json)
}

/// Passes a value over.
pub(super) fn skip<'de, M: MapAccess<'de>>(map: &mut M) -> Result<(), M::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

/// An object whose fields go to a receiver.
pub(super) struct Object<'a, F>(pub(super) &'a mut F);

impl<'de, F: Fields> DeserializeSeed<'de> for Object<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de, F: Fields> Visitor<'de> for Object<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            self.0.field(&key, &mut map)?;
        }
        Ok(())
    }
}

/// A list whose elements go to a function one by one.
pub(super) struct Each<T, F>(F, PhantomData<T>);

impl<T, F: FnMut(T) -> Result<(), Malformed>> Each<T, F> {
    pub(super) fn new(take: F) -> Self {
        Self(take, PhantomData)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), Malformed>> DeserializeSeed<'de> for Each<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), Malformed>> Visitor<'de> for Each<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut seq: S) -> Result<(), S::Error> {
        while let Some(element) = seq.next_element::<T>()? {
            (self.0)(element).map_err(Error::custom)?;
        }
        Ok(())
    }
}

/// A list of at most `MOST` elements.
#[derive(Debug)]
pub(super) struct AtMost<T, const MOST: usize>(pub(super) Vec<T>);

impl<T, const MOST: usize> Default for AtMost<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for AtMost<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let mut list = Vec::new();
        let take = |element| {
            list.push(element);
            match list.len() > MOST {
                true => Err(Malformed::TooMuch { most: MOST, of: "elements in one list" }),
                false => Ok(()),
            }
        };
        Each::new(take).deserialize(reader)?;
        Ok(Self(list))
    }
}

/// Finds the one report in a text that has other lines around it, such as the output of a command. The parser tells whether
/// an object is a report of its kind. Errors when there is none, or more than one: a test may have printed the other.
pub(super) fn within<T>(bytes: &[u8], parse: impl Fn(&[u8]) -> Result<T, Malformed>) -> Result<T, Malformed> {
    let whole = match parse(bytes) {
        Ok(found) => return Ok(found),
        Err(why) => why,
    };
    let mut found: Option<T> = None;
    let mut cause = None;
    // Every line that opens an object may be the start. What is read in vain is bounded, or nested beginnings would be read
    // again and again.
    let mut budget = bytes.len().saturating_mul(4);
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let line_end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        if !rest.starts_with(b"{") {
            at += line_end;
            continue;
        }
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
        let (used, is_object) = match values.next() {
            Some(Ok(_)) => (values.byte_offset(), true),
            Some(Err(why)) => (consumed(rest, &why), false),
            None => (line_end, false),
        };
        let Some(left) = budget.checked_sub(used) else { return Err(Malformed::Document(NO_START)) };
        budget = left;
        if !is_object {
            at += line_end;
            continue;
        }
        match (parse(&rest[..used]), &found) {
            (Ok(_), Some(_)) => return Err(Malformed::Document(TWO)),
            (Ok(report), None) => found = Some(report),
            (Err(why), _) => cause = Some(why),
        }
        at += used;
    }
    found.ok_or_else(|| cause.unwrap_or(whole))
}

/// Returns about how many bytes were read before an error.
fn consumed(bytes: &[u8], error: &serde_json::Error) -> usize {
    let before: usize =
        bytes.split_inclusive(|b| *b == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    before + error.column() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum(u64);

    impl Fields for Sum {
        fn field<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
            match key {
                "list" => map.next_value_seed(Each::new(|n: u64| {
                    self.0 += n;
                    Ok(())
                })),
                _ => skip(map),
            }
        }
    }

    fn sum(bytes: &[u8]) -> Result<u64, Malformed> {
        let mut sum = Sum(0);
        document(bytes, &mut sum)?;
        if sum.0 == 0 { Err(Malformed::Empty) } else { Ok(sum.0) }
    }

    #[test]
    fn lists_are_read_and_other_fields_passed_over_at_any_depth() {
        let deep = format!("{{\"x\": {}1{}, \"list\": [1, 2]}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(sum(deep.as_bytes()).expect("it is read"), 3);
        assert!(sum(b"{\"list\": [1, 2]} trailing").is_err());
        assert!(sum(b"{\"list\": [1, ").is_err());
    }

    #[test]
    fn one_report_is_found_among_other_lines_and_two_are_refused() {
        let one = b"> npm test\n{ not: json }\n{\"list\": [4]}\nbye\n";
        assert_eq!(within(one, sum).expect("it is found"), 4);
        let two = b"{\"list\": [4]}\n{\"list\": [5]}\n";
        assert!(within(two, sum).unwrap_err().to_string().contains("more than one"));
        assert!(within(b"nothing\n", sum).is_err());
    }
}
