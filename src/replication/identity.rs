//! Which history this node tells: its replication id, the one it continued from, and what a promotion keeps.
//!
//! ```text
//! id X   |========================= promoted at offset N =>| id Y ===================>
//! second |                                             X up to N
//! ```
//!
//! Whoever followed X and has not gone beyond N has lived the same past, so a node that now tells Y serves them too. Offsets
//! alone prove it: two histories that share an id are equal byte for byte.
//!
//! Here is also the one rule that decides between a partial and a full sync ([`Identity::decide`]), and every reason it can
//! have, so that logs and INFO can say why.

use std::fmt;

use crate::journal::Window;
use crate::journal::position::{Offset, Position, ReplId};
use crate::random::Random;

/// The id of the stream this node produces or repeats, and the ids it had before, if they are still of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    id: ReplId,
    /// The latest first. Redis knows one, its "second id"; a node that was restarted or promoted more than once while a replica
    /// was away still knows what that replica followed.
    former: Vec<Former>,
    /// Whether a peer can know `id`: it was written into a reply, or came from a master.
    told: bool,
}

/// A history that is ours up to and with `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Former {
    pub id: ReplId,
    pub until: Offset,
    /// Selected in its stream there: whoever goes on in it, and not in ours, does not select again.
    pub stream_db: Option<u32>,
}

impl Identity {
    /// A history of its own, as every process starts with.
    pub fn new(random: &mut Random) -> Self {
        Identity {
            id: ReplId::random(random),
            former: Vec::new(),
            told: false,
        }
    }

    /// Restarted as a replica from a file that says where it stood: the same history goes on.
    pub fn resumed(saved: ReplId) -> Self {
        Identity {
            id: saved,
            former: Vec::new(),
            told: true,
        }
    }

    /// Restarted as a replica that also knows which histories it followed before, the latest first.
    pub fn resumed_with(saved: ReplId, former: Vec<Former>) -> Self {
        let mut identity = Identity::resumed(saved);
        identity.former = former;
        identity.former.retain(|former| former.id != saved);
        identity.former.truncate(FORMER_MAX);
        identity
    }

    /// Restarted as a master from such a file: a new history that continues the saved one, and those before it.
    pub fn continued(saved: Position, former: Vec<Former>, random: &mut Random) -> Self {
        let mut identity = Identity::resumed_with(saved.id, former);
        identity.shift(saved.offset, saved.stream_db, random);
        identity
    }

    pub fn id(&self) -> ReplId {
        self.id
    }

    /// `master_replid2`: forty zeros where there is none.
    pub fn second_id(&self) -> ReplId {
        self.former.first().map_or(ReplId::NONE, |former| former.id)
    }

    /// `second_repl_offset`: the first byte that is not valid under the second id; -1 where there is none.
    pub fn second_offset(&self) -> i64 {
        self.former
            .first()
            .map_or(-1, |former| former.until.next_byte())
    }

    /// Starts a history that nobody can know: the old one has a gap (its backlog was freed, or there never was one).
    pub fn begin(&mut self, random: &mut Random) {
        *self = Identity::new(random);
    }

    /// Promotion at `at`, where the stream has `stream_db` selected: a new id, the old one valid up to here.
    pub fn shift(&mut self, at: Offset, stream_db: Option<u32>, random: &mut Random) {
        self.keep_as_former(at, stream_db);
        self.id = ReplId::random(random);
        self.told = false;
    }

    /// Full sync: the master's history and nothing of ours.
    pub fn adopt(&mut self, id: ReplId) {
        *self = Identity::resumed(id);
    }

    /// `+CONTINUE id` at `at`: the master goes on under another id. Returns whether it is another one, in which case
    /// sub-replicas must reconnect to learn it.
    pub fn continue_as(&mut self, id: ReplId, at: Offset) -> bool {
        self.told = true;
        if id == self.id {
            return false;
        }
        self.keep_as_former(at, None);
        self.former.retain(|former| former.id != id);
        self.id = id;
        true
    }

