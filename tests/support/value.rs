//! A reply as the wire spelled it, RESP2 and RESP3, and one exact line of text for it.
//!
//! The line keeps the wire's type, so a test that compares text compares types too:
//!
//!     +OK  -ERR text  :1  "bulk"  nil ($-1)  nil* (*-1)  _ (null)  ,1.5  #t  (123  =txt:"verbatim"
//!     [1 2] array   {k: v} map   ~[1 2] set   >[1 2] push   !"blob error"

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    NilBulk,
    NilArray,
    Array(Vec<Value>),
    Null,
    /// As it was spelled: `1.5`, `inf`, `-0`.
    Double(String),
    Boolean(bool),
    BigNumber(String),
    BlobError(Vec<u8>),
    Verbatim(String, Vec<u8>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
}

impl Value {
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Value {
        Value::Bulk(bytes.as_ref().to_vec())
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_) | Value::BlobError(_))
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Value::NilBulk | Value::NilArray | Value::Null)
    }

    /// The integer in an integer reply, or in a string that reads as one.
    #[track_caller]
    pub fn integer(&self) -> i64 {
        match self {
            Value::Integer(number) => *number,
            other => other
                .text()
                .parse()
                .unwrap_or_else(|_| panic!("expected an integer, found {other}")),
        }
    }

    /// The text of any string-like reply, errors included.
    #[track_caller]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    #[track_caller]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Value::Simple(text)
            | Value::Error(text)
            | Value::Double(text)
            | Value::BigNumber(text) => text.clone().into_bytes(),
            Value::Bulk(bytes) | Value::BlobError(bytes) | Value::Verbatim(_, bytes) => {
                bytes.clone()
            }
            Value::Integer(number) => number.to_string().into_bytes(),
            other => panic!("expected a string, found {other}"),
        }
    }

    /// The elements of an array, set or push; a map's keys and values in turn.
    #[track_caller]
    pub fn items(&self) -> Vec<Value> {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items.clone(),
            Value::Map(pairs) => pairs
                .iter()
                .flat_map(|(key, value)| [key.clone(), value.clone()])
                .collect(),
            Value::NilArray | Value::Null => Vec::new(),
            other => panic!("expected an array, found {other}"),
        }
    }

    /// The texts of an array's elements.
    #[track_caller]
    pub fn texts(&self) -> Vec<String> {
        self.items().iter().map(Value::text).collect()
    }

    /// The value that follows `key` in a map, in either protocol's shape.
    pub fn field(&self, key: &str) -> Option<Value> {
        self.items()
            .chunks(2)
            .find(|pair| pair.len() == 2 && pair[0].bytes() == key.as_bytes())
            .map(|pair| pair[1].clone())
    }

    /// The same reply with the top level's order made irrelevant.
    pub fn unordered(self) -> Value {
        match self {
            Value::Array(mut items) => {
                items.sort();
                Value::Array(items)
            }
            Value::Set(mut items) => {
                items.sort();
                Value::Set(items)
            }
            Value::Map(mut pairs) => {
                pairs.sort();
                Value::Map(pairs)
            }
            other => other,
        }
    }

    /// A flat array of pairs with the order of the pairs made irrelevant (HGETALL in RESP2).
    pub fn unordered_pairs(self) -> Value {
        match self {
            Value::Array(items) if items.len().is_multiple_of(2) => {
                let mut pairs: Vec<_> = items.chunks(2).map(<[Value]>::to_vec).collect();
                pairs.sort();
                Value::Array(pairs.concat())
            }
            other => other.unordered(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) => write!(out, "+{text}"),
            Value::Error(text) => write!(out, "-{text}"),
            Value::Integer(number) => write!(out, ":{number}"),
            Value::Bulk(bytes) => write!(out, "{}", quoted(bytes)),
            Value::NilBulk => write!(out, "nil"),
            Value::NilArray => write!(out, "nil*"),
            Value::Null => write!(out, "_"),
            Value::Double(text) => write!(out, ",{text}"),
            Value::Boolean(true) => write!(out, "#t"),
            Value::Boolean(false) => write!(out, "#f"),
            Value::BigNumber(text) => write!(out, "({text}"),
            Value::BlobError(bytes) => write!(out, "!{}", quoted(bytes)),
            Value::Verbatim(format, bytes) => write!(out, "={format}:{}", quoted(bytes)),
            Value::Array(items) => list(out, "[", items),
            Value::Set(items) => list(out, "~[", items),
            Value::Push(items) => list(out, ">[", items),
            Value::Map(pairs) => {
                write!(out, "{{")?;
                for (place, (key, value)) in pairs.iter().enumerate() {
                    let gap = if place == 0 { "" } else { ", " };
                    write!(out, "{gap}{key}: {value}")?;
                }
                write!(out, "}}")
            }
        }
    }
}

/// Bytes as redis-cli quotes them: printable ASCII as it is, the rest escaped.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(byte as char),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

/// A command as a person would type it; words that need quotes have them.
pub fn typed(words: &[Vec<u8>]) -> String {
    let spelled = words.iter().map(|word| {
        let plain = !word.is_empty()
            && word
                .iter()
                .all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
        if plain {
            String::from_utf8_lossy(word).into_owned()
        } else {
            quoted(word)
        }
    });
    spelled.collect::<Vec<_>>().join(" ")
}

/// The words of a typed line: blanks part them, "..." takes escapes, '...' takes all but \'.
#[track_caller]
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = line.trim().bytes().peekable();
    while rest.peek().is_some() {
        let mut word = Vec::new();
        while let Some(byte) = rest.next_if(|byte| !byte.is_ascii_whitespace()) {
            match byte {
                b'"' => loop {
                    match rest
                        .next()
                        .unwrap_or_else(|| panic!("open quote in: {line}"))
                    {
                        b'"' => break,
                        b'\\' => word.push(escaped(&mut rest, line)),
                        plain => word.push(plain),
                    }
                },
                b'\'' => loop {
                    match rest
                        .next()
                        .unwrap_or_else(|| panic!("open quote in: {line}"))
                    {
                        b'\'' => break,
                        plain => word.push(plain),
                    }
                },
                plain => word.push(plain),
            }
        }
        found.push(word);
        while rest.next_if(u8::is_ascii_whitespace).is_some() {}
    }
    found
}

#[track_caller]
fn escaped(rest: &mut impl Iterator<Item = u8>, line: &str) -> u8 {
    let mut next = || {
        rest.next()
            .unwrap_or_else(|| panic!("open escape in: {line}"))
    };
    match next() {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'x' => {
            let digits = [next(), next()];
            let digits = std::str::from_utf8(&digits).unwrap_or("?");
            u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("bad \\x in: {line}"))
        }
        other => other,
    }
}

fn list(out: &mut fmt::Formatter<'_>, open: &str, items: &[Value]) -> fmt::Result {
    write!(out, "{open}")?;
    for (place, item) in items.iter().enumerate() {
        let gap = if place == 0 { "" } else { " " };
        write!(out, "{gap}{item}")?;
    }
    write!(out, "]")
}
