//! The snapshot's frame on the wire, at both ends.
//!
//! ```text
//! \n                          keep-alive, any number, before the header only
//! $<length>\r\n  body         sized: exactly that many bytes and nothing behind them
//! $EOF:<mark>\r\n  body mark  marked: forty random digits, announced first and repeated behind the body
//! -<text>\r\n                 the master gives up
//! ```
//!
//! The mark is found wherever it stands, also torn across reads and also with bytes behind it. Peers compare only the last forty
//! bytes they have read, which works because a master is silent after the mark until the replica acknowledges; looking for
//! it everywhere is safe too, since it is drawn at random after the dataset was fixed: nothing in the body can repeat it.
//! The decoder's own end (its EOF opcode and checksum) is the second witness: the driver ends the load with an error if
//! the decoder stops before the body does, or wants more than the body has.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use super::handshake::shown;
use crate::random::Random;

/// How the body's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By its length in bytes.
    Sized(u64),
    /// By forty bytes behind it.
    Marked(Mark),
}

/// Forty hexadecimal digits that no body contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark([u8; MARK_BYTES]);

impl Mark {
    pub fn random(random: &mut Random) -> Self {
        Mark(random.hex40())
    }

    /// What follows the body.
    pub fn trailer(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

impl Framing {
    /// The line in front of the body.
    pub fn header(&self) -> Bytes {
        match self {
            Framing::Sized(length) => Bytes::from(format!("${length}\r\n")),
            Framing::Marked(mark) => Bytes::from([&b"$EOF:"[..], &mark.0, b"\r\n"].concat()),
        }
    }
}

/// What a master sends so that a waiting replica does not give up. Never once the stream has begun: there every byte counts.
pub const KEEP_ALIVE: &[u8] = b"\n";

/// Reads one payload from bytes as they come.
#[derive(Debug)]
pub struct Receiver {
    state: State,
    body_bytes: u64,
}

#[derive(Debug)]
enum State {
    Header {
        line: Vec<u8>,
    },
    Sized {
        left: u64,
    },
    Marked {
        mark: Mark,
        held: BytesMut,
    },
    /// The mark was found; that is still to be told.
    BodyEnded,
    Finished,
}

/// What some bytes meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    KeepAlive,
    Header(Framing),
    Body(Bytes),
    /// The body is complete; whatever was not taken is the stream.
    Finished,
    /// The master said `-...` instead.
    Refused(String),
    /// Not a header at all; what it was.
    Malformed(String),
}

impl Receiver {
    pub fn new() -> Self {
        Receiver {
            state: State::Header { line: Vec::new() },
            body_bytes: 0,
        }
    }

    /// Bytes of the body seen so far.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Takes what it understands off the front of `bytes`; `None` when it needs more. Nothing is taken after the end. What is
    /// kept inside is bounded by a header line or a mark.
    pub fn receive(&mut self, bytes: &mut Bytes) -> Option<Received> {
        match &mut self.state {
            State::Header { .. } => self.receive_header(bytes),
            State::BodyEnded | State::Sized { left: 0 } => {
                self.state = State::Finished;
                Some(Received::Finished)
            }
            State::Sized { left } => {
                if bytes.is_empty() {
                    return None;
                }
                let take = (*left).min(bytes.len() as u64);
                *left -= take;
                self.body_bytes += take;
                Some(Received::Body(bytes.split_to(take as usize)))
            }
            State::Marked { .. } => self.receive_marked(bytes),
            State::Finished => None,
        }
    }

    fn receive_header(&mut self, bytes: &mut Bytes) -> Option<Received> {
        let State::Header { line } = &mut self.state else {
            return None;
        };
        while !bytes.is_empty() {
            let byte = bytes.split_to(1)[0];
            match byte {
                b'\n' => {
                    if line.last() == Some(&b'\r') {
                        line.pop();
                    }
                    let line = std::mem::take(line);
                    if line.is_empty() {
                        return Some(Received::KeepAlive);
                    }
                    return Some(self.header_read(&line));
                }
                _ if line.len() >= HEADER_BYTES_MAX => {
                    let shown = shown(line);
                    self.state = State::Finished;
                    return Some(Received::Malformed(shown));
                }
                _ => line.push(byte),
            }
        }
        None
    }

