//! A write's effect as argv -> bytes of the stream: SELECT when the database changes, MULTI around what belongs together.
//!
//! One execution unit (a command, a transaction, a script, one turn of an active cycle) adds its effects one by one and is
//! then finished by one append. What redis 7.0.15 sends, and so do we:
//!
//! ```text
//! one effect            [SELECT d]  effect
//! two or more           [SELECT d]  MULTI  effect  [SELECT e]  effect  ...  EXEC     (d: database of the first effect)
//! from active cycles    [SELECT d]  effect  [SELECT e]  effect  ...                  (each stands alone)
//! ```
//!
//! The buffer starts with a gap as wide as the longest SELECT and MULTI together. Effects are encoded behind it, and what has
//! to stand in front is only known at the end: it is then written right-aligned into the gap, so that nothing moves.
//!
//! ```text
//! |      gap: ......[SELECT][MULTI]|effect|[SELECT]|effect|EXEC|
//!                   ^ append from here
//! ```
//!
//! Knows what a command looks like on the wire, not what it means: the command chose the argv.

use super::Journal;
use super::position::Offset;

/// Collects the effects of one unit. Lives as long as the engine: its buffer is reused, and it remembers which database the
/// stream has selected.
pub struct Effects {
    buffer: Vec<u8>,
    count: usize,
    /// Selected in the stream by the units finished so far; `None` where the next write must select.
    stream_db: Option<u32>,
    /// Selected once the effects collected so far have run, with the first one's SELECT counted in.
    unit_db: Option<u32>,
    /// The database of the unit's first effect, if that one needs a database.
    first_db: Option<u32>,
}

/// How the effects of a unit stand together in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// All or nothing: MULTI and EXEC around two or more.
    Together,
    /// Each for itself: expirations and evictions of active cycles, and those that SCAN and RANDOMKEY trip over.
    Apart,
}

impl Effects {
    pub fn new() -> Self {
        Effects {
            buffer: vec![0; GAP_BYTES],
            count: 0,
            stream_db: None,
            unit_db: None,
            first_db: None,
        }
    }

    /// The database that the stream has selected behind the last finished unit; `None`: the next write selects.
    pub fn stream_db(&self) -> Option<u32> {
        self.stream_db
    }

    /// Sets what the stream has selected: `None` when a full sync starts or after a promotion, the master's session when a
    /// replica records verbatim.
    pub fn set_stream_db(&mut self, db: Option<u32>) {
        debug_assert_eq!(self.count, 0, "between units only");
        self.stream_db = db;
    }

    /// Whether the unit has no effect so far.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Effects of the unit so far.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Adds an effect in `db`; `None` for commands that mean the same in every database (PING, REPLCONF GETACK).
    pub fn add(&mut self, db: Option<u32>, argv: &[&[u8]]) {
        self.begin(db);
        encode_argv(argv, &mut self.buffer);
    }

    /// Adds an effect from words that are counted but do not stand in one slice.
    pub fn add_words<'w>(
        &mut self,
        db: Option<u32>,
        words: impl ExactSizeIterator<Item = &'w [u8]>,
    ) {
        self.begin(db);
        encode_header(b'*', words.len(), &mut self.buffer);
        for word in words {
            encode_header(b'$', word.len(), &mut self.buffer);
            self.buffer.extend_from_slice(word);
            self.buffer.extend_from_slice(b"\r\n");
        }
    }

    /// Adds an effect that is already a canonical RESP array of bulk strings, as a pipelined request mostly is.
    pub fn add_encoded(&mut self, db: Option<u32>, request: &[u8]) {
        self.begin(db);
        self.buffer.extend_from_slice(request);
    }

    /// Ends the unit with one append, and returns the offset behind it: what WAIT waits for. Nothing is sent for a unit
    /// without effects, and nothing is recorded while nobody listens.
    pub fn finish(&mut self, framing: Framing, journal: &mut Journal) -> Offset {
        if self.count == 0 {
            return journal.end();
        }
        let together = framing == Framing::Together && self.count > 1;
        if together {
            self.buffer.extend_from_slice(EXEC);
        }
        let mut start = GAP_BYTES;
        if together {
            start -= MULTI.len();
            self.buffer[start..start + MULTI.len()].copy_from_slice(MULTI);
        }
        if self.first_db.is_some() && self.first_db != self.stream_db {
            let mut select = Vec::with_capacity(SELECT_BYTES_MAX);
            encode_select(self.first_db.unwrap_or(0), &mut select);
            start -= select.len();
            self.buffer[start..start + select.len()].copy_from_slice(&select);
        }
        if journal.is_active() {
            self.stream_db = self.unit_db.or(self.stream_db);
        }
        let offset = journal.append(&self.buffer[start..]);
        self.clear();
        offset
    }

    /// Forgets the unit's effects.
    pub fn clear(&mut self) {
        self.buffer.truncate(GAP_BYTES);
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.count = 0;
        self.unit_db = None;
        self.first_db = None;
    }

    fn begin(&mut self, db: Option<u32>) {
        if self.count == 0 {
            self.first_db = db;
        } else if db.is_some() && db != self.unit_db.or(self.stream_db) {
            encode_select(db.unwrap_or(0), &mut self.buffer);
        }
        self.unit_db = db.or(self.unit_db);
        self.count += 1;
    }
}

impl Default for Effects {
    fn default() -> Self {
        Self::new()
    }
}

