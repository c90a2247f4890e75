//! What a peer answers us: bytes to values, RESP2 and RESP3 alike, for whoever asks a node as its client.
//!
//! The reader is fed whatever has arrived and hands out answers as they become whole. It keeps its place inside a nested
//! answer, so that nothing is read twice however small the pieces are. Push messages are answers like others here; attributes
//! are read and dropped.
//!
//! Invariants: nothing is reserved because the peer claims it will come; an answer holds no more than its [`Limits`]
//! allow; after an error the stream has no more meaning, and the reader repeats that error for ever. Knows nothing of
//! sockets. Strings that stream without a length (`$?`) are not spoken by any node, and are refused.

use std::fmt;

use crate::number;

/// One answer, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Simple(String),
    /// The text behind the mark, with its code: `ERR unknown command`.
    Error(String),
    Integer(i64),
    /// A string of bytes; a verbatim string without its format.
    Bulk(Vec<u8>),
    Null,
    Boolean(bool),
    Double(f64),
    /// Its digits.
    BigNumber(String),
    Array(Vec<Answer>),
    /// Keys and values in the order in which they came.
    Map(Vec<(Answer, Answer)>),
    Set(Vec<Answer>),
    Push(Vec<Answer>),
}

/// What one answer may cost its reader.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a line that holds a number, a simple string or an error.
    pub line_bytes: usize,
    /// Bytes of a whole answer on the wire; so no string in it may be longer.
    pub answer_bytes: usize,
    /// Values in a whole answer, those of nested ones counted.
    pub values: usize,
    /// Aggregates inside each other.
    pub depth: usize,
}

impl Default for Limits {
    /// Ample for INFO, CONFIG GET and their like.
    fn default() -> Self {
        Limits {
            line_bytes: 64 * 1024,
            answer_bytes: 64 * 1024 * 1024,
            values: 1024 * 1024,
            depth: 16,
        }
    }
}

/// Why the bytes of a peer cannot be read any further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerError {
    /// The byte of the stream, counted from the first that was fed, at which the broken part begins.
    pub at: u64,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No value begins with this byte.
    UnknownMark(u8),
    /// A line that should spell this.
    Malformed {
        expected: &'static str,
        found: String,
    },
    /// The bytes behind a string are not the end of a line.
    Unterminated,
    /// More than the limits allow, of this.
    TooMuch { of: &'static str, max: usize },
}

/// Reads one stream of answers.
pub struct AnswerReader {
    limits: Limits,
    buffer: Vec<u8>,
    /// How much of the buffer has been read.
    read: usize,
    /// The byte of the stream at which the buffer begins.
    base: u64,
    /// The byte of the stream at which the present answer began.
    answer_start: u64,
    values: usize,
    /// Aggregates that are not whole yet, the outermost first.
    open: Vec<Open>,
    /// The string that comes next, after the line that announced it.
    string: Option<PendingString>,
    failed: Option<AnswerError>,
}

struct Open {
    kind: Aggregate,
    /// Values still to come.
    missing: usize,
    values: Vec<Answer>,
}

#[derive(Clone, Copy, PartialEq)]
enum Aggregate {
    Array,
    Map,
    Set,
    Push,
    Attribute,
}

#[derive(Clone, Copy)]
struct PendingString {
    kind: StringKind,
    bytes: usize,
}

#[derive(Clone, Copy)]
enum StringKind {
    Bulk,
    Error,
    Verbatim,
}

/// What one step of reading has found.
enum Step {
    Value(Answer),
    /// A line was read that opens something; the next step goes on.
    Opened,
    /// More bytes are needed.
    Short,
}

impl AnswerReader {
    pub fn new(limits: Limits) -> Self {
        AnswerReader {
            limits,
            buffer: Vec::new(),
            read: 0,
            base: 0,
            answer_start: 0,
            values: 0,
            open: Vec::new(),
            string: None,
            failed: None,
        }
    }