    fn header_read(&mut self, line: &[u8]) -> Received {
        if let Some(text) = line.strip_prefix(b"-") {
            self.state = State::Finished;
            return Received::Refused(shown(text));
        }
        match parse_header(line) {
            Some(framing) => {
                self.state = match framing {
                    Framing::Sized(left) => State::Sized { left },
                    Framing::Marked(mark) => State::Marked {
                        mark,
                        held: BytesMut::new(),
                    },
                };
                Received::Header(framing)
            }
            None => {
                self.state = State::Finished;
                Received::Malformed(shown(line))
            }
        }
    }

    /// `held` is the end of what was read, if that could be the mark's beginning; it is shorter than the mark.
    fn receive_marked(&mut self, bytes: &mut Bytes) -> Option<Received> {
        let State::Marked { mark, held } = &mut self.state else {
            return None;
        };
        if bytes.is_empty() {
            return None;
        }
        let (body, found) = if held.is_empty() {
            match memmem::find(bytes, &mark.0) {
                Some(at) => {
                    let body = bytes.split_to(at);
                    bytes.advance(MARK_BYTES);
                    (body, true)
                }
                None => {
                    let body = bytes.split_to(bytes.len() - mark_begun(bytes, mark));
                    held.extend_from_slice(bytes);
                    bytes.clear();
                    (body, false)
                }
            }
        } else {
            // The mark may have begun in what is held: look at it together with the next bytes, as many as a mark has.
            let held_bytes = held.len();
            let next_bytes = bytes.len().min(MARK_BYTES);
            held.extend_from_slice(&bytes[..next_bytes]);
            match memmem::find(held, &mark.0) {
                Some(at) => {
                    bytes.advance(at + MARK_BYTES - held_bytes);
                    (held.split_to(at).freeze(), true)
                }
                None => {
                    bytes.advance(next_bytes);
                    let keep = mark_begun(held, mark);
                    (held.split_to(held.len() - keep).freeze(), false)
                }
            }
        };
        self.body_bytes += body.len() as u64;
        match (body.is_empty(), found) {
            (true, false) => None,
            (true, true) => {
                self.state = State::Finished;
                Some(Received::Finished)
            }
            (false, found) => {
                if found {
                    self.state = State::BodyEnded;
                }
                Some(Received::Body(body))
            }
        }
    }
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

/// How many of the last bytes are the beginning of the mark, the whole mark excluded.
fn mark_begun(bytes: &[u8], mark: &Mark) -> usize {
    let longest = bytes.len().min(MARK_BYTES - 1);
    (1..=longest)
        .rev()
        .find(|length| bytes[bytes.len() - length..] == mark.0[..*length])
        .unwrap_or(0)
}

fn parse_header(line: &[u8]) -> Option<Framing> {
    let value = line.strip_prefix(b"$")?;
    if let Some(mark) = value.strip_prefix(b"EOF:") {
        return Some(Framing::Marked(Mark(mark.try_into().ok()?)));
    }
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = std::str::from_utf8(value).ok()?.parse().ok()?;
    Some(Framing::Sized(length))
}

const MARK_BYTES: usize = 40;

/// The longest header line believed.
const HEADER_BYTES_MAX: usize = 1023;

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces that end at `cuts` and tells what came out, bodies joined, and what was left.
    fn receive(wire: &[u8], cuts: &[usize]) -> (Vec<Received>, Vec<u8>) {
        let mut receiver = Receiver::new();
        let mut events: Vec<Received> = Vec::new();
        let mut rest = Vec::new();
        let mut from = 0;
        let mut body_bytes = 0;
        for to in cuts.iter().copied().chain([wire.len()]) {
            let mut bytes = Bytes::copy_from_slice(&wire[from..to]);
            from = to;
            while let Some(event) = receiver.receive(&mut bytes) {
                match (events.last_mut(), event) {
                    (Some(Received::Body(before)), Received::Body(more)) => {
                        assert!(!more.is_empty());
                        body_bytes += more.len() as u64;
                        *before = Bytes::from([&before[..], &more].concat());
                    }
                    (_, event) => {
                        if let Received::Body(body) = &event {
                            assert!(!body.is_empty());
                            body_bytes += body.len() as u64;
                        }
                        events.push(event);
                    }
                }
            }
            rest.extend_from_slice(&bytes);
        }
        assert_eq!(receiver.body_bytes(), body_bytes);
        (events, rest)
    }

