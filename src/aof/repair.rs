//! What becomes of a file that does not end as it should: decided here, done by others, and later.
//!
//! Pure functions of what a scan has found. Invariants: only the last file that holds bytes is ever cut, and always before an
//! open MULTI, because what is written behind one is thrown away with it at the next start; no file is cut before it is
//! certain that all others load.

use super::manifest::Facts;
use super::scan::{Ending, Outcome};

/// The settings that decide.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// `aof-load-truncated`.
    pub load_truncated: bool,
    /// `aof-load-corrupt-tail-max-size`; 0 for never.
    pub corrupt_tail_bytes_max: u64,
}

/// What is to be done with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is right.
    Load,
    /// Only what stands before this byte: the rest is to be cut off once everything else is loaded. Files behind this one
    /// hold no bytes, and leave the set.
    Cut { to: u64, reason: String },
    /// The server must not start with it.
    Refuse { reason: String },
}

/// The verdict over a file named `name`; `is_last` as in [`super::set::FileToLoad`].
pub fn decide(name: &str, outcome: &Outcome, is_last: bool, policy: Policy) -> Verdict {
    let good = outcome.good.byte;
    let tail = outcome.bytes.saturating_sub(good);
    let what = match &outcome.ending {
        Ending::Whole => return Verdict::Load,
        Ending::Torn { begins } => format!("the command at byte {begins} is not complete"),
        Ending::OpenTransaction { begins } => {
            format!("the transaction at byte {begins} has no EXEC")
        }
        Ending::Malformed(error) => {
            let bad = format!("Bad file format reading the append only file {name}: {error}");
            if is_last && tail <= policy.corrupt_tail_bytes_max {
                let reason = format!("{bad}; the {tail} bytes behind byte {good} are cut off");
                return Verdict::Cut { to: good, reason };
            }
            let hint = match is_last {
                true => format!(
                    "make a copy, then use sluice check-aof --fix, which would cut off {tail} bytes, or set \
                     aof-load-corrupt-tail-max-size to at least that"
                ),
                false => "other files follow, so that it cannot be cut".to_owned(),
            };
            let reason = format!("{bad}; {hint}");
            return Verdict::Refuse { reason };
        }
    };
    let end = format!("Unexpected end of file reading the append only file {name}: {what}");
    match (is_last, policy.load_truncated) {
        (false, _) => Verdict::Refuse {
            reason: format!("{end}, and other files follow, so that it cannot be cut"),
        },
        (true, false) => Verdict::Refuse {
            reason: format!(
                "{end}; make a copy, then use sluice check-aof --fix, or set aof-load-truncated to yes"
            ),
        },
        (true, true) => Verdict::Cut {
            to: good,
            reason: format!("{end}; the {tail} bytes behind byte {good} are cut off"),
        },
    }
}

/// What a file's bytes say about what was noted when it was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It was not closed, or nothing was noted.
    Unknown,
    /// It is what it was.
    Intact,
    /// Others have written behind its end, or have cut it: its bytes may be loaded, but where they end is not what was noted.
    Changed { reason: String },
    /// Its bytes are not those that were written.
    Damaged { reason: String },
}

/// How many bytes of the file the checksum in its facts stands for, if it is known.
pub fn checksum_bytes(facts: &Facts) -> Option<u64> {
    facts.crc64?;
    facts.closed_bytes()
}

