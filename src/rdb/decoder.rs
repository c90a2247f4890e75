//! The push decoder: bytes in as they arrive, events out, nothing trusted.
//!
//! ```text
//! feed(bytes)  ->  [ .... one unit that is not complete yet ]  ->  next_event() -> Event | wait | RdbError
//! ```
//!
//! A unit is what one event is made from: an opcode with its body, a key's head, one part of a value. A unit is read when all of
//! it has arrived; until then its start is kept and nothing of it is remembered. Hence the invariants:
//! - the events are the same however the bytes are cut, and so is the error;
//! - held is at most one incomplete unit, bounded by [`Options::string_bytes_max`], and what was fed since; no claimed length
//!   or count is ever reserved;
//! - a byte behind the end of the payload is not touched: [`Decoder::into_rest`] gives it back;
//! - after an error there is nothing but that error.
//!
//! Not decided here: which databases exist, what is expired, whether a key or member comes twice, and what is inside a blob.

use crate::clock::UnixMillis;

use super::checksum::Checksum;
use super::error::{Fault, Problem, RdbError};
use super::grammar::{Machine, State};
use super::opcode::{ValueType, Version};
use super::parts::Part;
use super::primitive::{RdbString, Reader, STRING_BYTES_MAX};

/// What a decoder is told beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether the checksum at the end is compared (one of zero never is). It covers all that was handed out, so the owner
    /// of the events must be able to throw them away.
    pub verify_checksum: bool,
    /// The length of the payload, where it is known: a file's size, or what a `$length` frame said. Claims beyond it
    /// are refused at once instead of waited for.
    pub payload_bytes: Option<u64>,
    /// The longest string that is accepted, in bytes.
    pub string_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            verify_checksum: true,
            payload_bytes: None,
            string_bytes_max: STRING_BYTES_MAX,
        }
    }
}

/// What the payload says, in its order. Strings are borrowed from the decoder where they lay there as they are.
#[derive(Debug, PartialEq)]
pub enum Event<'a> {
    /// May come at any place between keys; unknown names are to be ignored.
    Aux {
        name: RdbString<'a>,
        value: RdbString<'a>,
    },
    SelectDb(u64),
    /// How many keys the database has, and how many of them expire: a hint that may be a lie.
    ResizeDb {
        keys: u64,
        expires: u64,
    },
    /// A key starts; its parts follow, then [`Event::ValueEnd`].
    Key(KeyHead<'a>),
    Part(Part<'a>),
    ValueEnd,
    /// All read and, if it was to be verified, undamaged. Comes once.
    End,
}

/// A key and what stands around its value.
#[derive(Debug, PartialEq)]
pub struct KeyHead<'a> {
    pub key: RdbString<'a>,
    pub value_type: ValueType,
    pub expire: Option<UnixMillis>,
    /// Seconds since the last use, where the writer evicted by age.
    pub idle_seconds: Option<u64>,
    /// The logarithmic counter, where the writer evicted by frequency.
    pub freq: Option<u8>,
}

pub struct Decoder {
    options: Options,
    /// What was fed and is still of interest.
    buffer: Vec<u8>,
    /// Offset in the payload of the buffer's first byte.
    base: u64,
    /// Where in the buffer the next unit starts; everything before it has been handed out.
    position: usize,
    /// Offset in the payload of the unit that became the last event.
    unit_at: u64,
    /// Offset of the payload's end; `u64::MAX` while it is unknown. Never below that of `position`.
    end: u64,
    /// How many bytes from `position` on the next unit is known to need.
    needed: usize,
    /// Over all bytes before the buffer's first one.
    checksum: Checksum,
    machine: Machine,
    failed: Option<RdbError>,
}

impl Decoder {
    pub fn new(options: Options) -> Self {
        Decoder {
            options,
            buffer: Vec::new(),
            base: 0,
            position: 0,
            unit_at: 0,
            end: options.payload_bytes.unwrap_or(u64::MAX),
            needed: 0,
            checksum: Checksum::new(),
            machine: Machine::new(),
            failed: None,
        }
    }

