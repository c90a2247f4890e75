//! Bytes to requests: incremental, in place, a whole pipeline at a time.
//!
//! The parser is given all bytes that a connection has not yet consumed and notes where each argument lies; nothing is
//! copied but arguments of [`BIG_ARGUMENT_BYTES`] and more, which are received straight into a buffer of their own, and
//! the words of inline requests, which may need unescaping.
//!
//! Invariants: an unfinished request starts at byte 0 of what the caller keeps; no claimed count or length reserves more
//! than a small multiple of what has arrived. Knows nothing of sockets or commands.

use bytes::Bytes;

use crate::config::words;

/// Arguments from this size on get a buffer of their own while they arrive.
pub const BIG_ARGUMENT_BYTES: usize = 32 * 1024;

/// The longest inline request, and the longest line that announces a count or a length.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// How much of a big argument is reserved before it has arrived.
const BIG_RESERVATION_BYTES: usize = 1024 * 1024;

const ARGUMENTS_MAX: i64 = i32::MAX as i64;
const ARGUMENTS_MAX_BEFORE_AUTH: i64 = 10;
const BULK_BYTES_MAX_BEFORE_AUTH: i64 = 16 * 1024;

/// Where one argument lies: in the bytes that were parsed, or among the big ones.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    start: u32,
    length: u32,
}

const IN_BIG: u32 = u32::MAX;

impl Part {
    /// `length` bytes from byte `start` of the source, which is shorter than 4 GiB.
    pub fn new(start: usize, length: usize) -> Self {
        debug_assert!(start < IN_BIG as usize && length <= IN_BIG as usize);
        Part {
            start: start as u32,
            length: length as u32,
        }
    }

    /// The same argument in a source that has `bytes` more in front, or fewer.
    pub fn moved(self, bytes: isize) -> Self {
        Part {
            start: (self.start as isize + bytes) as u32,
            ..self
        }
    }
}

/// The arguments of one request, the command's name first.
#[derive(Clone, Copy)]
pub struct Argv<'a> {
    source: &'a [u8],
    parts: &'a [Part],
    big: &'a [Bytes],
}

impl<'a> Argv<'a> {
    /// The arguments that others have found in `source`.
    pub fn over(source: &'a [u8], parts: &'a [Part]) -> Self {
        let big = &[];
        Argv { source, parts, big }
    }

    pub fn len(&self) -> usize {
        self.parts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// # Panics
    /// If there is no such argument; arity is checked before a command runs.
    pub fn get(&self, index: usize) -> &'a [u8] {
        let part = self.parts[index];
        if part.start == IN_BIG {
            return &self.big[part.length as usize];
        }
        &self.source[part.start as usize..][..part.length as usize]
    }

    /// The argument's own buffer, if it has one: lets a big value be kept without a copy.
    pub fn shared(&self, index: usize) -> Option<&'a Bytes> {
        let part = self.parts[index];
        (part.start == IN_BIG).then(|| &self.big[part.length as usize])
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let argv = *self;
        (0..argv.len()).map(move |index| argv.get(index))
    }

    /// The arguments from `first` on, as a request of its own.
    pub fn skip(&self, first: usize) -> Argv<'a> {
        Argv {
            parts: &self.parts[first.min(self.parts.len())..],
            ..*self
        }
    }

    /// The first `count` arguments, or all, as a request of its own.
    pub fn first(&self, count: usize) -> Argv<'a> {
        Argv {
            parts: &self.parts[..count.min(self.parts.len())],
            ..*self
        }
    }

    /// Bytes of all arguments together.
    pub fn payload_bytes(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }
}

/// A request that owns its bytes: queued by MULTI, made by the server, replayed.
#[derive(Clone, Default)]
pub struct OwnedRequest {
    source: Vec<u8>,
    parts: Vec<Part>,
    big: Vec<Bytes>,
}

