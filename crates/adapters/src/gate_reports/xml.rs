//! XML of reports: a document is read once from its start to its end and handed on element by element.
//!
//! The documents are as hostile as the code that wrote them. So a document type declaration is refused: it is the only way to
//! define entities (which may expand without end) or to name external files. Where the tools of a format write one that only
//! names their document type, that much is passed over and nothing is fetched. Depth and attributes are bounded.

use std::borrow::Cow;

use mosaic_core::limits;
use quick_xml::Reader;
use quick_xml::escape::{resolve_predefined_entity, unescape};
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::malformed::Malformed;

/// An element that starts.
pub(super) struct Element<'a> {
    /// Its name without prefix: reports of one tool come with and without a namespace.
    pub(super) name: &'a str,
    attributes: Vec<(&'a str, Cow<'a, str>)>,
}

impl Element<'_> {
    /// Returns the value of an attribute. One with a prefix belongs to another vocabulary and is not found.
    pub(super) fn get(&self, wanted: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_ref())
    }
}

/// Receiver of a document's content.
pub(super) trait Handler {
    /// Takes an element that starts.
    fn open(&mut self, element: &Element<'_>);
    /// Takes the name of an element that ends, without prefix.
    fn close(&mut self, name: &str);
    /// Takes text inside the root element, its entities resolved; one text may come in several pieces.
    fn text(&mut self, text: &str);
}

/// Reads a document. Errors when it is not exactly one whole, balanced element.
pub(super) fn read(bytes: &[u8], handler: &mut impl Handler) -> Result<(), Malformed> {
    read_with(bytes, handler, false)
}

/// Reads a document that may name its document type, and may not define one.
pub(super) fn read_typed(bytes: &[u8], handler: &mut impl Handler) -> Result<(), Malformed> {
    read_with(bytes, handler, true)
}

fn read_with(bytes: &[u8], handler: &mut impl Handler, typed: bool) -> Result<(), Malformed> {
    // Runners print what tests print, so one wrong byte in a log must not void the results around it.
    let text = String::from_utf8_lossy(bytes);
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let config = reader.config_mut();
    // Handlers count a test case when it closes, which `<testcase/>` would never do otherwise.
    config.expand_empty_elements = true;
    // Runners write what tests print, and some do not escape a bare ampersand. That is no reason to void the results
    // around it.
    config.allow_dangling_amp = true;
    let mut document = Document { open: Vec::new(), seen_root: false };
    loop {
        match reader.read_event().map_err(Malformed::Xml)? {
            Event::Start(start) => document.open(&start, handler)?,
            Event::End(end) => {
                document.open.pop();
                handler.close(end.local_name().as_ref());
            }
            Event::Text(text) => document.text(&text, handler)?,
            Event::CData(text) => document.text(&text, handler)?,
            Event::GeneralRef(reference) => document.text(&resolved(&reference), handler)?,
            // Only between brackets can entities be defined.
            Event::DocType(named) if typed && !named.contains('[') => {}
            Event::DocType(_) => {
                return Err(Malformed::Document(
                    "has a document type declaration, which reports have no use for",
                ));
            }
            Event::Eof => return document.end(),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

/// The place in a document.
struct Document {
    /// Names of the open elements. The reader checks that they are closed in order, and not that they are closed at all.
    open: Vec<String>,
    seen_root: bool,
}

impl Document {
    fn open(&mut self, start: &BytesStart<'_>, handler: &mut impl Handler) -> Result<(), Malformed> {
        let name = start.name();
        if !name.as_ref().starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return Err(Malformed::Document("has a tag without a name"));
        }
        if self.open.len() >= limits::REPORT_DEPTH {
            return Err(Malformed::TooDeep);
        }
        if self.open.is_empty() && self.seen_root {
            return Err(Malformed::Document("has more than one root element"));
        }
        self.seen_root = true;
        handler.open(&Element { name: start.local_name().into_inner(), attributes: attributes(start)? });
        self.open.push(name.as_ref().to_owned());
        Ok(())
    }

    fn text(&self, text: &str, handler: &mut impl Handler) -> Result<(), Malformed> {
        if !self.open.is_empty() {
            handler.text(text);
            return Ok(());
        }
        match text.trim().is_empty() {
            true => Ok(()),
            false => Err(Malformed::Document("has text outside its root element")),
        }
    }

    fn end(&self) -> Result<(), Malformed> {
        match (self.open.last(), self.seen_root) {
            (Some(name), _) => Err(Malformed::CutOff(format!("<{name}>"))),
            (None, false) => Err(Malformed::Document("has no element")),
            (None, true) => Ok(()),
        }
    }
}

/// Returns the attributes of an element. Their number is bounded before the reader looks for names that come twice.
fn attributes<'a>(start: &'a BytesStart<'_>) -> Result<Vec<(&'a str, Cow<'a, str>)>, Malformed> {
    let mut found = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| Malformed::Xml(e.into()))?;
        if found.len() >= limits::REPORT_ATTRIBUTES {
            return Err(Malformed::TooMuch {
                most: limits::REPORT_ATTRIBUTES,
                of: "attributes in one element",
            });
        }
        found.push((attribute.key.0, value(attribute.value)));
    }
    Ok(found)
}

/// Resolves the entities of a value; one that has an unknown entity stays as it stands.
fn value(raw: Cow<'_, str>) -> Cow<'_, str> {
    match unescape(&raw).map(Cow::into_owned) {
        Ok(resolved) => Cow::Owned(resolved),
        Err(_) => raw,
    }
}

/// Resolves a reference in text; an unknown one stays as it stands.
fn resolved(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(char)) = reference.resolve_char_ref() {
        return char.to_string();
    }
    match resolve_predefined_entity(reference) {
        Some(text) => text.to_owned(),
        None => format!("&{};", &**reference),
    }
}