    /// Takes in more of the payload, and of what follows it. Read all events before feeding again: unread bytes pile up here.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.position >= COMPACT_BYTES_MIN {
            self.forget_read();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that no more bytes will come: from now on, what is missing is an error instead of being waited for.
    pub fn close(&mut self) {
        self.end = self.end.min(self.base + self.buffer.len() as u64);
        self.needed = 0;
    }

    /// The next event; none if it has not arrived as a whole, or if all is read.
    ///
    /// # Errors
    /// The payload is damaged, hostile, or of a kind that is not supported. The same error from then on.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, RdbError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let Decoder {
            options,
            buffer,
            position,
            machine,
            ..
        } = self;
        let payload_left = usize::try_from(self.end - self.base).unwrap_or(usize::MAX);
        let arrived = &buffer[..buffer.len().min(payload_left)];
        loop {
            if arrived.len() - *position < self.needed || matches!(machine.state, State::Done) {
                return Ok(None);
            }
            let unit_at = self.base + *position as u64;
            let unit = &arrived[*position..];
            let mut reader = Reader::part(unit, unit_at, self.end, options.string_bytes_max);
            let event = match machine.step(&mut reader) {
                Ok(event) => event,
                Err(fault) => {
                    if let Problem::Starved { expected } = fault.problem {
                        // A unit is bounded by what two strings may take, which is far below any usize.
                        self.needed = (fault.at - unit_at + expected) as usize;
                        return Ok(None);
                    }
                    let error = machine.describe(fault);
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            };
            *position += reader.position();
            self.unit_at = unit_at;
            self.needed = 0;
            if matches!(machine.state, State::Eof) {
                let computed = options.verify_checksum.then(|| {
                    self.checksum.update(&buffer[..*position]);
                    self.checksum.value()
                });
                machine.state = State::Checksum { computed };
            }
            if let Some(event) = event {
                return Ok(Some(event));
            }
        }
    }

    /// Whether [`Event::End`] has been given out.
    pub fn is_done(&self) -> bool {
        matches!(self.machine.state, State::Done)
    }

    /// Known once the header has arrived.
    pub fn version(&self) -> Option<Version> {
        (!matches!(self.machine.state, State::Header)).then_some(self.machine.version)
    }

    /// How many bytes of the payload have become events. At the end: its length, which may be less than what a frame
    /// around it said.
    pub fn offset(&self) -> u64 {
        self.base + self.position as u64
    }

    /// How many bytes of memory the buffer takes.
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// The bytes fed that have not become events: after the end, what follows the payload.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.drain(..self.position);
        self.buffer
    }

    /// For who does not accept the last event, be it a part of a value or a database: the problem becomes this decoder's
    /// error, at the place of that event.
    pub fn refuse(&mut self, problem: Problem) -> RdbError {
        let error = self.machine.describe(Fault::new(self.unit_at, problem));
        self.failed.get_or_insert(error).clone()
    }

    /// Lets go of what has been handed out.
    fn forget_read(&mut self) {
        if self.options.verify_checksum {
            self.checksum.update(&self.buffer[..self.position]);
        }
        self.buffer.drain(..self.position);
        self.base += self.position as u64;
        self.position = 0;
        if self.buffer.capacity() > SPARE_BYTES_MAX && self.buffer.len() < SPARE_BYTES_MAX / 4 {
            self.buffer.shrink_to(SPARE_BYTES_MAX / 2);
        }
    }
}

/// Bytes that have been read are let go of in amounts that the checksum likes.
const COMPACT_BYTES_MIN: usize = 16 * 1024;