impl OwnedRequest {
    pub fn new<'w>(words: impl IntoIterator<Item = &'w [u8]>) -> Self {
        let mut request = OwnedRequest::default();
        for word in words {
            request.push(word);
        }
        request
    }

    fn push(&mut self, word: &[u8]) {
        self.parts.push(Part {
            start: self.source.len() as u32,
            length: word.len() as u32,
        });
        self.source.extend_from_slice(word);
    }

    pub fn argv(&self) -> Argv<'_> {
        Argv {
            source: &self.source,
            parts: &self.parts,
            big: &self.big,
        }
    }
}

impl From<Argv<'_>> for OwnedRequest {
    fn from(argv: Argv<'_>) -> Self {
        let mut request = OwnedRequest::default();
        for index in 0..argv.len() {
            match argv.shared(index) {
                Some(bytes) => {
                    request.parts.push(Part {
                        start: IN_BIG,
                        length: request.big.len() as u32,
                    });
                    request.big.push(bytes.clone());
                }
                None => request.push(argv.get(index)),
            }
        }
        request
    }
}

/// What a peer may send, set by config and by whether it has authenticated.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `proto-max-bulk-len`, in bytes.
    pub bulk_bytes_max: i64,
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bulk_bytes_max: 512 * 1024 * 1024,
            authenticated: true,
        }
    }
}

/// Why a connection ends; [`ProtocolError::text`] is what the peer is told first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    InlineTooBig,
    CountLineTooBig,
    LengthLineTooBig,
    InvalidCount,
    UnauthenticatedCount,
    ExpectedDollar(u8),
    InvalidLength,
    UnauthenticatedLength,
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The text after `-ERR `, as Redis 7.0 words it.
    pub fn text(&self) -> String {
        match self {
            ProtocolError::InlineTooBig => "Protocol error: too big inline request".into(),
            ProtocolError::CountLineTooBig => "Protocol error: too big mbulk count string".into(),
            ProtocolError::LengthLineTooBig => "Protocol error: too big bulk count string".into(),
            ProtocolError::InvalidCount => "Protocol error: invalid multibulk length".into(),
            ProtocolError::UnauthenticatedCount => {
                "Protocol error: unauthenticated multibulk length".into()
            }
            ProtocolError::ExpectedDollar(found) => {
                let found = match found {
                    0x20..=0x7e => *found as char,
                    _ => ' ',
                };
                format!("Protocol error: expected '$', got '{found}'")
            }
            ProtocolError::InvalidLength => "Protocol error: invalid bulk length".into(),
            ProtocolError::UnauthenticatedLength => {
                "Protocol error: unauthenticated bulk length".into()
            }
            ProtocolError::UnbalancedQuotes => {
                "Protocol error: unbalanced quotes in request".into()
            }
        }
    }
}

/// What [`Parser::parse`] has made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The requests of the batch lie in `0..consumed`.
    pub consumed: usize,
    /// An unfinished request lies in `consumed..keep`: the caller presents these bytes again, at the front of the next
    /// input. Bytes after `keep` have been taken into a big argument.
    pub keep: usize,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    first_part: u32,
    parts: u32,
    /// Where the request ends in the input.
    end: u32,
}

#[derive(Debug, Default)]
struct Unfinished {
    arguments_missing: usize,
    parts: Vec<Part>,
    big: Vec<Bytes>,
    /// Bytes parsed so far, from the start of the request.
    position: usize,
    /// The length that was announced for the next argument.
    length: Option<usize>,
    receiving: Option<Receiving>,
}

/// A big argument on its way, its line end included.
#[derive(Debug)]
struct Receiving {
    bytes: Vec<u8>,
    total: usize,
}

/// One per connection.
#[derive(Default)]
pub struct Parser {
    /// Big arguments stay in the input too.
    is_contiguous: bool,
    requests: Vec<Found>,
    parts: Vec<Part>,
    big: Vec<Bytes>,
    unfinished: Option<Box<Unfinished>>,
}

enum Step {
    Complete,
    NeedMore,
}