    /// Takes what has arrived. Call [`AnswerReader::next_answer`] until it has none before feeding more.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.base += self.read as u64;
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next answer that is whole, if there is one.
    pub fn next_answer(&mut self) -> Result<Option<Answer>, AnswerError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        loop {
            let at = self.offset();
            let step = self.step().map_err(|problem| AnswerError { at, problem });
            let step = step.inspect_err(|error| self.failed = Some(error.clone()))?;
            match step {
                Step::Short => return Ok(None),
                Step::Opened => {}
                Step::Value(value) => {
                    if let Some(answer) = self.place(value) {
                        self.answer_start = self.offset();
                        self.values = 0;
                        return Ok(Some(answer));
                    }
                }
            }
        }
    }

    /// Bytes that have been read into answers, whole or begun.
    pub fn offset(&self) -> u64 {
        self.base + self.read as u64
    }

    /// True between answers: an end of the stream here cuts nothing off.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.string.is_none() && self.read == self.buffer.len()
    }

    fn step(&mut self) -> Result<Step, Problem> {
        if let Some(string) = self.string {
            return self.read_string(string);
        }
        let Some(line) = self.take_line()? else {
            return Ok(Step::Short);
        };
        self.values += 1;
        if self.values > self.limits.values {
            return Err(Problem::TooMuch {
                of: "values in one answer",
                max: self.limits.values,
            });
        }
        let (mark, rest) = match self.buffer[line].split_first() {
            Some((&mark, rest)) => (mark, rest),
            None => return Err(malformed("a mark", b"")),
        };
        let value = match mark {
            b'+' => Answer::Simple(text(rest)),
            b'-' => Answer::Error(text(rest)),
            b':' => match number::parse_i64(rest.strip_prefix(b"+").unwrap_or(rest)) {
                Some(value) => Answer::Integer(value),
                None => return Err(malformed("an integer", rest)),
            },
            b'_' if rest.is_empty() => Answer::Null,
            b'#' if rest == b"t" || rest == b"f" => Answer::Boolean(rest == b"t"),
            b',' => Answer::Double(double(rest)?),
            b'(' => Answer::BigNumber(big_number(rest)?),
            b'$' | b'*' if rest == b"-1" => Answer::Null,
            b'$' => return self.begin_string(StringKind::Bulk, length(rest)?),
            b'!' => return self.begin_string(StringKind::Error, length(rest)?),
            b'=' => return self.begin_string(StringKind::Verbatim, length(rest)?),
            b'*' => return self.begin(Aggregate::Array, length(rest)?),
            b'%' => return self.begin(Aggregate::Map, length(rest)?),
            b'~' => return self.begin(Aggregate::Set, length(rest)?),
            b'>' => return self.begin(Aggregate::Push, length(rest)?),
            b'|' => return self.begin(Aggregate::Attribute, length(rest)?),
            b'_' => return Err(malformed("nothing behind a null", rest)),
            b'#' => return Err(malformed("t or f", rest)),
            unknown => return Err(Problem::UnknownMark(unknown)),
        };
        Ok(Step::Value(value))
    }

    /// Where the next line lies in the buffer, without its end, if all of it is there. It counts as read.
    fn take_line(&mut self) -> Result<Option<std::ops::Range<usize>>, Problem> {
        let unread = &self.buffer[self.read..];
        let end = memchr::memchr(b'\n', unread);
        if end.unwrap_or(unread.len()) > self.limits.line_bytes + 1 {
            return Err(Problem::TooMuch {
                of: "bytes in a line",
                max: self.limits.line_bytes,
            });
        }
        let Some(end) = end else {
            return Ok(None);
        };
        if end == 0 || unread[end - 1] != b'\r' {
            return Err(malformed("a line that ends in CR LF", &unread[..end]));
        }
        let line = self.read..self.read + end - 1;
        self.read += end + 1;
        self.check_size(0)?;
        Ok(Some(line))
    }

    fn begin_string(&mut self, kind: StringKind, bytes: usize) -> Result<Step, Problem> {
        self.check_size(bytes)?;
        self.string = Some(PendingString { kind, bytes });
        Ok(Step::Opened)
    }

    fn read_string(&mut self, string: PendingString) -> Result<Step, Problem> {
        let unread = &self.buffer[self.read..];
        if unread.len() < string.bytes + 2 {
            return Ok(Step::Short);
        }
        let (bytes, behind) = unread.split_at(string.bytes);
        if &behind[..2] != b"\r\n" {
            return Err(Problem::Unterminated);
        }
        let value = match string.kind {
            StringKind::Bulk => Answer::Bulk(bytes.to_vec()),
            StringKind::Error => Answer::Error(text(bytes)),
            // Three letters and a colon name the format.
            StringKind::Verbatim => match bytes.get(3) {
                Some(b':') => Answer::Bulk(bytes[4..].to_vec()),
                _ => return Err(malformed("a verbatim string with its format", bytes)),
            },
        };
        self.read += string.bytes + 2;
        self.string = None;
        Ok(Step::Value(value))
    }

    fn begin(&mut self, kind: Aggregate, count: usize) -> Result<Step, Problem> {
        if self.open.len() >= self.limits.depth {
            return Err(Problem::TooMuch {
                of: "levels in one answer",
                max: self.limits.depth,
            });
        }
        let missing = match kind {
            Aggregate::Map | Aggregate::Attribute => count.saturating_mul(2),
            _ => count,
        };
        // What is announced already decides: no need to wait until it has come.
        if missing > self.limits.values {
            return Err(Problem::TooMuch {
                of: "values in one answer",
                max: self.limits.values,
            });
        }
        let aggregate = Open {
            kind,
            missing,
            values: Vec::new(),
        };
        if missing > 0 {
            self.open.push(aggregate);
            return Ok(Step::Opened);
        }
        Ok(aggregate.close().map_or(Step::Opened, Step::Value))
    }

    /// Puts a value where it belongs; the answer, if that makes it whole.
    fn place(&mut self, mut value: Answer) -> Option<Answer> {
        while let Some(innermost) = self.open.last_mut() {
            innermost.values.push(value);
            innermost.missing -= 1;
            if innermost.missing > 0 {
                return None;
            }
            value = self.open.pop().and_then(Open::close)?;
        }
        Some(value)
    }

    /// Refuses an answer that is too long with `more` bytes to come.
    fn check_size(&self, more: usize) -> Result<(), Problem> {
        let so_far = self.offset() - self.answer_start;
        if so_far.saturating_add(more as u64) > self.limits.answer_bytes as u64 {
            return Err(Problem::TooMuch {
                of: "bytes in one answer",
                max: self.limits.answer_bytes,
            });
        }
        Ok(())
    }
}

