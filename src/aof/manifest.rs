//! The manifest: which files make up the set, and what we know about each.
//!
//! Source: `F.manifest` of Redis 7 (lines `file NAME seq N type b|h|i`, further keys allowed). Ours, passed over by Redis's
//! loader: `replid` (history of the file's bytes), `startoffset` and `endoffset` (as Redis 8 calls them; a base has only the
//! first: where its dataset stands), `startdb` (the database selected there), `prelude` (bytes at the head of a segment that
//! are not of the journal), `annotated` (the segment holds `#` lines, which are not of the journal either), `crc64` (CRC-64/XZ
//! of a closed file's bytes, as `crc64fast` computes it, 16 hexadecimal digits).
//!
//! Invariants: what is formatted parses back to the same manifest; a manifest is on disk whole or not at all. Lines of
//! others are taken as Redis takes them, and refused in its words. A value of one of our own keys is never a reason to
//! refuse: what cannot be right is not believed, and a warning says so.

use std::fmt;
use std::io::{self, IoSlice};

use crate::config::words;
use crate::journal::position::{Offset, ReplId};

use super::crc;
use super::disk::Disk;
use super::names::{Names, SEQ_MAX};

/// The file set. Sequence numbers never go down, also when files go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub base: Option<FileLine>,
    /// Not loaded any more; ours may still feed replicas. In the order of their offsets.
    pub history: Vec<FileLine>,
    /// In the order in which they are loaded. Only the last may be open.
    pub segments: Vec<FileLine>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLine {
    /// Without directory.
    pub name: String,
    /// From 1; bases and segments are counted apart.
    pub seq: u64,
    pub facts: Facts,
    /// Keys that we do not know, kept as they were.
    pub unknown: Vec<(String, String)>,
}

/// What Sluice knows of a file; nothing of those that others have written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub id: Option<ReplId>,
    pub start: Option<Offset>,
    /// Of a closed segment.
    pub end: Option<Offset>,
    /// The database that the stream has selected at `start`; none if the next write selects.
    pub start_db: Option<u32>,
    pub prelude_bytes: u64,
    pub annotated: bool,
    /// Of a closed file.
    pub crc64: Option<u64>,
}

/// The letters of the file types, as they stand in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Base,
    History,
    Segment,
}

/// A manifest as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    pub manifest: Manifest,
    /// Facts that were not believed, one sentence each.
    pub warnings: Vec<String>,
}

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// From 1; none if it is about the whole.
    pub line: Option<u64>,
    pub reason: Reason,
    /// The line, shortened where it is long.
    pub text: String,
}

/// The reasons of Redis, and two of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Empty,
    TooLong,
    Format,
    IsPath,
    SecondBase,
    UnknownType,
    SequenceOrder,
    NotText,
    TooLarge,
}

/// Why a manifest could not be replaced or read.
#[derive(Debug)]
pub enum FileError {
    /// What was being done, to which file.
    Io {
        action: &'static str,
        name: String,
        cause: io::Error,
    },
    Refused(ManifestError),
    /// This file's line would be longer than readers take.
    LineTooLong(String),
}

impl Manifest {
    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// What Redis refuses, with its reasons; names that are not UTF-8.
    pub fn parse(text: &[u8]) -> Result<Parsed, ManifestError> {
        if text.is_empty() {
            return Err(ManifestError::new(None, Reason::Empty, b""));
        }
        let mut parsed = Parsed::default();
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let newline = memchr::memchr(b'\n', rest);
            let line = &rest[..newline.unwrap_or(rest.len())];
            rest = &rest[newline.map_or(rest.len(), |newline| newline + 1)..];
            if line.first() == Some(&b'#') {
                continue;
            }
            let refuse = |reason| ManifestError::new(Some(number), reason, line);
            if newline.is_none() || line.len() > LINE_BYTES_MAX {
                return Err(refuse(Reason::TooLong));
            }
            let (kind, line) = parse_line(line, number, &mut parsed.warnings).map_err(refuse)?;
            parsed.manifest.add(kind, line).map_err(refuse)?;
        }
        Ok(parsed)
    }

    fn add(&mut self, kind: Kind, line: FileLine) -> Result<(), Reason> {
        match kind {
            Kind::Base if self.base.is_some() => return Err(Reason::SecondBase),
            Kind::Base => self.base = Some(line),
            Kind::History => self.history.push(line),
            Kind::Segment => {
                if self
                    .segments
                    .last()
                    .is_some_and(|last| last.seq >= line.seq)
                {
                    return Err(Reason::SequenceOrder);
                }
                self.segments.push(line);
            }
        }
        Ok(())
    }

    /// The text, in the order of Redis: base, history, segments. One without files is a comment, for readers refuse an
    /// empty file.
    ///
    /// # Errors
    /// The name of a file whose line would be longer than readers take.
    pub fn format(&self) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        for (kind, line) in self.lines() {
            let start = text.len();
            line.format_into(kind, &mut text);
            if text.len() - start > LINE_BYTES_MAX {
                return Err(line.name.clone());
            }
            text.push(b'\n');
        }
        if text.is_empty() {
            text.extend_from_slice(b"# no files\n");
        }
        Ok(text)
    }

    /// All lines in the order in which they are written.
    pub fn lines(&self) -> impl Iterator<Item = (Kind, &FileLine)> {
        let base = self.base.iter().map(|line| (Kind::Base, line));
        let history = self.history.iter().map(|line| (Kind::History, line));
        let segments = self.segments.iter().map(|line| (Kind::Segment, line));
        base.chain(history).chain(segments)
    }

    /// Whether nothing is to be loaded.
    pub fn names_nothing_to_load(&self) -> bool {
        self.base.is_none() && self.segments.is_empty()
    }
}

