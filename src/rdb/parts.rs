//! The parts of a value, one at a time.
//!
//! A [`PartReader`] knows the layout of one value and reads the next part from wherever its reader stands. It remembers only
//! what has to be remembered between parts, and only once a part is complete: if a part has not arrived as a whole, the
//! same call is made again when more has. So a collection of ten million fields needs the memory of its largest
//! field, and what the payload claims to hold is compared with what it can hold, never reserved.

use super::error::{Fault, Problem};
use super::opcode::ValueType;
use super::primitive::{RdbString, Reader, StringStart};

/// Strings of more bytes than this arrive in pieces of exactly this many (and the last one what is left).
pub const PIECE_BYTES: u64 = 64 * 1024;

/// Something of a value. Which of them a value is made of is told by its type.
#[derive(Debug, PartialEq)]
pub enum Part<'a> {
    /// A whole string value.
    String(RdbString<'a>),
    /// The next bytes of a string value; `left` more follow.
    StringPiece { bytes: &'a [u8], left: u64 },
    /// A container in one string: listpack, intset, ziplist or zipmap, as the type says. Not looked into.
    Blob(RdbString<'a>),
    /// A node of a list.
    Node {
        form: NodeForm,
        bytes: RdbString<'a>,
    },
    /// Of a list or a set.
    Element(RdbString<'a>),
    /// Of a hash: field and value.
    Pair(RdbString<'a>, RdbString<'a>),
    /// Of a sorted set: member and score, which is a number.
    Scored(RdbString<'a>, f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeForm {
    /// The bytes are one element, never empty.
    Plain,
    /// The bytes are a listpack.
    Packed,
    Ziplist,
}

/// Reads one value, part by part.
#[derive(Clone, Debug)]
pub struct PartReader {
    value_type: ValueType,
    progress: Progress,
}

#[derive(Clone, Copy, Debug)]
enum Progress {
    Start,
    /// Inside a collection that claimed so many items when it started.
    Items {
        claimed: u64,
        left: u64,
    },
    /// Inside a string.
    Pieces {
        left: u64,
    },
    Over,
}

/// What a type is made of.
enum Layout {
    String,
    Blob,
    Items(Item),
}

#[derive(Clone, Copy)]
enum Item {
    Element,
    Pair,
    ScoredText,
    Scored,
    ZiplistNode,
    Node,
}

impl Item {
    /// The fewest bytes that one can take.
    fn bytes_min(self) -> u64 {
        match self {
            Item::Element | Item::ZiplistNode => 1,
            Item::Pair | Item::ScoredText | Item::Node => 2,
            Item::Scored => 9,
        }
    }
}

impl PartReader {
    pub fn new(value_type: ValueType) -> Self {
        PartReader {
            value_type,
            progress: Progress::Start,
        }
    }

    pub fn value_type(&self) -> ValueType {
        self.value_type
    }

    /// The next part; none after the last. A fault leaves this reader as it was, so after [`Problem::Starved`] the same
    /// place is read again from a reader that holds more.
    ///
    /// A collection without items yields no part: whether that is a value is not for this file to say.
    #[inline]
    pub fn next_part<'a>(&mut self, reader: &mut Reader<'a>) -> Result<Option<Part<'a>>, Fault> {
        let (part, progress) = match (self.progress, self.value_type.layout()) {
            (Progress::Over, _) => (None, Progress::Over),
            (Progress::Pieces { left }, _) => piece(left, reader)?,
            (Progress::Start, Layout::String) => match reader.string_start()? {
                StringStart::Raw(length) if length > PIECE_BYTES => piece(length, reader)?,
                StringStart::Raw(length) => {
                    let string = RdbString::Raw(reader.take(length)?);
                    (Some(Part::String(string)), Progress::Over)
                }
                StringStart::Whole(stored) => (Some(Part::String(stored.open()?)), Progress::Over),
            },
            (Progress::Start, Layout::Blob) => {
                let blob = reader.string()?.open()?;
                (Some(Part::Blob(blob)), Progress::Over)
            }
            (Progress::Start, Layout::Items(item)) => {
                let claimed = reader.length()?;
                self.item(item, claimed, claimed, reader)?
            }
            (Progress::Items { claimed, left }, Layout::Items(item)) => {
                self.item(item, claimed, left, reader)?
            }
            (Progress::Items { .. }, _) => unreachable!("only collections have items"),
        };
        self.progress = progress;
        Ok(part)
    }

    #[inline]
    fn item<'a>(
        &self,
        item: Item,
        claimed: u64,
        left: u64,
        reader: &mut Reader<'a>,
    ) -> Result<(Option<Part<'a>>, Progress), Fault> {
        if left == 0 {
            return Ok((None, Progress::Over));
        }
        if left.saturating_mul(item.bytes_min()) > reader.left() {
            let problem = Problem::TooManyItems {
                what: self.value_type.name(),
                claimed,
                left: reader.left(),
            };
            return Err(Fault::new(reader.offset(), problem));
        }
        let left = left - 1;
        Ok((
            Some(read_item(item, reader)?),
            Progress::Items { claimed, left },
        ))
    }
}

fn piece<'a>(left: u64, reader: &mut Reader<'a>) -> Result<(Option<Part<'a>>, Progress), Fault> {
    let bytes = reader.take(left.min(PIECE_BYTES))?;
    let left = left - bytes.len() as u64;
    let progress = match left {
        0 => Progress::Over,
        _ => Progress::Pieces { left },
    };
    Ok((Some(Part::StringPiece { bytes, left }), progress))
}