impl Parser {
    /// A parser that leaves all arguments where they are: for a stream whose bytes are passed on as they came.
    pub fn contiguous() -> Self {
        Parser {
            is_contiguous: true,
            ..Parser::default()
        }
    }

    /// Parses every complete request of `input`, forgetting the batch before. On an error the requests that were found
    /// before it stand in the batch and are to be answered first.
    pub fn parse(&mut self, input: &[u8], limits: Limits) -> (Parsed, Option<ProtocolError>) {
        self.clear_batch();
        let mut at = 0;
        loop {
            if self.unfinished.is_none() {
                match self.begin(input, at, limits) {
                    Ok(Some(next)) => {
                        at = next;
                        continue;
                    }
                    Ok(None) if self.unfinished.is_none() => {
                        return (
                            Parsed {
                                consumed: at,
                                keep: input.len(),
                            },
                            None,
                        );
                    }
                    Ok(None) => {}
                    Err(error) => {
                        return (
                            Parsed {
                                consumed: at,
                                keep: at,
                            },
                            Some(error),
                        );
                    }
                }
            }
            match self.advance(input, at, limits) {
                Ok(Step::Complete) => {
                    at = self.requests.last().map_or(at, |found| found.end as usize)
                }
                Ok(Step::NeedMore) => {
                    let keep = match &self.unfinished {
                        Some(request) if request.receiving.is_some() => at + request.position,
                        _ => input.len(),
                    };
                    return (Parsed { consumed: at, keep }, None);
                }
                Err(error) => {
                    self.unfinished = None;
                    return (
                        Parsed {
                            consumed: at,
                            keep: at,
                        },
                        Some(error),
                    );
                }
            }
        }
    }

    /// The requests of the last batch; `input` is what they were parsed from.
    pub fn requests<'a>(&'a self, input: &'a [u8]) -> impl ExactSizeIterator<Item = Argv<'a>> {
        (0..self.requests.len()).map(move |index| self.request(input, index))
    }

    pub fn request_count(&self) -> usize {
        self.requests.len()
    }

    pub fn request<'a>(&'a self, input: &'a [u8], index: usize) -> Argv<'a> {
        let found = self.requests[index];
        Argv {
            source: input,
            parts: &self.parts[found.first_part as usize..][..found.parts as usize],
            big: &self.big,
        }
    }

    /// Where in the input request `index` ends: a replica's applied offset.
    pub fn request_end(&self, index: usize) -> usize {
        self.requests[index].end as usize
    }

    /// The buffer of a big argument and how many of its bytes are still missing: the caller may read from its socket
    /// straight into the spare capacity, then calls [`Parser::parse`] with the bytes it kept.
    pub fn receiving(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let receiving = self.unfinished.as_mut()?.receiving.as_mut()?;
        let missing = receiving.total - receiving.bytes.len();
        if missing == 0 {
            return None;
        }
        if receiving.bytes.capacity() == receiving.bytes.len() {
            let step = receiving
                .bytes
                .len()
                .max(BIG_RESERVATION_BYTES)
                .min(missing);
            receiving.bytes.reserve_exact(step);
        }
        Some((&mut receiving.bytes, missing))
    }

