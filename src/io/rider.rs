//! One of the sockets that share a snapshot's bytes: what it gets before and after them, where it stands, how it ends.
//!
//! Invariants: bytes go out in the order prefix, pieces, suffix, each once; a rider's piece is never before the window.
//! Decides nothing: limits and fates are the sink's.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use super::socket::Socket;

/// Who gets the bytes.
pub struct Passenger {
    /// The caller's name for it, returned with its fate.
    pub id: u64,
    /// Non-blocking and in no reactor.
    pub socket: Socket,
    /// Sent before the bytes: `$EOF:<mark>\r\n`.
    pub prefix: Bytes,
    /// Sent after the last byte: the mark.
    pub suffix: Bytes,
}

/// How it ended for one rider.
pub enum Fate {
    /// Has everything; its socket may go back to a reactor.
    Done {
        id: u64,
        socket: Socket,
        bytes_sent: u64,
    },
    /// Its socket is closed.
    Dropped {
        id: u64,
        bytes_sent: u64,
        reason: DropReason,
    },
}

impl Fate {
    pub fn bytes_sent(&self) -> u64 {
        match self {
            Fate::Done { bytes_sent, .. } | Fate::Dropped { bytes_sent, .. } => *bytes_sent,
        }
    }
}

#[derive(Debug)]
pub enum DropReason {
    /// The peer closed the connection.
    Closed,
    /// Writing failed.
    Failed(io::Error),
    /// Took no byte for this long.
    Silent(Duration),
    /// Made the others wait this long.
    HeldBack(Duration),
    /// Asked for through the sink's brake.
    Cancelled,
    /// The snapshot itself failed.
    Abandoned(String),
}

impl fmt::Display for DropReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DropReason::Closed => write!(out, "closed by the peer"),
            DropReason::Failed(error) => error.fmt(out),
            DropReason::Silent(time) => write!(out, "took no byte for {} ms", time.as_millis()),
            DropReason::HeldBack(time) => {
                write!(out, "kept the others waiting for {} ms", time.as_millis())
            }
            DropReason::Cancelled => write!(out, "cancelled"),
            DropReason::Abandoned(reason) => write!(out, "the snapshot failed: {reason}"),
        }
    }
}

/// Ends a transfer, or one rider's part in it, from another thread; heard within a tenth of a second.
#[derive(Clone, Default)]
pub struct Brake(Arc<Mutex<Pulled>>);

#[derive(Default)]
struct Pulled {
    all: bool,
    riders: Vec<u64>,
}

impl Brake {
    pub fn drop_rider(&self, id: u64) {
        let mut pulled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A second call for the same rider adds nothing, so the list is no longer than the riders are many.
        if !pulled.riders.contains(&id) {
            pulled.riders.push(id);
        }
    }

    pub fn cancel(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all = true;
    }

    /// Whether all shall end, and who shall besides.
    pub(super) fn take(&self) -> (bool, Vec<u64>) {
        let mut pulled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (pulled.all, std::mem::take(&mut pulled.riders))
    }
}

/// A passenger under way.
pub(super) struct Rider {
    pub passenger: Passenger,
    prefix_sent: usize,
    suffix_sent: usize,
    /// The number of the piece that it is in, and how many bytes of that it has.
    pub piece: u64,
    within: usize,
    /// Prefix and suffix included.
    pub bytes_sent: u64,
    /// When it last took a byte, or had none to take.
    pub took_last: Duration,
    pub held_back: Duration,
}

impl Rider {
    pub fn new(passenger: Passenger, now: Duration) -> Self {
        Rider {
            passenger,
            prefix_sent: 0,
            suffix_sent: 0,
            piece: 0,
            within: 0,
            bytes_sent: 0,
            took_last: now,
            held_back: Duration::ZERO,
        }
    }

    pub fn has_more(&self, window: &Window, complete: bool) -> bool {
        self.prefix_sent < self.passenger.prefix.len()
            || self.piece < window.end()
            || complete && self.suffix_sent < self.passenger.suffix.len()
    }