/// `*<n>` and then `$<length>` and the bytes of each word: the one form in which commands travel in the stream.
pub fn encode_argv(argv: &[&[u8]], out: &mut Vec<u8>) {
    encode_header(b'*', argv.len(), out);
    for word in argv {
        encode_header(b'$', word.len(), out);
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn encode_header(kind: u8, number: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn encode_select(db: u32, out: &mut Vec<u8>) {
    encode_argv(&[b"SELECT", itoa::Buffer::new().format(db).as_bytes()], out);
}

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
const SELECT_BYTES_MAX: usize = b"*2\r\n$6\r\nSELECT\r\n$10\r\n4294967295\r\n".len();
const GAP_BYTES: usize = SELECT_BYTES_MAX + MULTI.len();

/// A buffer that a huge value has grown is given back.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Runs units (framing, effects as "db word word" with "-" for no database) and compares the stream's words.
    fn check(units: &[(Framing, &[&str])], expected: &str) {
        let mut journal = Journal::new(Offset(0));
        journal.create_backlog(1 << 20);
        let mut effects = Effects::new();
        for (framing, unit) in units {
            for effect in *unit {
                let mut words = effect.split(' ');
                let db = words.next().unwrap().parse().ok();
                let argv: Vec<&[u8]> = words.map(str::as_bytes).collect();
                effects.add(db, &argv);
            }
            assert_eq!(effects.finish(*framing, &mut journal), journal.end());
        }
        assert_eq!(words(&journal), expected);
    }

    fn words(journal: &Journal) -> String {
        let mut parts: Vec<Bytes> = Vec::new();
        let mut cursor = journal.reader_at(Offset(0)).unwrap();
        cursor.next(usize::MAX, &mut parts).unwrap();
        let text = String::from_utf8(parts.concat()).unwrap();
        let mut lines = text.split("\r\n");
        let mut commands = Vec::new();
        while let Some(header) = lines.next().filter(|line| !line.is_empty()) {
            let count: usize = header.strip_prefix('*').unwrap().parse().unwrap();
            let argv: Vec<&str> = (0..count)
                .map(|_| {
                    let length = lines.next().unwrap().strip_prefix('$').unwrap();
                    let word = lines.next().unwrap();
                    assert_eq!(word.len().to_string(), length);
                    word
                })
                .collect();
            commands.push(argv.join(" "));
        }
        commands.join(" ; ")
    }

    use Framing::{Apart, Together};

    #[test]
    fn a_single_effect_is_bare_and_selects_only_when_the_database_changes() {
        check(
            &[
                (Together, &["0 SET a 1"]),
                (Together, &["0 SET a 2"]),
                (Together, &["3 SET b 1"]),
                (Together, &["0 SET a 3"]),
            ],
            "SELECT 0 ; SET a 1 ; SET a 2 ; SELECT 3 ; SET b 1 ; SELECT 0 ; SET a 3",
        );
    }

    #[test]
    fn a_transaction_selects_in_front_of_multi_and_again_inside() {
        // As redis 7.0.15 sends MULTI ; SET a ; SELECT 3 ; SET b ; SELECT 0 ; SET c ; EXEC.
        check(
            &[
                (Together, &["0 SET a 1", "3 SET b 1", "0 SET c 1"]),
                (Together, &["5 SET d 1", "5 SET e 1"]),
                (Together, &["5 SET d 2"]),
            ],
            "SELECT 0 ; MULTI ; SET a 1 ; SELECT 3 ; SET b 1 ; SELECT 0 ; SET c 1 ; EXEC ; \
             SELECT 5 ; MULTI ; SET d 1 ; SET e 1 ; EXEC ; SET d 2",
        );
    }

    #[test]
    fn active_cycles_stand_apart() {
        check(
            &[(Apart, &["0 DEL a", "0 DEL b", "1 DEL c"])],
            "SELECT 0 ; DEL a ; DEL b ; SELECT 1 ; DEL c",
        );
    }

    #[test]
    fn commands_without_a_database_select_nothing() {
        check(
            &[
                (Together, &["- PING"]),
                (Together, &["- PING", "4 SET a 1", "- PING", "4 SET b 1"]),
                (Together, &["- REPLCONF GETACK *"]),
                (Together, &["4 SET c 1"]),
            ],
            "PING ; MULTI ; PING ; SELECT 4 ; SET a 1 ; PING ; SET b 1 ; EXEC ; REPLCONF GETACK * ; SET c 1",
        );
    }

    #[test]
    fn an_unknown_stream_db_selects_even_the_same_database_again() {
        let mut journal = Journal::new(Offset(0));
        journal.create_backlog(1 << 20);
        let mut effects = Effects::new();
        for _ in 0..2 {
            effects.add(Some(u32::MAX), &[b"SET", b"a", b""]);
            effects.add(Some(u32::MAX), &[b"SET", b"b", b"x"]);
            effects.finish(Together, &mut journal);
            effects.set_stream_db(None);
        }
        let unit = "SELECT 4294967295 ; MULTI ; SET a  ; SET b x ; EXEC";
        assert_eq!(words(&journal), format!("{unit} ; {unit}"));
    }

    #[test]
    fn while_nobody_listens_nothing_is_recorded_and_the_first_recorded_write_selects() {
        let mut journal = Journal::new(Offset(0));
        let mut effects = Effects::new();
        effects.add(Some(0), &[b"SET", b"a", b"1"]);
        assert_eq!(effects.finish(Together, &mut journal), Offset(0));
        assert_eq!(effects.finish(Together, &mut journal), Offset(0));
        journal.create_backlog(1 << 20);
        effects.add(Some(0), &[b"SET", b"b", b"1"]);
        effects.finish(Together, &mut journal);
        assert_eq!(words(&journal), "SELECT 0 ; SET b 1");
    }
}