impl FileLine {
    /// A line without facts.
    pub fn new(name: String, seq: u64) -> Self {
        FileLine {
            name,
            seq,
            facts: Facts::default(),
            unknown: Vec::new(),
        }
    }

    fn format_into(&self, kind: Kind, text: &mut Vec<u8>) {
        let facts = &self.facts;
        text.extend_from_slice(b"file ");
        text.extend(words::quoted_if_needed(self.name.as_bytes()));
        text.extend(format!(" seq {} type {}", self.seq, kind.letter()).bytes());
        let mut fact = |key: &str, value: String| text.extend(format!(" {key} {value}").bytes());
        if let Some(id) = facts.id {
            fact("replid", id.to_string());
        }
        if let Some(start) = facts.start {
            fact("startoffset", start.to_string());
        }
        if let Some(end) = facts.end {
            fact("endoffset", end.to_string());
        }
        if let Some(db) = facts.start_db {
            fact("startdb", db.to_string());
        }
        if facts.prelude_bytes > 0 {
            fact("prelude", facts.prelude_bytes.to_string());
        }
        if facts.annotated {
            fact("annotated", "yes".to_owned());
        }
        if let Some(value) = facts.crc64 {
            fact("crc64", crc::digits(value));
        }
        for word in self.unknown.iter().flat_map(|(key, value)| [key, value]) {
            text.push(b' ');
            text.extend(words::quoted_if_needed(word.as_bytes()));
        }
    }
}

impl Facts {
    /// How long a closed file is that holds nothing but prelude and journal; none where that cannot be told.
    pub fn closed_bytes(&self) -> Option<u64> {
        let (start, end) = (self.start?, self.end?);
        (!self.annotated).then(|| self.prelude_bytes + end.since(start))
    }

    /// The offset at the end of a file of `bytes` bytes; none where that cannot be told by its length.
    pub fn end_of(&self, bytes: u64) -> Option<Offset> {
        let journal_bytes = bytes.checked_sub(self.prelude_bytes)?;
        let end = self.start?.0.checked_add_unsigned(journal_bytes)?;
        (!self.annotated && end <= Offset::MAX.0).then_some(Offset(end))
    }

    /// What is left where the history is unknown: what the file alone says.
    pub fn forget_history(&mut self) {
        (self.id, self.start, self.end, self.start_db) = (None, None, None, None);
    }
}

impl Kind {
    pub fn letter(self) -> char {
        match self {
            Kind::Base => 'b',
            Kind::History => 'h',
            Kind::Segment => 'i',
        }
    }

    fn of(word: &[u8]) -> Result<Self, Reason> {
        // Redis looks no further than the first letter.
        match word.first() {
            Some(b'b') => Ok(Kind::Base),
            Some(b'h') => Ok(Kind::History),
            Some(b'i') => Ok(Kind::Segment),
            _ => Err(Reason::UnknownType),
        }
    }
}