/// Strings are opened only when the whole item is there, so that waiting for its rest does not decompress its start
/// over and over.
#[inline]
fn read_item<'a>(item: Item, reader: &mut Reader<'a>) -> Result<Part<'a>, Fault> {
    Ok(match item {
        Item::Element => Part::Element(reader.string()?.open()?),
        Item::Pair => {
            let (field, value) = (reader.string()?, reader.string()?);
            Part::Pair(field.open()?, value.open()?)
        }
        Item::ScoredText => {
            let (member, score) = (reader.string()?, reader.double_text()?);
            Part::Scored(member.open()?, score)
        }
        Item::Scored => {
            let (member, score) = (reader.string()?, reader.double()?);
            Part::Scored(member.open()?, score)
        }
        Item::ZiplistNode => Part::Node {
            form: NodeForm::Ziplist,
            bytes: reader.string()?.open()?,
        },
        Item::Node => {
            let at = reader.offset();
            let form = match reader.length()? {
                1 => NodeForm::Plain,
                2 => NodeForm::Packed,
                other => return Err(Fault::new(at, Problem::ListContainer(other))),
            };
            let bytes = reader.string()?.open()?;
            if form == NodeForm::Plain && bytes.is_empty() {
                return Err(Fault::new(at, Problem::EmptyPlainNode));
            }
            Part::Node { form, bytes }
        }
    })
}

impl ValueType {
    #[inline]
    fn layout(self) -> Layout {
        match self {
            ValueType::String => Layout::String,
            ValueType::List | ValueType::Set => Layout::Items(Item::Element),
            ValueType::Hash => Layout::Items(Item::Pair),
            ValueType::ZsetText => Layout::Items(Item::ScoredText),
            ValueType::Zset => Layout::Items(Item::Scored),
            ValueType::ListQuicklist => Layout::Items(Item::ZiplistNode),
            ValueType::ListQuicklist2 => Layout::Items(Item::Node),
            ValueType::HashZipmap
            | ValueType::ListZiplist
            | ValueType::SetIntset
            | ValueType::ZsetZiplist
            | ValueType::HashZiplist
            | ValueType::HashListpack
            | ValueType::ZsetListpack
            | ValueType::SetListpack => Layout::Blob,
        }
    }