    fn keep_as_former(&mut self, until: Offset, stream_db: Option<u32>) {
        let former = Former {
            id: self.id,
            until,
            stream_db,
        };
        self.former.insert(0, former);
        self.former.truncate(FORMER_MAX);
    }

    /// The id was given to a peer by other means than [`Identity::decide`]: written into a snapshot or an AOF.
    pub fn mark_told(&mut self) {
        self.told = true;
    }

    /// Where a master stands that is about to follow another one: what it asks that one to continue from. An id that nobody
    /// was ever told is of no use; a node that was promoted, or restarted as a master, and wrote nothing since then names
    /// the history that it continued, which others do know. `stream_db` is what our own stream has selected.
    pub fn position_to_claim(&self, end: Offset, stream_db: Option<u32>) -> Position {
        match self.former.first() {
            Some(second) if !self.told && second.until == end => Position {
                id: second.id,
                offset: end,
                stream_db: second.stream_db,
            },
            _ => Position {
                id: self.id,
                offset: end,
                stream_db,
            },
        }
    }

    /// Whether history `id` up to `until` is our own past.
    pub fn has_lived(&self, id: ReplId, until: Offset) -> bool {
        let mut former = self.former.iter();
        id == self.id || former.any(|former| former.id == id && until <= former.until)
    }

    /// Whether `PSYNC id byte` can be continued from what `window` holds, else why not.
    pub fn decide(&mut self, request: &PsyncRequest, window: Option<Window>) -> Decision {
        self.told = true;
        match self.accept(request, window) {
            Ok(from) => Decision::Continue { id: self.id, from },
            Err(reason) => Decision::Full(reason),
        }
    }

    fn accept(&self, request: &PsyncRequest, window: Option<Window>) -> Result<Offset, FullReason> {
        let wanted = request.byte;
        let id = match request.id {
            RequestedId::Any => return Err(FullReason::Asked),
            RequestedId::Malformed => return Err(FullReason::MalformedId),
            RequestedId::Named(id) => id,
        };
        if id != self.id {
            let former = self.former.iter().find(|former| former.id == id);
            let former = former.ok_or(FullReason::UnknownId { wanted: id })?;
            let second_byte = former.until.next_byte();
            if wanted > second_byte {
                return Err(FullReason::BeyondSecondId {
                    wanted,
                    second_byte,
                });
            }
        }
        let window = window.ok_or(FullReason::NoBacklog { wanted })?;
        match Offset::before_byte(wanted) {
            Some(from) if window.covers(from) => Ok(from),
            Some(from) if from > window.end => Err(FullReason::Ahead { wanted, window }),
            _ => Err(FullReason::TooOld { wanted, window }),
        }
    }
}

/// What a PSYNC asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PsyncRequest {
    pub id: RequestedId,
    /// Number of the first byte wanted; -1 with `?`.
    pub byte: i64,
    /// The third word `FAILOVER`: the receiver is to become the master first.
    pub failover: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedId {
    /// `?`: a full sync is wanted.
    Any,
    Named(ReplId),
    /// Neither: serves as a history that nobody has.
    Malformed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send everything after `from`, under the name `id`.
    Continue {
        id: ReplId,
        from: Offset,
    },
    Full(FullReason),
}

/// Why a full sync and not a partial one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FullReason {
    /// `PSYNC ? -1` or SYNC: the replica has nothing to continue.
    Asked,
    MalformedId,
    UnknownId {
        wanted: ReplId,
    },
    BeyondSecondId {
        wanted: i64,
        second_byte: i64,
    },
    NoBacklog {
        wanted: i64,
    },
    TooOld {
        wanted: i64,
        window: Window,
    },
    Ahead {
        wanted: i64,
        window: Window,
    },
}