impl Open {
    /// What it has become; nothing if it was an attribute.
    fn close(self) -> Option<Answer> {
        Some(match self.kind {
            Aggregate::Array => Answer::Array(self.values),
            Aggregate::Set => Answer::Set(self.values),
            Aggregate::Push => Answer::Push(self.values),
            Aggregate::Map => {
                let mut values = self.values.into_iter();
                let pairs = std::iter::from_fn(|| values.next().zip(values.next()));
                Answer::Map(pairs.collect())
            }
            Aggregate::Attribute => return None,
        })
    }
}

impl Answer {
    /// The text of a string of either form, if it is one.
    pub fn as_text(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Answer::Simple(text) => Some(text.into()),
            Answer::Bulk(bytes) => Some(String::from_utf8_lossy(bytes)),
            _ => None,
        }
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer: byte {}: {}", self.at, self.problem)
    }
}

impl std::error::Error for AnswerError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::UnknownMark(mark) => write!(
                f,
                "expected the mark of a value, found '{}'",
                mark.escape_ascii()
            ),
            Problem::Malformed { expected, found } => {
                write!(f, "expected {expected}, found \"{found}\"")
            }
            Problem::Unterminated => write!(f, "expected CR LF behind a string, found more of it"),
            Problem::TooMuch { of, max } => write!(f, "expected at most {max} {of}, found more"),
        }
    }
}

fn length(digits: &[u8]) -> Result<usize, Problem> {
    number::parse_i64(digits)
        .and_then(|value| usize::try_from(value).ok())
        .ok_or_else(|| malformed("a length", digits))
}

fn double(spelled: &[u8]) -> Result<f64, Problem> {
    if spelled == b"nan" || spelled == b"-nan" {
        return Ok(f64::NAN);
    }
    number::parse_f64(spelled).ok_or_else(|| malformed("a double", spelled))
}

fn big_number(spelled: &[u8]) -> Result<String, Problem> {
    let digits = spelled.strip_prefix(b"-").unwrap_or(spelled);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(malformed("a big number", spelled));
    }
    Ok(text(spelled))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn malformed(expected: &'static str, found: &[u8]) -> Problem {
    let shown = &found[..found.len().min(SHOWN_BYTES_MAX)];
    Problem::Malformed {
        expected,
        found: shown.escape_ascii().to_string(),
    }
}

/// How much of what was found an error repeats.
const SHOWN_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests;
