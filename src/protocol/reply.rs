//! Replies to bytes, in RESP2 or RESP3, straight into the buffer that is written to the socket.
//!
//! Big strings are not copied: they stand in the buffer as shared [`Bytes`] between runs of ordinary bytes, and go out by
//! gather writes. Knows nothing of clients; whoever owns a [`ReplyBuffer`] bounds it.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::compact::Element;

/// Strings from this size on are shared rather than copied into the buffer.
pub const SHARED_STRING_BYTES: usize = 16 * 1024;

/// The version of the protocol that a client has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resp {
    #[default]
    Two,
    Three,
}

/// Bytes waiting to be written: runs of copied bytes with shared strings between them.
#[derive(Debug, Default)]
pub struct ReplyBuffer {
    bytes: Vec<u8>,
    /// Each shared string stands before the byte of `bytes` at its position.
    shared: VecDeque<(usize, Bytes)>,
    shared_bytes: usize,
    /// How much of `bytes` (and of the first shared string) has been written.
    written: usize,
    shared_written: usize,
}

/// A place in a buffer to go back to, if a command fails after it has begun its reply.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    shared: usize,
}

impl ReplyBuffer {
    /// Bytes not yet written.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written + self.shared_bytes - self.shared_written
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the buffer holds.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.shared_bytes
    }

    pub fn push_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn push_shared(&mut self, bytes: Bytes) {
        self.shared_bytes += bytes.len();
        self.shared.push_back((self.bytes.len(), bytes));
    }

    pub fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            shared: self.shared.len(),
        }
    }

    /// Forgets what was added since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        for (_, dropped) in self.shared.drain(mark.shared..) {
            self.shared_bytes -= dropped.len();
        }
    }

    /// True if something was added since `mark`.
    pub fn grew_since(&self, mark: Mark) -> bool {
        self.bytes.len() > mark.bytes || self.shared.len() > mark.shared
    }

    /// Inserts `bytes` at `mark`, in front of what was added since.
    pub fn insert_at(&mut self, mark: Mark, bytes: &[u8]) {
        let tail = self.bytes.split_off(mark.bytes);
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(&tail);
        for (position, _) in self.shared.iter_mut().skip(mark.shared) {
            *position += bytes.len();
        }
    }

    /// Moves everything of `other` behind what stands here.
    pub fn append(&mut self, other: &mut ReplyBuffer) {
        if self.is_empty() {
            std::mem::swap(self, other);
            other.clear();
            return;
        }
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes[other.written..]);
        for (index, (position, bytes)) in other.shared.drain(..).enumerate() {
            let bytes = if index == 0 {
                bytes.slice(other.shared_written..)
            } else {
                bytes
            };
            self.shared_bytes += bytes.len();
            self.shared
                .push_back((base + position - other.written, bytes));
        }
        other.clear();
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.shared.clear();
        (self.shared_bytes, self.written, self.shared_written) = (0, 0, 0);
    }

    /// Gives memory back that a burst has left behind.
    pub fn shrink(&mut self, keep_bytes: usize) {
        if self.bytes.is_empty() && self.bytes.capacity() > keep_bytes {
            self.bytes.shrink_to(keep_bytes);
        }
    }

    /// The next slices to write, in order, at most as many as `slices` has room for. Returns how many were set.
    pub fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut at, mut count) = (self.written, 0);
        for (index, (position, bytes)) in self.shared.iter().enumerate() {
            if count + 2 > slices.len() {
                return count;
            }
            if *position > at {
                slices[count] = IoSlice::new(&self.bytes[at..*position]);
                at = *position;
                count += 1;
            }
            let skip = if index == 0 { self.shared_written } else { 0 };
            slices[count] = IoSlice::new(&bytes[skip..]);
            count += 1;
        }
        if at < self.bytes.len() && count < slices.len() {
            slices[count] = IoSlice::new(&self.bytes[at..]);
            count += 1;
        }
        count
    }

    /// Notes that `count` bytes have been written.
    pub fn advance(&mut self, mut count: usize) {
        while let Some((position, bytes)) = self.shared.front() {
            let run = (*position - self.written).min(count);
            self.written += run;
            count -= run;
            if self.written < *position {
                return;
            }
            let left = bytes.len() - self.shared_written;
            if count < left {
                self.shared_written += count;
                return;
            }
            count -= left;
            self.shared_bytes -= bytes.len();
            self.shared_written = 0;
            self.shared.pop_front();
        }
        self.written += count;
        if self.written == self.bytes.len() {
            self.clear();
        }
    }

    /// All that is waiting, in one piece (tests, scripts).
    pub fn to_vec(&self) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); 2 * self.shared.len() + 2];
        let count = self.gather(&mut slices);
        slices[..count]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }
}