/// A line without its newline.
fn parse_line(
    line: &[u8],
    number: u64,
    warnings: &mut Vec<String>,
) -> Result<(Kind, FileLine), Reason> {
    let words = words::split(line).ok_or(Reason::Format)?;
    if words.len() < 6 || words.len() % 2 == 1 {
        return Err(Reason::Format);
    }
    let (mut name, mut seq, mut kind) = (None, None, None);
    let mut ours = Ours::default();
    let mut unknown = Vec::new();
    for pair in words.chunks_exact(2) {
        let [key, value] = pair else {
            return Err(Reason::Format);
        };
        match key.to_ascii_lowercase().as_slice() {
            b"file" => name = Some(parse_name(value)?),
            b"seq" => seq = Some(parse_seq(value)?),
            b"type" => kind = Some(Kind::of(value)?),
            other => match (std::str::from_utf8(key), std::str::from_utf8(value)) {
                (Ok(key), Ok(value)) => {
                    if !ours.take(other, value) {
                        unknown.push((key.to_owned(), value.to_owned()));
                    }
                }
                _ => ours.doubts.push("a key or value is not text".to_owned()),
            },
        }
    }
    let (Some(name), Some(seq), Some(kind)) = (name, seq, kind) else {
        return Err(Reason::Format);
    };
    let (facts, doubts) = ours.believe(kind);
    warnings.extend(
        doubts
            .into_iter()
            .map(|doubt| format!("manifest line {number}, {name}: {doubt}")),
    );
    let line = FileLine {
        name,
        seq,
        facts,
        unknown,
    };
    Ok((kind, line))
}

fn parse_name(word: &[u8]) -> Result<String, Reason> {
    let name = std::str::from_utf8(word).map_err(|_| Reason::NotText)?;
    if name.contains(['/', '\\']) || matches!(name, "." | "..") {
        return Err(Reason::IsPath);
    }
    // A name with NUL can be no file; an empty one would be the directory.
    if name.is_empty() || name.contains('\0') {
        return Err(Reason::Format);
    }
    Ok(name.to_owned())
}

fn parse_seq(word: &[u8]) -> Result<u64, Reason> {
    let number = decimal(word).filter(|number| (1..=SEQ_MAX).contains(number));
    number.ok_or(Reason::Format)
}

/// Digits and nothing else.
fn decimal(word: &[u8]) -> Option<u64> {
    if !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Values of our keys as they come, and what speaks against them.
#[derive(Default)]
struct Ours {
    facts: Facts,
    seen: Vec<&'static str>,
    doubts: Vec<String>,
    /// Places in the file cannot be told from offsets.
    is_shifted: bool,
}

impl Ours {
    /// Notes one pair; false if the key is none of ours.
    fn take(&mut self, key: &[u8], value: &str) -> bool {
        let Some(&key) = KEYS.iter().find(|known| known.as_bytes() == key) else {
            return false;
        };
        if self.seen.contains(&key) {
            self.doubt(key, "it stands there twice");
            return true;
        }
        self.seen.push(key);
        let facts = &mut self.facts;
        let believed = match key {
            "replid" => set(&mut facts.id, ReplId::parse(value.as_bytes())),
            "startoffset" => set(&mut facts.start, Offset::parse(value.as_bytes())),
            "endoffset" => set(&mut facts.end, Offset::parse(value.as_bytes())),
            "startdb" => {
                let db = decimal(value.as_bytes()).and_then(|db| u32::try_from(db).ok());
                set(&mut facts.start_db, db.filter(|&db| db < DATABASES_MAX))
            }
            "crc64" => set(&mut facts.crc64, crc::parse_digits(value)),
            "prelude" => match decimal(value.as_bytes()) {
                Some(bytes) if bytes <= PRELUDE_BYTES_MAX => {
                    facts.prelude_bytes = bytes;
                    true
                }
                _ => false,
            },
            // Whoever says `no` means what leaving it out means.
            _ => match value {
                "yes" => {
                    facts.annotated = true;
                    true
                }
                "no" => true,
                _ => false,
            },
        };
        if !believed {
            let found: String = value.escape_debug().take(60).collect();
            self.doubt(key, &format!("it cannot be \"{found}\""));
        }
        true
    }

    fn doubt(&mut self, key: &'static str, why: &str) {
        self.doubts.push(format!("{key} is not believed: {why}"));
        match key {
            "replid" => self.facts.id = None,
            "startoffset" => self.facts.start = None,
            "endoffset" => self.facts.end = None,
            "startdb" => self.facts.start_db = None,
            "crc64" => self.facts.crc64 = None,
            _ => self.is_shifted = true,
        }
    }

    /// The facts that agree with each other.
    fn believe(mut self, kind: Kind) -> (Facts, Vec<String>) {
        if self.is_shifted {
            self.facts = Facts {
                crc64: self.facts.crc64,
                ..Facts::default()
            };
        }
        let facts = &self.facts;
        match (facts.start, facts.end) {
            (Some(start), Some(end)) if end < start => {
                self.doubt("startoffset", "it is behind endoffset");
                self.doubt("endoffset", "it is before startoffset");
            }
            (None, Some(_)) if kind != Kind::Base => {
                self.doubt("endoffset", "there is no startoffset");
            }
            (_, Some(_)) if kind == Kind::Base => self.doubt("endoffset", "a base has none"),
            _ => {}
        }
        (self.facts, self.doubts)
    }
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    *place = value;
    place.is_some()
}

const KEYS: [&str; 7] = [
    "replid",
    "startoffset",
    "endoffset",
    "startdb",
    "prelude",
    "annotated",
    "crc64",
];

/// The longest line, its newline not counted.
pub const LINE_BYTES_MAX: usize = 1023;

/// A prelude is one SELECT; there is room for a few more commands.
pub const PRELUDE_BYTES_MAX: u64 = 4096;

/// No server has more databases.
const DATABASES_MAX: u32 = i32::MAX as u32;

/// More than any set needs: 60000 files with all facts.
const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads the manifest of a set; `None` where there is none.
///
/// # Errors
/// What the disk says, and what [`Manifest::parse`] refuses.
pub fn read(disk: &dyn Disk, names: &Names) -> Result<Option<Parsed>, FileError> {
    let name = names.manifest();
    let failed = |action| FileError::io(action, &name);
    let file = match disk.open(&names.path(&name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open"))?,
    };
    let length = file.length().map_err(failed("read"))?;
    if length > MANIFEST_BYTES_MAX {
        let error = ManifestError::new(None, Reason::TooLarge, b"");
        return Err(FileError::Refused(error));
    }
    let mut text = vec![0; length as usize];
    let mut filled = 0;
    while filled < text.len() {
        match file.read_at(&mut text[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("read")(error)),
        }
    }
    text.truncate(filled);
    Manifest::parse(&text).map(Some).map_err(FileError::Refused)
}

/// Puts `manifest` in the place of the one on disk: written under another name, synced, renamed, the directory synced. When
/// this returns well, it is the one that a restart finds; when not, a restart finds the old one or this one.
///
/// # Errors
/// What the disk says, and a line that would be too long.
pub fn replace(disk: &dyn Disk, names: &Names, manifest: &Manifest) -> Result<(), FileError> {
    let text = manifest.format().map_err(FileError::LineTooLong)?;
    let (temp, name) = (names.temp_manifest(), names.manifest());
    let (temp_path, path) = (names.path(&temp), names.path(&name));
    let failed = |action| FileError::io(action, &temp);
    let mut file = disk.create(&temp_path).map_err(failed("create"))?;
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        match file.write(&[IoSlice::new(rest)]) {
            Ok(0) => return Err(failed("write")(io::ErrorKind::WriteZero.into())),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("write")(error)),
        }
    }
    file.sync().map_err(failed("sync"))?;
    drop(file);
    disk.rename(&temp_path, &path)
        .map_err(FileError::io("rename to", &name))?;
    disk.sync_directory(names.directory())
        .map_err(FileError::io("sync the directory of", &name))
}

