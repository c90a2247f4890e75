//! What SCAN, SSCAN, HSCAN and ZSCAN have in common: cursor, options, the steps of a walk, and the shape of the reply.
//!
//! A cursor is one of [`CowTable::scan`]. Collections in a compact encoding are answered whole, with the cursor 0, whatever
//! was asked; there COUNT means nothing, as in Redis.

use crate::cow::element::Element;
use crate::cow::table::CowTable;
use crate::glob;
use crate::number;
use crate::protocol::reply::{Mark, Reply};
use crate::protocol::request::Argv;

use super::error::{self, CommandError};

/// The options behind the cursor.
#[derive(Clone, Copy, Debug)]
pub struct ScanOptions<'a> {
    /// None where everything matches.
    pattern: Option<&'a [u8]>,
    /// About how many elements are to be visited; at least 1.
    pub count: usize,
    /// Only SCAN itself knows this option.
    pub type_name: Option<&'a [u8]>,
}

/// The cursor that a client has sent.
///
/// # Errors
/// If it is none. Redis looks at it before it looks for the key.
pub fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    number::parse_cursor(text).ok_or(error::INVALID_CURSOR)
}

impl<'a> ScanOptions<'a> {
    /// `[MATCH pattern] [COUNT count] [TYPE type]` from word `first` on; TYPE only where `has_type`.
    pub fn parse(args: Argv<'a>, first: usize, has_type: bool) -> Result<Self, CommandError> {
        let mut options = ScanOptions {
            pattern: None,
            count: 10,
            type_name: None,
        };
        let mut at = first;
        while at < args.len() {
            let word = args.get(at);
            if at + 1 == args.len() {
                return Err(error::SYNTAX);
            }
            let value = args.get(at + 1);
            if word.eq_ignore_ascii_case(b"count") {
                let count = number::parse_i64(value).ok_or(error::NOT_AN_INTEGER)?;
                if count < 1 {
                    return Err(error::SYNTAX);
                }
                options.count = usize::try_from(count).unwrap_or(usize::MAX);
            } else if word.eq_ignore_ascii_case(b"match") {
                options.pattern = (value != b"*").then_some(value);
            } else if has_type && word.eq_ignore_ascii_case(b"type") {
                options.type_name = Some(value);
            } else {
                return Err(error::SYNTAX);
            }
            at += 2;
        }
        Ok(options)
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, text, false))
    }

    /// Calls `step`, which visits what lies behind a cursor and returns the next cursor and how many it has visited, until
    /// `count` are visited or the walk has come to its end. Returns the cursor for the client.
    pub fn walk(&self, mut cursor: u64, mut step: impl FnMut(u64) -> (u64, usize)) -> u64 {
        let mut visited = 0usize;
        loop {
            let (next, more) = step(cursor);
            visited += more;
            cursor = next;
            if cursor == 0 || visited >= self.count {
                return cursor;
            }
        }
    }

    /// [`ScanOptions::walk`] over a table.
    pub fn walk_table<E: Element>(
        &self,
        table: &CowTable<E>,
        cursor: u64,
        mut visit: impl FnMut(&E),
    ) -> u64 {
        self.walk(cursor, |cursor| {
            let mut visited = 0;
            let next = table.scan(cursor, |element| {
                visited += 1;
                visit(element);
            });
            (next, visited)
        })
    }
}

/// A reply whose elements are written before its cursor and its length are known.
pub struct ScanReply {
    mark: Mark,
    pub length: usize,
}

impl ScanReply {
    /// From here on elements are written, and counted in `length`.
    pub fn begin(reply: &mut Reply) -> Self {
        ScanReply {
            mark: reply.begin_deferred(),
            length: 0,
        }
    }

    /// Puts `cursor` and the length in front of the elements.
    pub fn finish(self, reply: &mut Reply, cursor: u64) {
        let (mut digits, mut length) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (cursor, length) = (digits.format(cursor), length.format(self.length));
        let header = format!("*2\r\n${}\r\n{cursor}\r\n*{length}\r\n", cursor.len());
        reply.buffer().insert_at(self.mark, header.as_bytes());
    }
}

/// The reply for a key that does not exist.
pub fn reply_empty(reply: &mut Reply) {
    reply.raw(b"*2\r\n$1\r\n0\r\n*0\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cow::blob::Blob;
    use crate::cow::element;
    use crate::protocol::reply::{ReplyBuffer, Resp};
    use crate::protocol::request::OwnedRequest;

    fn parsed(words: &[&[u8]], has_type: bool) -> Result<(usize, bool, bool), String> {
        let request = OwnedRequest::new(words.iter().copied());
        let options = ScanOptions::parse(request.argv(), 0, has_type);
        options
            .map(|options| {
                (
                    options.count,
                    options.matches(b"abc"),
                    options.type_name.is_some(),
                )
            })
            .map_err(|error| error.text().to_owned())
    }

    #[test]
    fn options_come_in_any_order_and_case_and_the_last_one_wins() {
        assert_eq!(parsed(&[], false), Ok((10, true, false)));
        assert_eq!(
            parsed(&[b"CoUnt", b"5", b"match", b"x*"], false),
            Ok((5, false, false))
        );
        assert_eq!(
            parsed(&[b"match", b"x", b"MATCH", b"a?c"], true),
            Ok((10, true, false))
        );
        assert_eq!(parsed(&[b"type", b"set"], true), Ok((10, true, true)));
        for words in [
            &[b"type".as_slice(), b"set"][..],
            &[b"match"],
            &[b"count", b"0"],
            &[b"nothing", b"1"],
        ] {
            assert_eq!(parsed(words, false), Err(error::SYNTAX.text().to_owned()));
        }
        assert_eq!(
            parsed(&[b"count", b"x"], false),
            Err(error::NOT_AN_INTEGER.text().to_owned())
        );
        assert!(parse_cursor(b"x").is_err());
        assert_eq!(parse_cursor(b"17"), Ok(17));
    }

    #[test]
    fn a_walk_visits_about_as_many_as_asked_for_and_all_in_the_end() {
        let mut table = CowTable::new();
        for number in 0..1000u32 {
            let key = number.to_le_bytes();
            table.insert(element::hash(&key), Blob::new((), &key, b""));
        }
        for count in ["1", "100", "5000"] {
            let request = OwnedRequest::new([b"count".as_slice(), count.as_bytes()]);
            let options = ScanOptions::parse(request.argv(), 0, false).unwrap();
            let (mut cursor, mut seen) = (0, std::collections::HashSet::new());
            loop {
                let before = seen.len();
                cursor = options.walk_table(&table, cursor, |element| {
                    seen.insert(element.key().to_vec());
                });
                if cursor == 0 {
                    break;
                }
                assert!(seen.len() - before >= options.count);
                assert!(seen.len() - before <= options.count + 100);
            }
            assert_eq!(seen.len(), 1000);
        }
    }

    #[test]
    fn cursor_and_length_stand_in_front() {
        let mut buffer = ReplyBuffer::default();
        let mut reply = Reply::new(&mut buffer, Resp::Three);
        let mut scan = ScanReply::begin(&mut reply);
        reply.bulk(b"member");
        scan.length += 1;
        scan.finish(&mut reply, 1234);
        assert_eq!(
            buffer.to_vec(),
            b"*2\r\n$4\r\n1234\r\n*1\r\n$6\r\nmember\r\n"
        );
    }
}