/// Above this, the buffer is what a large unit has left behind.
const SPARE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::Malformed;

    /// Every event as a line; the error, if there is one, as the last.
    fn events(payload: &[u8], options: Options) -> Vec<String> {
        let mut decoder = Decoder::new(options);
        decoder.feed(payload);
        let mut lines = Vec::new();
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => lines.push(format!("{event:?}")),
                Ok(None) => {
                    if decoder.is_done() {
                        return lines;
                    }
                    decoder.close();
                }
                Err(error) => {
                    lines.push(error.to_string());
                    return lines;
                }
            }
        }
    }

    fn last(payload: &[u8]) -> String {
        events(payload, Options::default())
            .pop()
            .unwrap_or_default()
    }

    #[test]
    fn expiry_and_age_reach_the_next_key_over_anything_between() {
        let mut decoder = Decoder::new(Options::default());
        decoder.feed(
            b"REDIS0009\xfd\x01\0\0\0\xfc\x7b\xd8\xc3\x2c\xbb\x03\0\0\xf8\x09\xf9\x07\xfe\x01",
        );
        decoder.feed(b"\xfa\x01n\x01v\0\x01k\x01v\0\x01l\x01w\xff\0\0\0\0\0\0\0\0tail");
        let mut keys = Vec::new();
        while let Some(event) = decoder.next_event().expect("valid") {
            if let Event::Key(head) = event {
                keys.push((head.expire, head.idle_seconds, head.freq));
            }
        }
        let expire = Some(UnixMillis(4_102_444_800_123));
        assert_eq!(keys, [(expire, Some(9), Some(7)), (None, None, None)]);
        assert!(decoder.is_done());
        assert_eq!(decoder.version(), Some(Version::redis(9)));
        assert_eq!(decoder.offset(), 53);
        assert_eq!(decoder.into_rest(), b"tail");
    }

    #[test]
    fn a_version_without_checksum_ends_at_its_last_opcode() {
        let mut decoder = Decoder::new(Options::default());
        decoder.feed(b"REDIS0004\xff+CONTINUE");
        assert_eq!(decoder.next_event(), Ok(Some(Event::End)));
        assert_eq!(decoder.next_event(), Ok(None));
        assert_eq!(decoder.into_rest(), b"+CONTINUE");
    }

    #[test]
    fn a_wrong_checksum_is_told_unless_nobody_asks() {
        let payload = b"REDIS0010\xff\x01\0\0\0\0\0\0\0";
        assert_eq!(
            last(payload),
            "rdb: byte 10: while reading the checksum: checksum eb7ea789fe37fda9 expected, 0000000000000001 found: the payload is damaged"
        );
        let unverified = Options {
            verify_checksum: false,
            ..Options::default()
        };
        assert_eq!(events(payload, unverified), ["End"]);
    }

    #[test]
    fn what_is_missing_is_told_when_the_input_ends() {
        for (payload, expected) in [
            (
                &b""[..],
                "rdb: byte 0: while reading the header: 9 bytes expected, 0 bytes left",
            ),
            (b"REDIS0010", "rdb: byte 9: 1 byte expected, 0 bytes left"),
            (
                b"REDIS0010\xfa\x01n\x05va",
                "rdb: byte 13: while reading AUX: 5 bytes expected, 2 bytes left",
            ),
            (
                b"REDIS0010\0\x05va",
                "rdb: byte 11: while reading the name of a key: 5 bytes expected, 2 bytes left",
            ),
            (
                b"REDIS0010\x01\x03abc\x81\0\0\0\x02\x18\x71\x1a\0\x01a\x01b",
                "rdb: byte 27: while reading the value of key \"abc\": list of 9000000000 items claimed, 0 bytes left",
            ),
            (
                b"REDIS0010\xff\x01\x02",
                "rdb: byte 10: while reading the checksum: 8 bytes expected, 2 bytes left",
            ),
        ] {
            assert_eq!(last(payload), expected);
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (payload, expected) in [
            (
                &b"REDIS0010\x13\x01s"[..],
                "rdb: byte 9: type 19 (stream) is not supported by this version",
            ),
            (
                b"REDIS0012\x19\x01s",
                "rdb: byte 9: type 25 (hash with field expiry) is not supported by this version",
            ),
            (
                b"VALKEY080\x16\x01s",
                "rdb: byte 9: type 22 (hash with field expiry) is not supported by this version",
            ),
            (
                b"VALKEY080\xf3\x01s",
                "rdb: byte 9: opcode 243 (slot import) is not supported by this version",
            ),
            (
                b"VALKEY080\x19\x01s",
                "rdb: byte 9: 25 is no known type or opcode",
            ),
            (
                b"REDIS0010\xf5\x01s",
                "rdb: byte 9: opcode 245 (function library) is not supported by this version",
            ),
        ] {
            assert_eq!(last(payload), expected);
        }
    }

    #[test]
    fn a_known_length_refuses_claims_early_and_guards_what_follows() {
        let options = Options {
            payload_bytes: Some(60),
            ..Options::default()
        };
        let mut decoder = Decoder::new(options);
        decoder.feed(b"REDIS0010\0\x01k\x40\x40");
        assert!(matches!(decoder.next_event(), Ok(Some(Event::Key(_)))));
        assert_eq!(
            decoder.next_event().map_err(|error| error.to_string()),
            Err("rdb: byte 14: while reading the value of key \"k\": 64 bytes expected, 46 bytes left".into())
        );
        assert!(decoder.next_event().is_err(), "and stays so");

        let options = Options {
            payload_bytes: Some(11),
            ..Options::default()
        };
        let lines = events(b"REDIS0010\xfe\0\xffmore of something else", options);
        assert_eq!(lines[1], "rdb: byte 11: 1 byte expected, 0 bytes left");
    }

    #[test]
    fn memory_follows_what_has_arrived_and_shrinks_again() {
        let mut decoder = Decoder::new(Options::default());
        decoder.feed(b"REDIS0010\x04\x01h\x80\xff\xff\xff\xff");
        assert!(matches!(decoder.next_event(), Ok(Some(Event::Key(_)))));
        let mut chunk = Vec::new();
        for i in 0..2000u32 {
            chunk.extend_from_slice(format!("\x08f{i:07}\x08v{i:07}").as_bytes());
        }
        for _ in 0..50 {
            decoder.feed(&chunk);
            while decoder.next_event().expect("valid").is_some() {}
            assert!(decoder.held_bytes() < 4 * chunk.len());
        }
        // One field of 8 MiB, then small ones: its room is given back.
        decoder.feed(&[0x80, 0, 0x80, 0, 0]);
        for _ in 0..128 {
            decoder.feed(&[b'x'; 65536]);
            assert_eq!(decoder.next_event(), Ok(None));
        }
        decoder.feed(b"\x01v");
        assert!(matches!(
            decoder.next_event(),
            Ok(Some(Event::Part(Part::Pair(..))))
        ));
        decoder.feed(&chunk);
        assert!(decoder.held_bytes() < SPARE_BYTES_MAX);
    }

    #[test]
    fn an_event_can_be_refused_by_its_taker() {
        let mut decoder = Decoder::new(Options::default());
        decoder.feed(b"REDIS0010\xfe\x10");
        assert_eq!(decoder.next_event(), Ok(Some(Event::SelectDb(16))));
        let error = decoder.refuse(Problem::Database {
            selected: 16,
            databases: 16,
        });
        assert_eq!(
            error.to_string(),
            "rdb: byte 9: while reading SELECTDB: database 16 selected, there are 16"
        );

        let mut decoder = Decoder::new(Options::default());
        decoder.feed(b"REDIS0010\x02\x01k\0\xff");
        while decoder.next_event() != Ok(Some(Event::ValueEnd)) {}
        let error = decoder.refuse(Problem::Duplicate("key"));
        assert_eq!(
            error.to_string(),
            "rdb: byte 12: while reading the value of key \"k\": the same key twice"
        );

        let mut decoder = Decoder::new(Options::default());
        decoder.feed(b"REDIS0010\x0b\x01k\x03abc\xff");
        assert!(decoder.next_event().is_ok() && decoder.next_event().is_ok());
        let malformed = Malformed {
            structure: "intset",
            byte: 0,
            expected: "a width of 2, 4 or 8".to_owned(),
            found: "3".to_owned(),
        };
        let error = decoder.refuse(malformed.into());
        assert_eq!(
            error.to_string(),
            "rdb: byte 12: while reading the value of key \"k\": intset: byte 0: expected a width of 2, 4 or 8, found 3"
        );
        assert_eq!(decoder.next_event(), Err(error));
    }
}