    /// Writes until the socket is full or nothing is left.
    pub fn advance(&mut self, window: &Window, complete: bool, now: Duration) -> io::Result<()> {
        while self.has_more(window, complete) {
            let rest = self.rest(window, complete);
            let asked: usize = rest.iter().map(|piece| piece.len()).sum();
            let outcome = self.passenger.socket.try_write_vectored(&rest);
            drop(rest);
            match outcome {
                Ok(taken) => {
                    self.took_last = now;
                    self.took(taken, window);
                    if taken < asked {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What comes next for this rider, as much as one write should carry.
    fn rest<'a>(
        &'a self,
        window: &'a Window,
        complete: bool,
    ) -> SmallVec<[IoSlice<'a>; PIECES_PER_WRITE]> {
        let mut rest = SmallVec::new();
        let mut room = PIECES_PER_WRITE;
        if self.prefix_sent < self.passenger.prefix.len() {
            rest.push(IoSlice::new(&self.passenger.prefix[self.prefix_sent..]));
            room -= 1;
        }
        let mut within = self.within;
        for piece in window.since(self.piece).take(room) {
            rest.push(IoSlice::new(&piece[within..]));
            within = 0;
            room -= 1;
        }
        if complete && room > 0 && self.suffix_sent < self.passenger.suffix.len() {
            rest.push(IoSlice::new(&self.passenger.suffix[self.suffix_sent..]));
        }
        rest
    }

    fn took(&mut self, mut count: usize, window: &Window) {
        self.bytes_sent += count as u64;
        let of_prefix = count.min(self.passenger.prefix.len() - self.prefix_sent);
        self.prefix_sent += of_prefix;
        count -= of_prefix;
        for piece in window.since(self.piece) {
            if count == 0 {
                return;
            }
            let left = piece.len() - self.within;
            if count < left {
                self.within += count;
                return;
            }
            count -= left;
            self.piece += 1;
            self.within = 0;
        }
        self.suffix_sent += count;
    }
}

/// The bytes that some rider still needs.
#[derive(Default)]
pub(super) struct Window {
    pieces: VecDeque<Bytes>,
    /// The number of the first piece, counted from the start of the transfer.
    pub first: u64,
    pub bytes: usize,
}

impl Window {
    pub fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push_back(piece);
    }

    /// The number that the next piece will have.
    pub fn end(&self) -> u64 {
        self.first + self.pieces.len() as u64
    }

    /// The pieces from number `from` on.
    fn since(&self, from: u64) -> impl Iterator<Item = &Bytes> {
        self.pieces.range((from - self.first) as usize..)
    }

    pub fn forget_before(&mut self, piece: u64) {
        while self.first < piece
            && let Some(sent) = self.pieces.pop_front()
        {
            self.first += 1;
            self.bytes -= sent.len();
        }
    }
}

const PIECES_PER_WRITE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_the_bytes_leaves_the_right_rest() {
        let whole: Vec<u8> = (0..40).collect();
        let mut window = Window::default();
        for cut in [0..10, 10..11, 11..25, 25..30] {
            window.push(Bytes::copy_from_slice(&whole[5..35][cut]));
        }
        for first in 0..=40 {
            for second in first..=40 {
                let passenger = Passenger {
                    id: 0,
                    socket: Socket::pair().unwrap().0,
                    prefix: Bytes::copy_from_slice(&whole[..5]),
                    suffix: Bytes::copy_from_slice(&whole[35..]),
                };
                let mut rider = Rider::new(passenger, Duration::ZERO);
                rider.took(first, &window);
                rider.took(second - first, &window);
                let rest = rider.rest(&window, true);
                let rest: Vec<u8> = rest.iter().flat_map(|piece| piece.to_vec()).collect();
                assert_eq!(rest, whole[second..]);
                assert_eq!(rider.has_more(&window, true), second < 40);
                assert_eq!(rider.has_more(&window, false), second < 35);
                let open = rider.rest(&window, false);
                let open: usize = open.iter().map(|piece| piece.len()).sum();
                assert_eq!(open, 35usize.saturating_sub(second));
            }
        }
    }

    #[test]
    fn the_window_forgets_pieces_and_keeps_their_numbers() {
        let mut window = Window::default();
        for length in 1..=4 {
            window.push(vec![0; length].into());
        }
        window.forget_before(2);
        assert_eq!((window.first, window.end(), window.bytes), (2, 4, 7));
        window.forget_before(1);
        assert_eq!(window.since(3).map(Bytes::len).collect::<Vec<_>>(), [4]);
        window.forget_before(9);
        assert_eq!((window.first, window.bytes), (4, 0));
    }
}