/// Compares a file of `bytes` bytes with the facts of its closing. `crc64` is the checksum of its first
/// [`checksum_bytes`], or of all where that is not known; none if the file is shorter.
pub fn closing(
    name: &str,
    facts: &Facts,
    bytes: u64,
    crc64: Option<u64>,
    is_last: bool,
) -> Closing {
    let Some(expected) = facts.crc64 else {
        return Closing::Unknown;
    };
    let noted = facts.closed_bytes();
    if crc64.is_some_and(|crc64| crc64 != expected) {
        let found = super::crc::digits(crc64.unwrap_or_default());
        let expected = super::crc::digits(expected);
        let reason = format!(
            "{name} is damaged: the checksum of its {} bytes is {found}, but was {expected} when it was closed",
            noted.unwrap_or(bytes)
        );
        return Closing::Damaged { reason };
    }
    match noted {
        Some(noted) if noted != bytes => {
            let reason = format!("{name} has {bytes} bytes, but had {noted} when it was closed");
            match is_last {
                true => Closing::Changed { reason },
                false => Closing::Damaged { reason },
            }
        }
        _ => Closing::Intact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aof::crc::Crc;
    use crate::aof::scan::{Batch, Scanner};
    use crate::journal::position::Offset;

    const SET: &[u8] = b"*2\r\n$3\r\nDEL\r\n$1\r\na\r\n";
    const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

    fn verdict(file: &[u8], is_last: bool, load_truncated: bool, tail: u64) -> Verdict {
        let mut scanner = Scanner::new(0, file.len() as u64);
        scanner.scan(file, &mut Batch::default());
        let policy = Policy {
            load_truncated,
            corrupt_tail_bytes_max: tail,
        };
        decide("f", &scanner.outcome(), is_last, policy)
    }

    fn cut_to(verdict: &Verdict) -> Option<u64> {
        match verdict {
            Verdict::Cut { to, .. } => Some(*to),
            _ => None,
        }
    }

    #[test]
    fn a_torn_end_is_cut_in_the_last_file_and_before_an_open_transaction() {
        let torn = [SET, b"*2\r\n$3\r\nDE"].concat();
        let open = [SET, MULTI, SET].concat();
        let torn_inside = [SET, MULTI, SET, b"*2\r"].concat();
        for file in [&torn, &open, &torn_inside] {
            assert_eq!(cut_to(&verdict(file, true, true, 0)), Some(20));
            for refused in [
                verdict(file, true, false, 100),
                verdict(file, false, true, 100),
            ] {
                let Verdict::Refuse { reason } = refused else {
                    panic!("{refused:?}");
                };
                assert!(
                    reason.starts_with("Unexpected end of file reading the append only file f: ")
                );
            }
        }
        assert_eq!(verdict(SET, false, false, 0), Verdict::Load);
        assert_eq!(verdict(b"", true, false, 0), Verdict::Load);
    }

    #[test]
    fn what_is_no_aof_is_cut_only_where_the_settings_say_so() {
        let zeros = [SET, MULTI, SET, &[0; 10]].concat();
        for (is_last, tail, cut) in [
            (true, 45, Some(20)),
            (true, 44, None),
            (true, 0, None),
            (false, 1000, None),
        ] {
            let verdict = verdict(&zeros, is_last, true, tail);
            assert_eq!(cut_to(&verdict), cut);
            if let Verdict::Refuse { reason } = verdict {
                assert!(reason.contains(
                    "Bad file format reading the append only file f: byte 55 (line 14): expected '*' or '#'"
                ));
            }
        }
    }

    #[test]
    fn a_closed_file_is_compared_with_what_was_noted() {
        let facts = Facts {
            start: Some(Offset(100)),
            end: Some(Offset(120)),
            crc64: Some(Crc::of(SET)),
            ..Facts::default()
        };
        assert_eq!(checksum_bytes(&facts), Some(20));
        let good = facts.crc64;
        assert_eq!(closing("f", &facts, 20, good, false), Closing::Intact);
        let Closing::Damaged { reason } = closing("f", &facts, 20, Some(1), true) else {
            panic!("the checksum differs");
        };
        assert!(reason.starts_with(
            "f is damaged: the checksum of its 20 bytes is 0000000000000001, but was "
        ));
        // Others have written to the last file, or have cut it.
        for (bytes, crc64) in [(30, good), (10, None)] {
            assert!(matches!(
                closing("f", &facts, bytes, crc64, true),
                Closing::Changed { .. }
            ));
            assert!(matches!(
                closing("f", &facts, bytes, crc64, false),
                Closing::Damaged { .. }
            ));
        }
        let none = Facts::default();
        assert_eq!(closing("f", &none, 20, None, false), Closing::Unknown);
    }
}