/// Writes replies in the client's version of the protocol.
pub struct Reply<'a> {
    buffer: &'a mut ReplyBuffer,
    resp: Resp,
}

impl<'a> Reply<'a> {
    pub fn new(buffer: &'a mut ReplyBuffer, resp: Resp) -> Self {
        Reply { buffer, resp }
    }

    pub fn resp(&self) -> Resp {
        self.resp
    }

    pub fn is_resp3(&self) -> bool {
        self.resp == Resp::Three
    }

    pub fn buffer(&mut self) -> &mut ReplyBuffer {
        self.buffer
    }

    /// The same buffer, for a callee.
    pub fn reborrow(&mut self) -> Reply<'_> {
        Reply {
            buffer: self.buffer,
            resp: self.resp,
        }
    }

    pub fn ok(&mut self) {
        self.buffer.push_bytes(b"+OK\r\n");
    }

    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// `text` begins with its code: `ERR no such key`. Line ends inside become spaces.
    pub fn error(&mut self, text: &str) {
        self.buffer.bytes.push(b'-');
        let clean = text.bytes().map(|byte| {
            if matches!(byte, b'\r' | b'\n') {
                b' '
            } else {
                byte
            }
        });
        self.buffer.bytes.extend(clean);
        self.buffer.bytes.extend_from_slice(b"\r\n");
    }

    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.buffer.push_bytes(b":0\r\n"),
            1 => self.buffer.push_bytes(b":1\r\n"),
            _ => self.number_line(b':', value),
        }
    }

    pub fn bulk(&mut self, bytes: &[u8]) {
        self.number_line(b'$', bytes.len() as i64);
        self.buffer.bytes.extend_from_slice(bytes);
        self.buffer.bytes.extend_from_slice(b"\r\n");
    }

    /// A string that is kept alive rather than copied where it is big.
    pub fn bulk_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_STRING_BYTES {
            return self.bulk(bytes);
        }
        self.number_line(b'$', bytes.len() as i64);
        self.buffer.push_shared(bytes.clone());
        self.buffer.bytes.extend_from_slice(b"\r\n");
    }

    /// A string that lies in several shared pieces.
    pub fn bulk_pieces(&mut self, total: usize, pieces: impl Iterator<Item = impl Borrow<Bytes>>) {
        self.number_line(b'$', total as i64);
        for piece in pieces {
            let piece: &Bytes = piece.borrow();
            if piece.len() < SHARED_STRING_BYTES {
                self.buffer.push_bytes(piece);
            } else {
                self.buffer.push_shared(piece.clone());
            }
        }
        self.buffer.bytes.extend_from_slice(b"\r\n");
    }

    pub fn bulk_integer(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.bulk(digits.format(value).as_bytes());
    }

    /// A member of a collection, as a string.
    pub fn element(&mut self, element: Element) {
        match element {
            Element::Int(value) => self.bulk_integer(value),
            Element::Str(text) => self.bulk(text),
        }
    }

    pub fn null(&mut self) {
        self.buffer.push_bytes(match self.resp {
            Resp::Two => b"$-1\r\n",
            Resp::Three => b"_\r\n",
        });
    }

    /// Null where an array was expected.
    pub fn null_array(&mut self) {
        self.buffer.push_bytes(match self.resp {
            Resp::Two => b"*-1\r\n",
            Resp::Three => b"_\r\n",
        });
    }

    pub fn array(&mut self, length: usize) {
        self.number_line(b'*', length as i64);
    }

    /// A map of `pairs` keys and values, an array of twice as many in RESP2.
    pub fn map(&mut self, pairs: usize) {
        match self.resp {
            Resp::Two => self.number_line(b'*', 2 * pairs as i64),
            Resp::Three => self.number_line(b'%', pairs as i64),
        }
    }

    pub fn set(&mut self, length: usize) {
        self.number_line(if self.is_resp3() { b'~' } else { b'*' }, length as i64);
    }

    pub fn push(&mut self, length: usize) {
        self.number_line(if self.is_resp3() { b'>' } else { b'*' }, length as i64);
    }

    /// A floating point number whose text the caller has made: a bulk string in RESP2.
    pub fn double(&mut self, text: &[u8]) {
        match self.resp {
            Resp::Two => self.bulk(text),
            Resp::Three => self.line(b',', text),
        }
    }

    pub fn boolean(&mut self, value: bool) {
        match self.resp {
            Resp::Two => self.integer(i64::from(value)),
            Resp::Three => self.line(b'#', if value { b"t" } else { b"f" }),
        }
    }

    /// Text for people; `format` is three letters, as `txt`.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        match self.resp {
            Resp::Two => self.bulk(text),
            Resp::Three => {
                self.number_line(b'=', text.len() as i64 + 4);
                self.buffer.bytes.extend_from_slice(format.as_bytes());
                self.buffer.bytes.push(b':');
                self.buffer.bytes.extend_from_slice(text);
                self.buffer.bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Bytes that are replies already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.push_bytes(bytes);
    }

    /// A reply whose length is known only after its elements: write them, then call [`Reply::finish_array`].
    pub fn begin_deferred(&mut self) -> Mark {
        self.buffer.mark()
    }

    /// Puts the header of an array of `length` elements in front of what was written since `mark`.
    pub fn finish_array(&mut self, mark: Mark, length: usize) {
        let mut digits = itoa::Buffer::new();
        let header = format!("*{}\r\n", digits.format(length));
        self.buffer.insert_at(mark, header.as_bytes());
    }

    /// As [`Reply::finish_array`], for a set.
    pub fn finish_set(&mut self, mark: Mark, length: usize) {
        let kind = if self.is_resp3() { '~' } else { '*' };
        let header = format!("{kind}{length}\r\n");
        self.buffer.insert_at(mark, header.as_bytes());
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.buffer.bytes.push(kind);
        self.buffer.bytes.extend_from_slice(text);
        self.buffer.bytes.extend_from_slice(b"\r\n");
    }

    fn number_line(&mut self, kind: u8, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.line(kind, digits.format(value).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(resp: Resp, write: impl FnOnce(&mut Reply)) -> String {
        let mut buffer = ReplyBuffer::default();
        write(&mut Reply::new(&mut buffer, resp));
        String::from_utf8(buffer.to_vec()).expect("text")
    }

    #[test]
    fn both_versions_stand_as_the_specification_has_them() {
        let all = |reply: &mut Reply| {
            reply.null();
            reply.null_array();
            reply.map(1);
            reply.set(2);
            reply.push(3);
            reply.double(b"1.5");
            reply.boolean(true);
            reply.verbatim("txt", b"hi");
            reply.error("ERR two\r\nlines");
        };
        assert_eq!(
            written(Resp::Two, all),
            "$-1\r\n*-1\r\n*2\r\n*2\r\n*3\r\n$3\r\n1.5\r\n:1\r\n$2\r\nhi\r\n-ERR two  lines\r\n"
        );
        assert_eq!(
            written(Resp::Three, all),
            "_\r\n_\r\n%1\r\n~2\r\n>3\r\n,1.5\r\n#t\r\n=6\r\ntxt:hi\r\n-ERR two  lines\r\n"
        );
    }

    #[test]
    fn writing_in_any_steps_gives_the_same_bytes() {
        let big = Bytes::from(vec![b'x'; SHARED_STRING_BYTES]);
        for step in [1, 7, 4_000, 16_384, 1_000_000] {
            let mut buffer = ReplyBuffer::default();
            let mut reply = Reply::new(&mut buffer, Resp::Two);
            reply.ok();
            reply.bulk_shared(&big);
            reply.bulk_shared(&big);
            reply.integer(7);
            let expected = buffer.to_vec();
            let mut sent = Vec::new();
            while !buffer.is_empty() {
                let mut slices = [IoSlice::new(&[]); 3];
                let count = buffer.gather(&mut slices);
                let next: Vec<u8> = slices[..count]
                    .iter()
                    .flat_map(|slice| slice.to_vec())
                    .take(step)
                    .collect();
                sent.extend_from_slice(&next);
                buffer.advance(next.len());
            }
            assert!(sent == expected, "steps of {step}");
        }
    }

    #[test]
    fn a_mark_can_be_returned_to_or_written_before() {
        let mut buffer = ReplyBuffer::default();
        buffer.push_bytes(b"+OK\r\n");
        let mark = buffer.mark();
        buffer.push_bytes(b":1\r\n");
        buffer.push_shared(Bytes::from_static(b"zz"));
        buffer.insert_at(mark, b"*1\r\n");
        assert_eq!(buffer.to_vec(), b"+OK\r\n*1\r\n:1\r\nzz");
        buffer.rewind(mark);
        assert_eq!(buffer.to_vec(), b"+OK\r\n");
    }
}