    fn check_all_chunkings(wire: &[u8], expected: &[Received], rest: &[u8]) {
        for piece in 1..=wire.len() {
            let cuts: Vec<usize> = (piece..wire.len()).step_by(piece).collect();
            assert_eq!(
                receive(wire, &cuts),
                (expected.to_vec(), rest.to_vec()),
                "in pieces of {piece}"
            );
        }
        for cut in 0..=wire.len() {
            assert_eq!(
                receive(wire, &[cut]),
                (expected.to_vec(), rest.to_vec()),
                "cut at {cut}"
            );
        }
    }

    fn body(text: &str) -> Received {
        Received::Body(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn mark() -> Mark {
        Mark(*b"abababababababababababababababababababac")
    }

    #[test]
    fn a_sized_body_ends_with_its_last_byte_and_the_stream_may_follow() {
        check_all_chunkings(
            b"\n\n$11\r\nhello\r\nbody*1\r\n$4\r\nPING\r\n",
            &[
                Received::KeepAlive,
                Received::KeepAlive,
                Received::Header(Framing::Sized(11)),
                body("hello\r\nbody"),
                Received::Finished,
            ],
            b"*1\r\n$4\r\nPING\r\n",
        );
    }

    #[test]
    fn a_marked_body_ends_at_its_mark_however_it_is_cut_and_whatever_follows() {
        // The body ends in something that looks like the mark's beginning.
        let text = "REDIS0010 abababababababababababababababababababab";
        for rest in ["", "*1\r\n$4\r\nPING\r\n"] {
            let wire = [
                &Framing::Marked(mark()).header()[..],
                text.as_bytes(),
                &mark().trailer(),
                rest.as_bytes(),
            ]
            .concat();
            check_all_chunkings(
                &wire,
                &[
                    Received::Header(Framing::Marked(mark())),
                    body(text),
                    Received::Finished,
                ],
                rest.as_bytes(),
            );
        }
    }

    #[test]
    fn an_empty_body_is_complete_at_once() {
        check_all_chunkings(
            b"$0\r\n",
            &[Received::Header(Framing::Sized(0)), Received::Finished],
            b"",
        );
        let wire = [&Framing::Marked(mark()).header()[..], &mark().trailer()].concat();
        check_all_chunkings(
            &wire,
            &[
                Received::Header(Framing::Marked(mark())),
                Received::Finished,
            ],
            b"",
        );
    }

    #[test]
    fn a_refusal_and_a_malformed_header_end_it() {
        check_all_chunkings(
            b"\n-ERR BGSAVE failed\r\n",
            &[
                Received::KeepAlive,
                Received::Refused("ERR BGSAVE failed".into()),
            ],
            b"",
        );
        for bad in [
            "$-1",
            "$",
            "$1x",
            "$EOF:",
            "$EOF:short",
            "*1",
            "+OK",
            "hello",
            "$99999999999999999999",
        ] {
            let (events, _) = receive(format!("{bad}\r\nrest").as_bytes(), &[]);
            assert_eq!(events, [Received::Malformed(bad.into())]);
        }
        let (events, _) = receive(&[b'$'; 5000], &[]);
        assert!(
            matches!(&events[..], [Received::Malformed(_)]),
            "{events:?}"
        );
    }

    #[test]
    fn a_big_body_is_passed_on_without_copying() {
        let wire = [&b"$100000\r\n"[..], &[1; 100_000]].concat();
        let mut bytes = Bytes::from(wire);
        let behind_header = bytes[9..].as_ptr();
        let mut receiver = Receiver::new();
        receiver.receive(&mut bytes);
        match receiver.receive(&mut bytes) {
            Some(Received::Body(body)) => assert_eq!(body.as_ptr(), behind_header),
            other => panic!("{other:?}"),
        }
    }
}
