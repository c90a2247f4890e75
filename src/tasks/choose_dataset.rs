//! Which of the files that a starting node finds holds the dataset, where there is an AOF and an RDB file as well.
//!
//! Redis with `appendonly yes` looks at nothing but the AOF. That loses data in two ways: where AOF was switched on in the
//! file of a server that had only an RDB file, it starts empty; and where AOF was off for a while, it comes back with what
//! was there before. Here:
//!
//! ```text
//! no AOF, an RDB file                                   the RDB file, which becomes the first base
//! RDB file in the AOF's history, further than its end   the RDB file: it continues what the AOF says
//! RDB file in the AOF's history, not further            the AOF
//! RDB file of no known history, written after the AOF   replica: the RDB file, what is wrong in it PSYNC will say;
//!                                                       master: as `aof-newer-rdb` says; it refuses to start by default
//! an AOF that says nothing about its history            the AOF (redis-server wrote it; its RDB file is always the newer)
//! ```
//!
//! A pure decision: knows no files, only what was seen of them.

use crate::config::values::NewerRdb;
use crate::journal::position::{Position, ReplId};

/// What was seen of an AOF before it is loaded.
#[derive(Clone, Debug, Default)]
pub struct AofSeen {
    /// Histories that its files belong to; none where their writer did not say.
    pub ids: Vec<ReplId>,
    /// Where it ends at most: the tail may turn out torn.
    pub end: Option<Position>,
    /// When the last of its files was written to, in milliseconds since 1970.
    pub modified_ms: i64,
}

/// What was seen of an RDB file before it is loaded.
#[derive(Clone, Copy, Debug)]
pub struct RdbSeen {
    pub position: Option<Position>,
    pub modified_ms: i64,
}

/// What to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Aof,
    /// Why not the AOF.
    Rdb(String),
    /// Why neither.
    Refuse(String),
}

/// Decides between the two.
pub fn choose(aof: &AofSeen, rdb: RdbSeen, is_replica: bool, wish: NewerRdb) -> Verdict {
    let Some(end) = aof.end else {
        return Verdict::Aof;
    };
    let position = rdb.position;
    if let Some(position) = position.filter(|position| aof.ids.contains(&position.id)) {
        if position.id != end.id || position.offset <= end.offset {
            return Verdict::Aof;
        }
        return match wish {
            NewerRdb::Ignore => Verdict::Aof,
            _ => Verdict::Rdb(format!(
                "it continues the AOF's history {}: it stands at offset {}, the AOF ends at {}",
                position.id, position.offset, end.offset
            )),
        };
    }
    if rdb.modified_ms <= aof.modified_ms {
        return Verdict::Aof;
    }
    let newer = format!(
        "it was written {:.1} seconds after the AOF and does not belong to its history",
        (rdb.modified_ms - aof.modified_ms) as f64 / 1000.0
    );
    match wish {
        NewerRdb::Ignore => Verdict::Aof,
        NewerRdb::Load => Verdict::Rdb(newer),
        NewerRdb::Refuse if is_replica && position.is_some() => Verdict::Rdb(newer),
        NewerRdb::Refuse => Verdict::Refuse(newer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::position::Offset;

    fn at(letter: u8, offset: i64) -> Position {
        Position {
            id: ReplId::parse(&[letter; 40]).expect("forty digits"),
            offset: Offset(offset),
            stream_db: None,
        }
    }

    /// An AOF of histories a and b that ends at b 100 and was last written to at 5000 ms.
    fn aof() -> AofSeen {
        AofSeen {
            ids: vec![at(b'a', 0).id, at(b'b', 0).id],
            end: Some(at(b'b', 100)),
            modified_ms: 5000,
        }
    }

    fn verdict(position: Option<Position>, modified_ms: i64, replica: bool, wish: NewerRdb) -> u8 {
        let rdb = RdbSeen {
            position,
            modified_ms,
        };
        match choose(&aof(), rdb, replica, wish) {
            Verdict::Aof => b'A',
            Verdict::Rdb(_) => b'R',
            Verdict::Refuse(_) => b'-',
        }
    }

    #[test]
    fn within_one_history_the_offset_decides_and_not_the_clock() {
        use NewerRdb::{Ignore, Refuse};
        for modified in [0, 9000] {
            assert_eq!(verdict(Some(at(b'b', 100)), modified, false, Refuse), b'A');
            assert_eq!(verdict(Some(at(b'b', 101)), modified, false, Refuse), b'R');
            assert_eq!(verdict(Some(at(b'b', 101)), modified, false, Ignore), b'A');
            assert_eq!(verdict(Some(at(b'a', 900)), modified, false, Refuse), b'A');
        }
    }

    #[test]
    fn a_file_of_another_history_counts_if_it_is_newer_and_is_never_ignored_in_silence() {
        use NewerRdb::{Ignore, Load, Refuse};
        for position in [None, Some(at(b'c', 5))] {
            assert_eq!(verdict(position, 5000, false, Refuse), b'A');
            assert_eq!(verdict(position, 5001, false, Refuse), b'-');
            assert_eq!(verdict(position, 5001, false, Load), b'R');
            assert_eq!(verdict(position, 5001, false, Ignore), b'A');
        }
        assert_eq!(verdict(Some(at(b'c', 5)), 5001, true, Refuse), b'R');
        assert_eq!(verdict(None, 5001, true, Refuse), b'-');
    }

    #[test]
    fn an_aof_without_a_history_is_loaded_whatever_the_clock_says() {
        let rdb = RdbSeen {
            position: Some(at(b'c', 5)),
            modified_ms: 9000,
        };
        let seen = AofSeen {
            end: None,
            ids: Vec::new(),
            ..aof()
        };
        assert_eq!(choose(&seen, rdb, false, NewerRdb::Refuse), Verdict::Aof);
    }
}