    /// True in the middle of a request.
    pub fn has_unfinished(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Bytes held for an unfinished request beside what the caller keeps.
    pub fn held_bytes(&self) -> usize {
        self.unfinished.as_ref().map_or(0, |request| {
            let receiving = request.receiving.as_ref().map_or(0, |big| big.bytes.len());
            receiving
                + request.big.iter().map(Bytes::len).sum::<usize>()
                + request.parts.capacity() * size_of::<Part>()
        })
    }

    pub fn clear_batch(&mut self) {
        self.requests.clear();
        self.parts.clear();
        self.big.clear();
    }

    /// Starts a request at `at`. `Some(next)` if that took whole lines (an empty request, an inline one).
    fn begin(
        &mut self,
        input: &[u8],
        at: usize,
        limits: Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        let rest = &input[at..];
        let Some(&first) = rest.first() else {
            return Ok(None);
        };
        if first != b'*' {
            return self.inline(input, at);
        }
        let Some(line) = line_of(rest, ProtocolError::CountLineTooBig)? else {
            return Ok(None);
        };
        let count = parse_i64(&rest[1..line]).ok_or(ProtocolError::InvalidCount)?;
        if count > ARGUMENTS_MAX {
            return Err(ProtocolError::InvalidCount);
        }
        if !limits.authenticated && count > ARGUMENTS_MAX_BEFORE_AUTH {
            return Err(ProtocolError::UnauthenticatedCount);
        }
        if count <= 0 {
            return Ok(Some(at + line + 2));
        }
        // The common case stays free of allocations: all arguments lie in the input.
        if self.whole(input, at + line + 2, count as usize) {
            return Ok(Some(self.requests[self.requests.len() - 1].end as usize));
        }
        self.unfinished = Some(Box::new(Unfinished {
            arguments_missing: count as usize,
            position: line + 2,
            ..Unfinished::default()
        }));
        Ok(None)
    }

    /// Tries to take a request whose arguments have all arrived and are small; leaves no trace if it cannot.
    fn whole(&mut self, input: &[u8], mut at: usize, count: usize) -> bool {
        let first_part = self.parts.len();
        for _ in 0..count {
            let Some((length, data)) = short_length(input, at) else {
                self.parts.truncate(first_part);
                return false;
            };
            let end = data + length;
            if end + 2 > input.len() {
                self.parts.truncate(first_part);
                return false;
            }
            self.parts.push(Part {
                start: data as u32,
                length: length as u32,
            });
            at = end + 2;
        }
        self.requests.push(Found {
            first_part: first_part as u32,
            parts: count as u32,
            end: at as u32,
        });
        true
    }

    /// Goes on with the unfinished request, which starts at `start` of the input.
    fn advance(
        &mut self,
        input: &[u8],
        start: usize,
        limits: Limits,
    ) -> Result<Step, ProtocolError> {
        let Some(request) = self.unfinished.as_mut() else {
            return Ok(Step::NeedMore);
        };
        let input_of_request = &input[start..];
        while request.arguments_missing > 0 {
            let rest = &input_of_request[request.position.min(input_of_request.len())..];
            if let Some(receiving) = &mut request.receiving {
                let take = rest.len().min(receiving.total - receiving.bytes.len());
                receiving.bytes.extend_from_slice(&rest[..take]);
                if receiving.bytes.len() < receiving.total {
                    return Ok(Step::NeedMore);
                }
                receiving.bytes.truncate(receiving.total - 2);
                request.parts.push(Part {
                    start: IN_BIG,
                    length: request.big.len() as u32,
                });
                request
                    .big
                    .push(Bytes::from(std::mem::take(&mut receiving.bytes)));
                request.receiving = None;
                request.length = None;
                request.position += take;
                request.arguments_missing -= 1;
                continue;
            }
            let length = match request.length {
                Some(length) => length,
                None => {
                    let Some(&first) = rest.first() else {
                        return Ok(Step::NeedMore);
                    };
                    if first != b'$' {
                        return Err(ProtocolError::ExpectedDollar(first));
                    }
                    let Some(line) = line_of(rest, ProtocolError::LengthLineTooBig)? else {
                        return Ok(Step::NeedMore);
                    };
                    let length = parse_i64(&rest[1..line]).ok_or(ProtocolError::InvalidLength)?;
                    if length < 0 || length > limits.bulk_bytes_max {
                        return Err(ProtocolError::InvalidLength);
                    }
                    if !limits.authenticated && length > BULK_BYTES_MAX_BEFORE_AUTH {
                        return Err(ProtocolError::UnauthenticatedLength);
                    }
                    request.position += line + 2;
                    request.length = Some(length as usize);
                    continue;
                }
            };
            if length >= BIG_ARGUMENT_BYTES && !self.is_contiguous {
                request.receiving = Some(Receiving {
                    bytes: Vec::with_capacity((length + 2).min(BIG_RESERVATION_BYTES)),
                    total: length + 2,
                });
                continue;
            }
            if rest.len() < length + 2 {
                return Ok(Step::NeedMore);
            }
            request.parts.push(Part {
                start: request.position as u32,
                length: length as u32,
            });
            request.position += length + 2;
            request.length = None;
            request.arguments_missing -= 1;
        }
        Ok(self.complete(start))
    }

    fn complete(&mut self, start: usize) -> Step {
        let Some(request) = self.unfinished.take() else {
            return Step::NeedMore;
        };
        let first_part = self.parts.len();
        let first_big = self.big.len() as u32;
        self.parts
            .extend(request.parts.iter().map(|part| match part.start {
                IN_BIG => Part {
                    start: IN_BIG,
                    length: part.length + first_big,
                },
                offset => Part {
                    start: offset + start as u32,
                    length: part.length,
                },
            }));
        self.big.extend(request.big);
        self.requests.push(Found {
            first_part: first_part as u32,
            parts: request.parts.len() as u32,
            end: (start + request.position) as u32,
        });
        Step::Complete
    }

    /// A request on one line. Empty lines are requests of no words: keep-alives, skipped.
    fn inline(&mut self, input: &[u8], at: usize) -> Result<Option<usize>, ProtocolError> {
        let rest = &input[at..];
        let Some(newline) = memchr::memchr(b'\n', &rest[..rest.len().min(LINE_BYTES_MAX + 1)])
        else {
            if rest.len() > LINE_BYTES_MAX {
                return Err(ProtocolError::InlineTooBig);
            }
            return Ok(None);
        };
        let line = &rest[..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let words = words::split(line).ok_or(ProtocolError::UnbalancedQuotes)?;
        let end = at + newline + 1;
        if !words.is_empty() {
            let first_part = self.parts.len();
            for word in words {
                self.parts.push(Part {
                    start: IN_BIG,
                    length: self.big.len() as u32,
                });
                self.big.push(Bytes::from(word));
            }
            self.requests.push(Found {
                first_part: first_part as u32,
                parts: (self.parts.len() - first_part) as u32,
                end: end as u32,
            });
        }
        Ok(Some(end))
    }
}

/// The length of a bulk header at `at` and where its data starts, where both are plain and small.
fn short_length(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = input.get(at..)?;
    if *rest.first()? != b'$' {
        return None;
    }
    let mut length = 0usize;
    for (index, &byte) in rest.iter().enumerate().skip(1).take(6) {
        match byte {
            b'0'..=b'9' => length = length * 10 + usize::from(byte - b'0'),
            b'\r'
                if index > 1
                    && length < BIG_ARGUMENT_BYTES
                    && rest.get(index + 1) == Some(&b'\n') =>
            {
                return Some((length, at + index + 2));
            }
            _ => return None,
        }
    }
    None
}

/// Where the `\r` of the first line stands, once its `\n` has arrived too.
fn line_of(rest: &[u8], too_long: ProtocolError) -> Result<Option<usize>, ProtocolError> {
    match memchr::memchr(b'\r', &rest[..rest.len().min(LINE_BYTES_MAX + 1)]) {
        Some(end) if end + 1 < rest.len() => Ok(Some(end)),
        Some(_) => Ok(None),
        None if rest.len() > LINE_BYTES_MAX => Err(too_long),
        None => Ok(None),
    }
}

/// A decimal number as it stands in protocol lines.
pub fn parse_i64(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, digits),
    };
    if digits.is_empty()
        || digits.len() > 19
        || (digits[0] == b'0' && (digits.len() > 1 || negative))
    {
        return None;
    }
    let mut value = 0i64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        let digit = i64::from(digit - b'0');
        value = value.checked_mul(10)?;
        value = if negative {
            value.checked_sub(digit)?
        } else {
            value.checked_add(digit)?
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests;