impl ManifestError {
    fn new(line: Option<u64>, reason: Reason, text: &[u8]) -> Self {
        let text = text.escape_ascii().take(SHOWN_BYTES_MAX);
        ManifestError {
            line,
            reason,
            text: text.map(char::from).collect(),
        }
    }
}

const SHOWN_BYTES_MAX: usize = 200;

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.text())?;
        if let Some(line) = self.line {
            write!(f, ", at line {line}: '{}'", self.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestError {}

impl Reason {
    /// In the words of Redis where it has some.
    pub fn text(self) -> &'static str {
        match self {
            Reason::Empty => "Found an empty AOF manifest",
            Reason::TooLong => "The AOF manifest file contains too long line",
            Reason::Format => "Invalid AOF manifest file format",
            Reason::IsPath => "File can't be a path, just a filename",
            Reason::SecondBase => "Found duplicate base file information",
            Reason::UnknownType => "Unknown AOF file type",
            Reason::SequenceOrder => "Found a non-monotonic sequence number",
            Reason::NotText => "The name of a file is not UTF-8",
            Reason::TooLarge => "The AOF manifest is larger than 16 MiB",
        }
    }
}

impl FileError {
    fn io(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> FileError + use<> {
        let name = name.to_owned();
        move |cause| FileError::Io {
            action,
            name,
            cause,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Io {
                action,
                name,
                cause,
            } => write!(f, "{action} {name}: {cause}"),
            FileError::Refused(error) => error.fmt(f),
            FileError::LineTooLong(name) => write!(
                f,
                "the manifest's line for {name} would be longer than {LINE_BYTES_MAX} bytes"
            ),
        }
    }
}

impl std::error::Error for FileError {}

#[cfg(test)]
mod tests;
