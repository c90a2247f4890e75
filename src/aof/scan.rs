//! The bytes of an AOF file to commands: in place, many at a time, with every boundary and every error by its byte.
//!
//! ```text
//! #TS:1700000000\r\n                 annotation: only between commands
//! *3\r\n $3\r\nSET\r\n $1\r\nk\r\n $1\r\nv\r\n       a unit of its own
//! *1\r\n $5\r\nMULTI\r\n  ...  *1\r\n $4\r\nEXEC\r\n    one unit
//! ```
//!
//! As Redis reads it: a line may end in LF alone. Stricter than Redis's loader, as strict as its checker: what stands behind
//! an argument has to be CRLF, and MULTI and EXEC have to pair up, for a file in which they do not would swallow or tear
//! what was written as one.
//!
//! Invariants: a claimed count or length reserves nothing and is compared with what the file still holds; the scanner stops
//! for good at the first byte that is not right. Knows neither files nor what a command means, but for MULTI and EXEC.

use std::fmt;

use crate::protocol::request::{Argv, Part};

/// A boundary in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes before it.
    pub byte: u64,
    /// From 1. Lines inside arguments are not counted, nor are annotations: so `redis-check-aof` counts.
    pub line: u64,
    /// Bytes of `#` lines before it.
    pub annotation_bytes: u64,
}

/// How a file ends, or why it was not read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Behind a unit.
    Whole,
    /// Inside the command or annotation that begins at this byte.
    Torn { begins: u64 },
    /// Behind a command, in the transaction that begins at this byte.
    OpenTransaction { begins: u64 },
    /// Not an AOF from somewhere on.
    Malformed(ScanError),
}

/// What a scan has found out about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The last boundary between units.
    pub good: Place,
    pub ending: Ending,
    /// Bytes of the file.
    pub bytes: u64,
    /// The line that was reached.
    pub line: u64,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanError {
    pub byte: u64,
    pub line: u64,
    pub expected: &'static str,
    pub found: String,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScanError {
            byte,
            line,
            expected,
            found,
        } = self;
        write!(
            f,
            "byte {byte} (line {line}): expected {expected}, found {found}"
        )
    }
}

impl std::error::Error for ScanError {}

/// The commands of one call, as places in its input. Used again and again, it allocates nothing.
#[derive(Default)]
pub struct Batch {
    commands: Vec<Found>,
    parts: Vec<Part>,
    stamps: Vec<Stamp>,
}

struct Found {
    first_part: u32,
    parts: u32,
    end: u32,
    ends_unit: bool,
}

/// An annotation `#TS:` between units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// How many commands of the batch stand before it.
    pub after_commands: usize,
    /// Where it begins.
    pub byte: u64,
    pub unix_seconds: i64,
}

/// One command of a batch.
#[derive(Clone, Copy)]
pub struct Command<'a> {
    pub argv: Argv<'a>,
    /// Where it ends in the input.
    pub end: usize,
    /// Whether a unit ends with it.
    pub ends_unit: bool,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The commands, in order; `input` is what they were scanned in.
    pub fn commands<'a>(&'a self, input: &'a [u8]) -> impl ExactSizeIterator<Item = Command<'a>> {
        self.commands.iter().map(move |found| Command {
            argv: Argv::over(
                input,
                &self.parts[found.first_part as usize..][..found.parts as usize],
            ),
            end: found.end as usize,
            ends_unit: found.ends_unit,
        })
    }

    pub fn stamps(&self) -> &[Stamp] {
        &self.stamps
    }

    pub fn clear(&mut self) {
        self.commands.clear();
        self.parts.clear();
        self.stamps.clear();
    }
}

/// What one call of [`Scanner::scan`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// The batch lies in these bytes. What follows them is to be presented again, at the front of the next input.
    pub consumed: usize,
    /// At least so many more bytes are needed to go on; 0 if the scan is over.
    pub wanted: usize,
}

/// One per file.
pub struct Scanner {
    /// Behind what was consumed.
    here: Place,
    good: Place,
    /// Before the MULTI that has no EXEC yet.
    transaction: Option<Place>,
    file_bytes: u64,
    unfinished: Option<Unfinished>,
    ending: Option<Ending>,
    line_reached: u64,
    /// Where in the file the input of this call begins.
    input_begins: u64,
}

/// A command whose first arguments have been found.
struct Unfinished {
    /// From the command's start.
    parts: Vec<Part>,
    missing: u64,
    position: usize,
}

enum Step {
    Done(usize),
    More(usize),
    Over(Ending),
}

/// Stops inside a step.
enum Stop {
    More(usize),
    Wrong(usize, &'static str),
}

impl Scanner {
    /// Starts at byte `from` of a file of `file_bytes`: behind an RDB part, or at 0.
    pub fn new(from: u64, file_bytes: u64) -> Self {
        let start = Place {
            byte: from,
            line: 1,
            annotation_bytes: 0,
        };
        Scanner {
            here: start,
            good: start,
            transaction: None,
            file_bytes,
            unfinished: None,
            ending: None,
            line_reached: 1,
            input_begins: from,
        }
    }

