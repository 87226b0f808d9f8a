//! A small reader of XML reports: elements, attributes and text, balanced and bounded. No entity of a document's
//! own is ever expanded and nothing outside the document is read, so there is nothing to attack.

use mosaic_core::limits;

/// The next part of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An element starts. `attributes` is the raw text after its name.
    Open {
        /// The element's name without prefix.
        name: &'a str,
        /// Its raw attributes, for [`attribute`].
        attributes: &'a str,
    },
    /// An element ends; one that closes itself gives both.
    Close(&'a str),
    /// Raw text between tags, entities still in it.
    Text(&'a str),
    /// Text of a CDATA section, as it stands.
    Cdata(&'a str),
}

/// Reads a document token by token.
pub(super) struct Reader<'a> {
    rest: &'a str,
    open: Vec<&'a str>,
    closing: Option<&'a str>,
    seen_root: bool,
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of a document.
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.trim_start_matches('\u{feff}'), open: Vec::new(), closing: None, seen_root: false }
    }

    /// Returns the next token, or `None` at a proper end. Errors when the document is cut off, unbalanced or
    /// nested too deeply.
    pub(super) fn next(&mut self) -> Result<Option<Token<'a>>, String> {
        loop {
            if let Some(name) = self.closing.take() {
                self.open.pop();
                return Ok(Some(Token::Close(local(name))));
            }
            if self.rest.is_empty() {
                return match (self.open.last(), self.seen_root) {
                    (Some(name), _) => Err(format!("is cut off inside <{}>", cut(name))),
                    (None, false) => Err("has no element".to_owned()),
                    (None, true) => Ok(None),
                };
            }
            let Some(start) = self.rest.find('<') else {
                return self.text(self.rest.len());
            };
            if start > 0 {
                return self.text(start);
            }
            if let Some(token) = self.markup()? {
                return Ok(Some(token));
            }
        }
    }

    fn text(&mut self, end: usize) -> Result<Option<Token<'a>>, String> {
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        match self.open.is_empty() && !text.trim().is_empty() {
            true => Err("has text outside its root element".to_owned()),
            false => Ok(Some(Token::Text(text))),
        }
    }

    /// Reads one piece of markup; comments, declarations and instructions give nothing.
    fn markup(&mut self) -> Result<Option<Token<'a>>, String> {
        if let Some(text) = self.past("<![CDATA[", "]]>")? {
            return Ok(Some(Token::Cdata(text)));
        }
        if self.past("<!--", "-->")?.is_some() || self.past("<?", "?>")?.is_some() {
            return Ok(None);
        }
        if self.rest.starts_with("<!") {
            return Err("has a document type declaration, which reports have no use for".to_owned());
        }
        let inner = self.tag()?;
        if let Some(name) = inner.strip_prefix('/') {
            let name = name.trim();
            return match self.open.pop() {
                Some(open) if open == name => Ok(Some(Token::Close(local(name)))),
                _ => Err(format!("closes <{}>, which is not open", cut(name))),
            };
        }
        let (inner, closed) = inner.strip_suffix('/').map_or((inner, false), |inner| (inner, true));
        let (name, attributes) = inner.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((inner, ""));
        if name.is_empty() || !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return Err("has a tag without a name".to_owned());
        }
        if self.open.len() >= limits::REPORT_DEPTH {
            return Err(format!("is nested more than {} deep", limits::REPORT_DEPTH));
        }
        if self.open.is_empty() && self.seen_root {
            return Err("has more than one root element".to_owned());
        }
        self.seen_root = true;
        self.open.push(name);
        self.closing = closed.then_some(name);
        Ok(Some(Token::Open { name: local(name), attributes }))
    }

    /// Takes what stands between these marks, when the document goes on with the first of them.
    fn past(&mut self, start: &str, end: &str) -> Result<Option<&'a str>, String> {
        let Some(inner) = self.rest.strip_prefix(start) else { return Ok(None) };
        let Some((text, rest)) = inner.split_once(end) else {
            return Err(format!("is cut off after {start}"));
        };
        self.rest = rest;
        Ok(Some(text))
    }

    /// Takes the inside of a tag; a `>` in a quoted value does not end it.
    fn tag(&mut self) -> Result<&'a str, String> {
        let mut quote = None;
        for (at, byte) in self.rest.bytes().enumerate().skip(1) {
            match (quote, byte) {
                (None, b'"' | b'\'') => quote = Some(byte),
                (Some(open), _) if open == byte => quote = None,
                (None, b'>') => {
                    let inner = &self.rest[1..at];
                    self.rest = &self.rest[at + 1..];
                    return Ok(inner);
                }
                (None, b'<') => return Err("has a tag inside a tag".to_owned()),
                _ => {}
            }
        }
        Err("is cut off inside a tag".to_owned())
    }
}

/// Returns the value of an attribute with its entities resolved.
pub(super) fn attribute(attributes: &str, wanted: &str) -> Option<String> {
    let mut rest = attributes;
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, next) = after[1..].split_once(quote)?;
        if name.trim() == wanted {
            return Some(unescape(value));
        }
        rest = next;
    }
    None
}

/// Resolves the five entities and character references; any other stays as it stands.
pub(super) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let known = rest.as_bytes().iter().take(12).position(|b| *b == b';').and_then(|end| {
            let entity = rest.get(1..end)?;
            Some((resolve(entity)?, end + 1))
        });
        let (resolved, length) = known.unwrap_or(('&', 1));
        out.push(resolved);
        rest = &rest[length..];
    }
    out + rest
}

fn resolve(entity: &str) -> Option<char> {
    let number = |digits, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    match entity {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match entity.strip_prefix('#') {
            Some(code) => match code.strip_prefix(['x', 'X']) {
                Some(hex) => number(hex, 16),
                None => number(code, 10),
            },
            None => None,
        },
    }
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn cut(name: &str) -> String {
    name.chars().take(40).flat_map(char::escape_debug).collect()
}