impl FullReason {
    /// Every cause as INFO names its counter, in the order of [`FullReason::index`].
    pub const NAMES: [&'static str; 7] = [
        "asked",
        "malformed_id",
        "unknown_id",
        "beyond_second_id",
        "no_backlog",
        "too_old",
        "ahead",
    ];

    pub fn index(&self) -> usize {
        match self {
            FullReason::Asked => 0,
            FullReason::MalformedId => 1,
            FullReason::UnknownId { .. } => 2,
            FullReason::BeyondSecondId { .. } => 3,
            FullReason::NoBacklog { .. } => 4,
            FullReason::TooOld { .. } => 5,
            FullReason::Ahead { .. } => 6,
        }
    }

    /// Whether a partial sync was wanted and refused: what `sync_partial_err` counts.
    pub fn is_refusal(&self) -> bool {
        *self != FullReason::Asked
    }
}

impl fmt::Display for FullReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FullReason::Asked => write!(f, "it has nothing to continue from"),
            FullReason::MalformedId => write!(f, "the id it names is no replication id"),
            FullReason::UnknownId { wanted } => {
                write!(f, "it follows history {wanted}, which is not known here")
            }
            FullReason::BeyondSecondId {
                wanted,
                second_byte,
            } => write!(
                f,
                "it wants byte {wanted} of our former history, which is ours only before byte {second_byte}"
            ),
            FullReason::NoBacklog { wanted } => {
                write!(f, "it wants byte {wanted}, and there is no backlog")
            }
            FullReason::TooOld { wanted, window } => write!(
                f,
                "it wants byte {wanted}, the backlog begins at {} (next is {})",
                window.start.next_byte(),
                window.end.next_byte()
            ),
            FullReason::Ahead { wanted, window } => write!(
                f,
                "it wants byte {wanted}, which is ahead of us: the backlog holds {}, next is {}",
                window.start.next_byte(),
                window.end.next_byte()
            ),
        }
    }
}