    /// Finds all commands that are whole in `input`, which begins where the call before has stopped consuming.
    pub fn scan(&mut self, input: &[u8], batch: &mut Batch) -> Scanned {
        batch.clear();
        let input = &input[..input.len().min(INPUT_BYTES_MAX)];
        let start = self.here.byte;
        self.input_begins = start;
        let mut at = 0;
        let wanted = loop {
            if self.ending.is_some() {
                break 0;
            }
            let step = match input.get(at) {
                None => Step::More(1),
                Some(b'*') => self.command(input, at, batch),
                Some(b'#') => self.annotation(input, at, batch),
                Some(_) => Step::Over(self.wrong(input, at, "'*' or '#'")),
            };
            match step {
                Step::Done(next) => {
                    at = next;
                    self.here.byte = start + at as u64;
                    if self.transaction.is_none() {
                        self.good = self.here;
                    }
                }
                Step::More(wanted) if start + (input.len() + wanted) as u64 > self.file_bytes => {
                    self.ending = Some(self.ending_here());
                }
                Step::More(wanted) => break wanted,
                Step::Over(ending) => self.ending = Some(ending),
            }
        };
        self.line_reached = self.line_reached.max(self.here.line);
        Scanned {
            consumed: at,
            wanted,
        }
    }

    /// Behind what was consumed.
    pub fn place(&self) -> Place {
        self.here
    }

    /// The last boundary between units.
    pub fn good(&self) -> Place {
        self.good
    }

    /// The verdict, if no more bytes come.
    pub fn outcome(&self) -> Outcome {
        let ending = self.ending.clone();
        Outcome {
            good: self.good,
            ending: ending.unwrap_or_else(|| self.ending_here()),
            bytes: self.file_bytes,
            line: self.line_reached.max(self.here.line),
        }
    }

    fn ending_here(&self) -> Ending {
        let begins = self.here.byte;
        match self.transaction {
            _ if begins < self.file_bytes => Ending::Torn { begins },
            Some(multi) => Ending::OpenTransaction { begins: multi.byte },
            None => Ending::Whole,
        }
    }

    fn command(&mut self, input: &[u8], start: usize, batch: &mut Batch) -> Step {
        let first_part = batch.parts.len();
        let (mut missing, mut at) = match self.unfinished.take() {
            Some(unfinished) => {
                let parts = unfinished.parts.iter();
                batch
                    .parts
                    .extend(parts.map(|part| part.moved(start as isize)));
                (unfinished.missing, start + unfinished.position)
            }
            None => match number(input, start, b'*') {
                Ok((0, _)) => {
                    return Step::Over(self.wrong(input, start, "at least one argument"));
                }
                Ok((count, _)) if count > ARGUMENTS_MAX => {
                    return Step::Over(self.wrong(input, start, "at most 2147483647 arguments"));
                }
                Ok(found) => found,
                Err(stop) => return self.stopped(input, stop),
            },
        };
        while missing > 0 {
            match argument(input, start, at) {
                Ok((part, next)) => {
                    batch.parts.push(part);
                    at = next;
                    missing -= 1;
                }
                Err(stop) => {
                    let found = batch.parts.drain(first_part..);
                    let lines = 1 + 2 * found.len() as u64;
                    let parts = found.map(|part| part.moved(-(start as isize))).collect();
                    self.line_reached = self.here.line + lines;
                    self.unfinished = Some(Unfinished {
                        parts,
                        missing,
                        position: at - start,
                    });
                    return self.stopped(input, stop);
                }
            }
        }
        let count = batch.parts.len() - first_part;
        let boundary = boundary(input, &batch.parts[first_part..]);
        let ends_unit = match (boundary, self.transaction) {
            (Boundary::None, open) => open.is_none(),
            (Boundary::Multi, None) => {
                self.transaction = Some(self.here);
                false
            }
            (Boundary::Exec, Some(_)) => {
                self.transaction = None;
                true
            }
            (unpaired, _) => {
                batch.parts.truncate(first_part);
                let expected = match unpaired {
                    Boundary::Multi => "EXEC before another MULTI",
                    _ => "MULTI before EXEC",
                };
                return Step::Over(self.wrong(input, start, expected));
            }
        };
        self.here.line += 1 + 2 * count as u64;
        batch.commands.push(Found {
            first_part: first_part as u32,
            parts: count as u32,
            end: at as u32,
            ends_unit,
        });
        Step::Done(at)
    }