    /// What a user calls it.
    pub fn name(self) -> &'static str {
        match self {
            ValueType::String => "string",
            ValueType::List
            | ValueType::ListZiplist
            | ValueType::ListQuicklist
            | ValueType::ListQuicklist2 => "list",
            ValueType::Set | ValueType::SetIntset | ValueType::SetListpack => "set",
            ValueType::ZsetText
            | ValueType::Zset
            | ValueType::ZsetZiplist
            | ValueType::ZsetListpack => "sorted set",
            ValueType::Hash
            | ValueType::HashZipmap
            | ValueType::HashZiplist
            | ValueType::HashListpack => "hash",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(value_type: ValueType, bytes: &[u8]) -> String {
        let (mut parts, mut reader) = (PartReader::new(value_type), Reader::new(bytes));
        let mut seen = Vec::new();
        loop {
            match parts.next_part(&mut reader) {
                Ok(Some(Part::StringPiece { bytes, left })) => {
                    seen.push(format!("{}+{left}", bytes.len()));
                }
                Ok(Some(Part::String(s))) => seen.push(format!("string {}", s.escape_ascii())),
                Ok(Some(Part::Blob(blob))) => seen.push(format!("blob {}", blob.escape_ascii())),
                Ok(Some(Part::Node { form, bytes })) => {
                    seen.push(format!("{form:?} {}", bytes.escape_ascii()));
                }
                Ok(Some(Part::Element(e))) => seen.push(e.escape_ascii().to_string()),
                Ok(Some(Part::Pair(f, v))) => {
                    seen.push(format!("{}={}", f.escape_ascii(), v.escape_ascii()));
                }
                Ok(Some(Part::Scored(m, score))) => {
                    seen.push(format!("{}:{score}", m.escape_ascii()));
                }
                Ok(None) => break,
                Err(fault) => {
                    seen.push(format!("{}: {}", fault.at, fault.problem));
                    break;
                }
            }
        }
        seen.join(", ")
    }

    #[test]
    fn each_layout_is_read_to_its_end() {
        assert_eq!(parts(ValueType::String, b"\xc0\x0c"), "string 12");
        assert_eq!(parts(ValueType::List, b"\x02\x01a\xc0\x05"), "a, 5");
        assert_eq!(parts(ValueType::Hash, b"\x01\x01f\x02vv"), "f=vv");
        assert_eq!(
            parts(ValueType::ZsetText, b"\x02\x01a\x032.5\x01b\xff"),
            "a:2.5, b:-inf"
        );
        assert_eq!(
            parts(ValueType::Zset, b"\x01\x01a\0\0\0\0\0\0\xf0\x3f"),
            "a:1"
        );
        assert_eq!(parts(ValueType::SetIntset, b"\x03abc"), "blob abc");
        assert_eq!(parts(ValueType::ListQuicklist, b"\x01\x02zl"), "Ziplist zl");
        assert_eq!(
            parts(ValueType::ListQuicklist2, b"\x02\x01\xc0\x07\x02\x02lp"),
            "Plain 7, Packed lp"
        );
        assert_eq!(parts(ValueType::Set, b"\x00"), "");
    }

    #[test]
    fn a_big_string_comes_in_pieces_of_one_size() {
        let mut bytes = vec![0x80, 0, 2, 0, 5];
        bytes.resize(5 + 0x2_0005, b'x');
        assert_eq!(
            parts(ValueType::String, &bytes),
            "65536+65541, 65536+5, 5+0"
        );
        bytes.truncate(5 + 0x1_8000);
        assert_eq!(
            parts(ValueType::String, &bytes),
            "65536+65541, 65541: 65536 bytes expected, 32768 bytes left"
        );
    }

    #[test]
    fn claims_beyond_the_bytes_left_are_refused() {
        assert_eq!(
            parts(ValueType::Hash, b"\x80\x00\x00\x00\x05\x01f\x01v"),
            "5: hash of 5 items claimed, 4 bytes left"
        );
        assert_eq!(
            parts(ValueType::Set, b"\x03\x01a\x01b"),
            "a, b, 5: set of 3 items claimed, 0 bytes left"
        );
        assert_eq!(
            parts(ValueType::Zset, b"\x81\xff\xff\xff\xff\xff\xff\xff\xff"),
            "9: sorted set of 18446744073709551615 items claimed, 0 bytes left"
        );
    }

    #[test]
    fn odd_list_nodes_and_scores_are_refused() {
        assert_eq!(
            parts(ValueType::ListQuicklist2, b"\x01\x03\x01a"),
            "1: list node container 1 (plain) or 2 (packed) expected, 3 found"
        );
        assert_eq!(
            parts(ValueType::ListQuicklist2, b"\x01\x01\x00"),
            "1: plain list node of zero bytes"
        );
        assert_eq!(
            parts(
                ValueType::Zset,
                b"\x01\x01a\xff\xff\xff\xff\xff\xff\xff\xff"
            ),
            "3: score expected, not-a-number found"
        );
    }
}