/// Former histories that are remembered.
const FORMER_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(letter: u8) -> ReplId {
        ReplId::parse(&[letter; 40]).unwrap()
    }

    fn request(id: ReplId, byte: i64) -> PsyncRequest {
        PsyncRequest {
            id: RequestedId::Named(id),
            byte,
            failover: false,
        }
    }

    #[test]
    fn a_request_is_served_exactly_within_the_window_and_within_the_second_id() {
        let mut random = Random::from_seed(1);
        let (own, former, other) = (id(b'a'), id(b'b'), id(b'c'));
        for until in [90, 100, 105, 110] {
            let mut identity = Identity::resumed(former);
            assert!(identity.continue_as(own, Offset(until)));
            for (start, end) in [(100, 110), (100, 100), (0, 110)] {
                let window = Window {
                    start: Offset(start),
                    end: Offset(end),
                };
                for byte in [i64::MIN, -1, 0, 1, i64::MAX].into_iter().chain(80..120) {
                    let in_window = start < byte && byte <= end + 1;
                    for (name, known) in [
                        (own, true),
                        (former, byte <= until + 1),
                        (other, false),
                        (ReplId::random(&mut random), false),
                    ] {
                        let decision = identity.decide(&request(name, byte), Some(window));
                        let expected = known && in_window;
                        assert_eq!(
                            matches!(decision, Decision::Continue { .. }),
                            expected,
                            "byte {byte} of {name} from {window:?} until {until}: {decision:?}"
                        );
                        if expected {
                            let from = Offset(byte - 1);
                            assert_eq!(decision, Decision::Continue { id: own, from });
                        }
                        let without = identity.decide(&request(name, byte), None);
                        assert!(matches!(without, Decision::Full(_)));
                    }
                }
            }
        }
    }

    #[test]
    fn the_reason_tells_what_was_wanted_and_what_is_served() {
        let mut identity = Identity::resumed(id(b'a'));
        let window = Some(Window {
            start: Offset(4096),
            end: Offset(8192),
        });
        let mut reason = |id, byte, window| {
            let request = PsyncRequest {
                id,
                byte,
                failover: false,
            };
            match identity.decide(&request, window) {
                Decision::Full(reason) => reason,
                other => panic!("{other:?}"),
            }
        };
        let own = RequestedId::Named(id(b'a'));
        assert_eq!(reason(RequestedId::Any, -1, window), FullReason::Asked);
        assert_eq!(
            reason(own, 85, window).to_string(),
            "it wants byte 85, the backlog begins at 4097 (next is 8193)"
        );
        assert_eq!(
            reason(own, 8194, window).to_string(),
            "it wants byte 8194, which is ahead of us: the backlog holds 4097, next is 8193"
        );
        assert_eq!(
            reason(own, 85, None).to_string(),
            "it wants byte 85, and there is no backlog"
        );
        let mut seen: Vec<usize> = [
            reason(RequestedId::Any, -1, window),
            reason(RequestedId::Malformed, 5, window),
            reason(RequestedId::Named(id(b'f')), 5, window),
            reason(own, 85, None),
            reason(own, 85, window),
            reason(own, 9999, window),
        ]
        .iter()
        .map(FullReason::index)
        .collect();
        seen.dedup();
        assert_eq!(seen, [0, 1, 2, 4, 5, 6]);
    }

    #[test]
    fn a_promotion_keeps_the_past_and_a_full_sync_does_not() {
        let mut random = Random::from_seed(3);
        let mut identity = Identity::resumed(id(b'a'));
        identity.shift(Offset(1000), None, &mut random);
        assert_eq!(identity.second_id(), id(b'a'));
        assert_eq!(identity.second_offset(), 1001);
        assert_ne!(identity.id(), id(b'a'));
        identity.adopt(id(b'd'));
        assert_eq!(identity.second_id(), ReplId::NONE);
        assert_eq!(identity.second_offset(), -1);
    }

    #[test]
    fn every_history_that_was_lived_is_continued_up_to_where_it_was_lived() {
        let mut random = Random::from_seed(5);
        let former = Former {
            id: id(b'a'),
            until: Offset(50),
            stream_db: None,
        };
        let saved = Position {
            id: id(b'b'),
            offset: Offset(80),
            stream_db: None,
        };
        let mut identity = Identity::continued(saved, vec![former], &mut random);
        let window = Some(Window {
            start: Offset(10),
            end: Offset(90),
        });
        let mut continues = |id, byte| {
            matches!(
                identity.decide(&request(id, byte), window),
                Decision::Continue { .. }
            )
        };
        assert!(continues(id(b'a'), 51) && !continues(id(b'a'), 52));
        assert!(continues(id(b'b'), 81) && !continues(id(b'b'), 82));
        assert_eq!(identity.second_id(), id(b'b'));
        for _ in 0..20 {
            identity.shift(Offset(90), None, &mut random);
        }
        assert_eq!(identity.former.len(), FORMER_MAX);
    }

    #[test]
    fn continuing_under_the_same_id_changes_nothing() {
        let mut identity = Identity::resumed(id(b'a'));
        assert!(!identity.continue_as(id(b'a'), Offset(7)));
        assert_eq!(identity.second_offset(), -1);
    }

    #[test]
    fn a_restarted_master_that_wrote_nothing_claims_the_history_that_others_know() {
        let mut random = Random::from_seed(4);
        let saved = Position {
            id: id(b'a'),
            offset: Offset(50),
            stream_db: Some(0),
        };
        let mut identity = Identity::continued(saved, Vec::new(), &mut random);
        assert_eq!(identity.second_offset(), 51);
        assert_eq!(identity.position_to_claim(Offset(50), None).id, id(b'a'));
        assert_eq!(
            identity.position_to_claim(Offset(51), None).id,
            identity.id(),
            "it wrote something"
        );
        identity.decide(&request(id(b'a'), 51), None);
        assert_eq!(
            identity.position_to_claim(Offset(50), None).id,
            identity.id(),
            "a replica was told the new id"
        );
    }
}