    fn annotation(&mut self, input: &[u8], start: usize, batch: &mut Batch) -> Step {
        let rest = &input[start..];
        let Some(newline) = memchr::memchr(b'\n', &rest[..rest.len().min(ANNOTATION_BYTES_MAX)])
        else {
            if rest.len() < ANNOTATION_BYTES_MAX {
                return Step::More(1);
            }
            let expected = "an annotation of at most 1023 bytes";
            return Step::Over(self.wrong(input, start, expected));
        };
        let line = &rest[..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let (Some(unix_seconds), None) = (timestamp(line), self.transaction) {
            batch.stamps.push(Stamp {
                after_commands: batch.commands.len(),
                byte: self.here.byte,
                unix_seconds,
            });
        }
        self.here.annotation_bytes += newline as u64 + 1;
        Step::Done(start + newline + 1)
    }

    fn stopped(&self, input: &[u8], stop: Stop) -> Step {
        match stop {
            Stop::More(wanted) => Step::More(wanted),
            Stop::Wrong(at, expected) => Step::Over(self.wrong(input, at, expected)),
        }
    }

    /// `at` is a place in the input.
    fn wrong(&self, input: &[u8], at: usize, expected: &'static str) -> Ending {
        let shown = &input[at..input.len().min(at + SHOWN_BYTES_MAX)];
        Ending::Malformed(ScanError {
            byte: self.input_begins + at as u64,
            line: self.line_reached.max(self.here.line),
            expected,
            found: format!("\"{}\"", shown.escape_ascii()),
        })
    }
}

/// One argument: its place, and where the next begins.
fn argument(input: &[u8], start: usize, at: usize) -> Result<(Part, usize), Stop> {
    let (length, data) = number(input, at, b'$')?;
    if length > COMMAND_BYTES_MAX || (data - start) as u64 + length > COMMAND_BYTES_MAX {
        return Err(Stop::Wrong(at, "a command of less than 4 GiB"));
    }
    let end = data + length as usize;
    match input.get(end..end + 2) {
        Some(b"\r\n") => Ok((Part::new(data, length as usize), end + 2)),
        Some(_) => Err(Stop::Wrong(end, "CR LF behind the argument")),
        None if input.get(end).is_some_and(|&byte| byte != b'\r') => {
            Err(Stop::Wrong(end, "CR LF behind the argument"))
        }
        None => Err(Stop::More(end + 2 - input.len())),
    }
}

/// The line at `at`: `prefix`, digits, LF with or without CR. Gives the number and where the next line begins.
fn number(input: &[u8], at: usize, prefix: u8) -> Result<(u64, usize), Stop> {
    let rest = input.get(at..).unwrap_or_default();
    let expected = match prefix {
        b'$' => "'$' and the bytes of the argument",
        _ => "'*' and the number of arguments",
    };
    match rest.first() {
        None => return Err(Stop::More(1)),
        Some(&first) if first != prefix => return Err(Stop::Wrong(at, expected)),
        Some(_) => {}
    }
    let mut value = 0u64;
    let mut index = 1;
    while let Some(&byte) = rest.get(index) {
        if byte.is_ascii_digit() && index <= DIGITS_MAX {
            value = value * 10 + u64::from(byte - b'0');
            index += 1;
            continue;
        }
        return match (byte, rest.get(index + 1)) {
            _ if index == 1 => Err(Stop::Wrong(at, expected)),
            (b'\n', _) => Ok((value, at + index + 1)),
            (b'\r', Some(b'\n')) => Ok((value, at + index + 2)),
            (b'\r', None) => Err(Stop::More(1)),
            _ => Err(Stop::Wrong(at, expected)),
        };
    }
    Err(Stop::More(1))
}

#[derive(Clone, Copy, PartialEq)]
enum Boundary {
    None,
    Multi,
    Exec,
}

fn boundary(input: &[u8], parts: &[Part]) -> Boundary {
    let [_] = parts else {
        return Boundary::None;
    };
    let name = Argv::over(input, parts).get(0);
    if name.eq_ignore_ascii_case(b"MULTI") {
        Boundary::Multi
    } else if name.eq_ignore_ascii_case(b"EXEC") {
        Boundary::Exec
    } else {
        Boundary::None
    }
}

/// The seconds of `#TS:seconds`.
fn timestamp(line: &[u8]) -> Option<i64> {
    let digits = line.strip_prefix(b"#TS:")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

const ARGUMENTS_MAX: u64 = i32::MAX as u64;

/// Places in a command are 32 bits wide.
const COMMAND_BYTES_MAX: u64 = u32::MAX as u64 - 16;

/// No more of an input is looked at in one call.
const INPUT_BYTES_MAX: usize = u32::MAX as usize - 1;

/// The longest `#` line, its newline included.
const ANNOTATION_BYTES_MAX: usize = 1023;

/// More digits than any count or length that is believed, less than a word holds.
const DIGITS_MAX: usize = 12;

/// How much of what was found an error shows.
const SHOWN_BYTES_MAX: usize = 16;

#[cfg(test)]
mod tests;
