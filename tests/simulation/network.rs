//! The network in memory: connections that delay, cut, fall silent, dribble, and refuse.
//!
//! A wire is two pipes. Each holds what was written and not read yet, up to a window, as a kernel does; what is in it arrives
//! in order, at its own time. What may happen to a pipe is what happens to TCP: it is slow, it stalls and then delivers
//! everything, it is silent for good, it is reset with some of its bytes lost.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use crate::time::Sim;

/// How connections are, on the whole. Chances are "one in so many"; 0 is never.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub latency_ms_max: u64,
    pub connect_failure_in: u64,
    /// Who cannot be reached does not refuse either: an attempt takes as long as patience lasts.
    pub is_mute: bool,
    /// Pipes that carry few bytes a second.
    pub slow_in: u64,
    pub slow_bytes_per_second: u64,
    /// Pipes whose reader gets some bytes at a time.
    pub torn_in: u64,
    /// Pipes whose reader gets one to seven bytes at a time.
    pub crumbled_in: u64,
    /// Bytes that a pipe holds.
    pub window_bytes_max: usize,
}

impl Weather {
    pub const CALM: Weather = Weather {
        latency_ms_max: 2,
        connect_failure_in: 0,
        is_mute: false,
        slow_in: 0,
        slow_bytes_per_second: 0,
        torn_in: 0,
        crumbled_in: 0,
        window_bytes_max: 64 * 1024,
    };
}

pub struct Network {
    pub weather: Weather,
    wires: Vec<Weak<RefCell<Wire>>>,
    wires_made: u64,
    /// Pairs of nodes (the smaller first) that cannot connect, nor talk.
    apart: HashSet<(usize, usize)>,
    /// Bytes that the next wire from a node to another will carry before it falls silent.
    allowances: Vec<(usize, usize, usize)>,
}

/// A connection between the nodes `ends[0]`, which asked for it, and `ends[1]`.
pub struct Wire {
    pub number: u64,
    pub ends: [usize; 2],
    /// `pipes[0]` is written by `ends[0]`.
    pipes: [Pipe; 2],
    is_open: [bool; 2],
    /// A replica is at its beginning, as `ends[1]` knows.
    is_fed: bool,
    sim: Sim,
}

struct Pipe {
    segments: VecDeque<Segment>,
    bytes: usize,
    window: usize,
    latency_ms_max: u64,
    bytes_per_second: Option<u64>,
    tearing: Tearing,
    last_at: Duration,
    /// What is written from now on goes nowhere.
    is_silent: bool,
    /// How much may still be written before it is silent.
    allowance: Option<usize>,
    swallowed: usize,
    /// When the reader learns that no more will come, and whether as an error.
    ends_at: Option<Duration>,
    is_reset: bool,
    /// Nobody reads any more: the writer learns so.
    is_broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Segment {
    at: Duration,
    bytes: Bytes,
}

#[derive(Clone, Copy)]
enum Tearing {
    Whole,
    Torn,
    Crumbled,
}

impl Network {
    pub fn new(weather: Weather) -> Self {
        Network {
            weather,
            wires: Vec::new(),
            wires_made: 0,
            apart: HashSet::new(),
            allowances: Vec::new(),
        }
    }

    /// A new wire: its two ends.
    pub fn connect(&mut self, sim: &Sim, from: usize, to: usize) -> (Socket, Socket) {
        self.wires_made += 1;
        let weather = self.weather;
        let mut pipe = |writer: usize, reader: usize| {
            let allowance = self
                .allowances
                .iter()
                .position(|(a, b, _)| (*a, *b) == (writer, reader))
                .map(|index| self.allowances.swap_remove(index).2);
            Pipe::new(sim, weather, allowance)
        };
        let pipes = [pipe(from, to), pipe(to, from)];
        let wire = Rc::new(RefCell::new(Wire {
            number: self.wires_made,
            ends: [from, to],
            pipes,
            is_open: [true; 2],
            is_fed: false,
            sim: sim.clone(),
        }));
        self.wires.retain(|wire| wire.strong_count() > 0);
        self.wires.push(Rc::downgrade(&wire));
        (
            Socket {
                wire: wire.clone(),
                side: 0,
            },
            Socket { wire, side: 1 },
        )
    }

    pub fn is_apart(&self, one: usize, other: usize) -> bool {
        self.apart.contains(&(one.min(other), one.max(other)))
    }

    pub fn part(&mut self, one: usize, other: usize) {
        self.apart.insert((one.min(other), one.max(other)));
    }

    pub fn heal(&mut self, one: usize, other: usize) {
        self.apart.remove(&(one.min(other), one.max(other)));
    }

    /// Everybody reaches everybody, and what was slow is quick. What is lost stays lost.
    pub fn heal_all(&mut self) {
        self.apart.clear();
        self.weather = Weather::CALM;
        for wire in self.wires() {
            for pipe in &mut wire.borrow_mut().pipes {
                pipe.bytes_per_second = None;
                pipe.latency_ms_max = Weather::CALM.latency_ms_max;
                pipe.window = Weather::CALM.window_bytes_max;
                pipe.tearing = Tearing::Whole;
            }
        }
    }

    pub fn allow(&mut self, from: usize, to: usize, bytes: usize) {
        let mut found = false;
        for wire in self.between(from, to) {
            found = true;
            let mut wire = wire.borrow_mut();
            let side = usize::from(wire.ends[0] != from);
            wire.pipes[side].allowance = Some(bytes);
        }
        if !found {
            self.allowances.push((from, to, bytes));
        }
    }

    pub fn wires(&self) -> Vec<Rc<RefCell<Wire>>> {
        self.wires.iter().filter_map(Weak::upgrade).collect()
    }

    /// Two nodes one of which does not hear the other on a connection of theirs, and should notice that soon. (A master that
    /// has not been asked for anything yet takes the silent end for a client: only keep-alives of TCP would tell.)
    pub fn deaf(&self) -> Option<[usize; 2]> {
        let is_deaf = |wire: &Rc<RefCell<Wire>>| {
            let wire = wire.borrow();
            let silent = wire.pipes.iter().any(|pipe| pipe.is_silent);
            (silent && (wire.is_open[0] || wire.is_fed)).then_some(wire.ends)
        };
        self.wires().iter().find_map(is_deaf)
    }

    pub fn between(&self, one: usize, other: usize) -> Vec<Rc<RefCell<Wire>>> {
        let mut wires = self.wires();
        wires.retain(|wire| {
            let ends = wire.borrow().ends;
            ends == [one, other] || ends == [other, one]
        });
        wires
    }
}

impl Wire {
    /// Resets both directions: what was under way may be lost from some byte on.
    pub fn cut(&mut self) {
        for side in [0, 1] {
            let sim = self.sim.clone();
            if !self.pipes[side].is_silent {
                self.pipes[side].reset(&sim);
            }
        }
    }

    /// What `ends[side]` writes goes nowhere from now on, and nobody is told.
    pub fn silence(&mut self, side: usize) {
        self.pipes[side].is_silent = true;
    }

    /// What is under way, and what is written meanwhile, arrives later, all of it.
    pub fn stall(&mut self, side: usize, time: Duration) {
        let pipe = &mut self.pipes[side];
        pipe.last_at = pipe.last_at.max(self.sim.now()) + time;
        for segment in &mut pipe.segments {
            segment.at += time;
        }
        if let Some(at) = &mut pipe.ends_at {
            *at += time;
        }
    }
}

impl Pipe {
    fn new(sim: &Sim, weather: Weather, allowance: Option<usize>) -> Self {
        let tearing = if sim.once_in(weather.crumbled_in) {
            Tearing::Crumbled
        } else if sim.once_in(weather.torn_in) {
            Tearing::Torn
        } else {
            Tearing::Whole
        };
        Pipe {
            segments: VecDeque::new(),
            bytes: 0,
            window: WINDOW_BYTES_MIN
                + sim.below((weather.window_bytes_max - WINDOW_BYTES_MIN) as u64) as usize,
            latency_ms_max: weather.latency_ms_max,
            bytes_per_second: sim
                .once_in(weather.slow_in)
                .then_some(weather.slow_bytes_per_second),
            tearing,
            last_at: Duration::ZERO,
            is_silent: false,
            allowance,
            swallowed: 0,
            ends_at: None,
            is_reset: false,
            is_broken: false,
            reader: None,
            writer: None,
        }
    }

    fn reset(&mut self, sim: &Sim) {
        let keep = sim.below(self.segments.len() as u64 + 1) as usize;
        if let Some(torn) = self.segments.get_mut(keep) {
            let half = sim.below(torn.bytes.len() as u64 + 1) as usize;
            torn.bytes.truncate(half);
            self.segments.truncate(keep + 1);
        }
        self.segments.retain(|segment| !segment.bytes.is_empty());
        self.bytes = self
            .segments
            .iter()
            .map(|segment| segment.bytes.len())
            .sum();
        self.is_reset = true;
        self.is_broken = true;
        self.end(sim);
    }

    fn end(&mut self, sim: &Sim) {
        let at = self.last_at.max(sim.now()) + sim.millis_below(self.latency_ms_max + 1);
        self.ends_at = Some(at);
        if let Some(reader) = &self.reader {
            sim.wake_at(at, reader);
        }
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn room(&self) -> usize {
        self.window.saturating_sub(self.bytes + self.swallowed)
    }

    fn write(&mut self, sim: &Sim, bytes: &[u8]) -> io::Result<usize> {
        if self.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(self.room());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut heard = if self.is_silent { 0 } else { count };
        if let Some(left) = &mut self.allowance {
            heard = heard.min(*left);
            *left -= heard;
            self.is_silent |= *left == 0;
        }
        self.swallowed += count - heard;
        let mut rest = Bytes::copy_from_slice(&bytes[..heard]);
        let mut at = self
            .last_at
            .max(sim.now() + sim.millis_below(self.latency_ms_max + 1));
        while !rest.is_empty() {
            let piece = match self.bytes_per_second {
                None => std::mem::take(&mut rest),
                Some(rate) => {
                    let piece = rest.split_to(rest.len().min(SLOW_PIECE_BYTES));
                    at += Duration::from_micros(piece.len() as u64 * 1_000_000 / rate);
                    piece
                }
            };
            self.bytes += piece.len();
            self.segments.push_back(Segment { at, bytes: piece });
        }
        self.last_at = at;
        if let (Some(reader), Some(first)) = (&self.reader, self.segments.front()) {
            sim.wake_at(first.at, reader);
        }
        Ok(count)
    }

    /// What has arrived, in one piece or in as small ones as the pipe gives.
    fn read(&mut self, sim: &Sim, bytes_max: usize) -> io::Result<Option<Bytes>> {
        let Some(first) = self.segments.front() else {
            return match self.ends_at {
                Some(at) if at <= sim.now() && self.is_reset => {
                    Err(io::ErrorKind::ConnectionReset.into())
                }
                Some(at) if at <= sim.now() => Ok(None),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            };
        };
        if first.at > sim.now() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut left = match self.tearing {
            Tearing::Whole => bytes_max,
            Tearing::Torn => 1 + sim.below(first.bytes.len() as u64) as usize,
            Tearing::Crumbled => 1 + sim.below(7) as usize,
        };
        let mut read = Vec::new();
        while let Some(next) = self.segments.front_mut()
            && next.at <= sim.now()
            && left > 0
        {
            let piece = next.bytes.split_to(next.bytes.len().min(left));
            left -= piece.len();
            read.extend_from_slice(&piece);
            if next.bytes.is_empty() {
                self.segments.pop_front();
            }
        }
        self.bytes -= read.len();
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        Ok(Some(Bytes::from(read)))
    }
}

/// One end of a wire. Dropping it closes it.
pub struct Socket {
    wire: Rc<RefCell<Wire>>,
    side: usize,
}

impl Socket {
    /// Up to `bytes_max` bytes that have arrived; none at the end.
    pub fn try_read(&self, bytes_max: usize) -> io::Result<Option<Bytes>> {
        let mut wire = self.wire.borrow_mut();
        let sim = wire.sim.clone();
        wire.pipes[1 - self.side].read(&sim, bytes_max)
    }

    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.wire.borrow_mut();
        let sim = wire.sim.clone();
        wire.pipes[self.side].write(&sim, bytes)
    }

    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut wire = self.wire.borrow_mut();
        let sim = wire.sim.clone();
        let pipe = &mut wire.pipes[1 - self.side];
        let next = match (pipe.segments.front(), pipe.ends_at) {
            (Some(first), _) => Some(first.at),
            (None, ends_at) => ends_at,
        };
        if next.is_some_and(|at| at <= sim.now()) {
            return Poll::Ready(());
        }
        pipe.reader = Some(context.waker().clone());
        if let Some(at) = next {
            sim.wake_at(at, context.waker());
        }
        Poll::Pending
    }

    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut wire = self.wire.borrow_mut();
        let pipe = &mut wire.pipes[self.side];
        if pipe.is_broken || pipe.room() > 0 {
            return Poll::Ready(());
        }
        pipe.writer = Some(context.waker().clone());
        Poll::Pending
    }

    pub async fn writable(&self) {
        std::future::poll_fn(|context| self.poll_writable(context)).await;
    }

    /// True once the other end is known to be gone.
    pub fn is_ended(&self) -> bool {
        let wire = self.wire.borrow();
        let pipe = &wire.pipes[1 - self.side];
        pipe.segments.is_empty() && pipe.ends_at.is_some_and(|at| at <= wire.sim.now())
    }

    pub fn number(&self) -> u64 {
        self.wire.borrow().number
    }

    /// The node at the other end.
    pub fn peer(&self) -> usize {
        self.wire.borrow().ends[1 - self.side]
    }

    /// The other end is a replica now.
    pub fn feed(&self) {
        self.wire.borrow_mut().is_fed = true;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut wire = self.wire.borrow_mut();
        let sim = wire.sim.clone();
        wire.is_open[self.side] = false;
        wire.is_fed &= self.side == 0;
        let out = &mut wire.pipes[self.side];
        if !out.is_silent && out.ends_at.is_none() {
            if sim.once_in(4) {
                out.reset(&sim);
            } else {
                out.end(&sim);
            }
        }
        let (is_silent, incoming) = (out.is_silent, &mut wire.pipes[1 - self.side]);
        incoming.segments.clear();
        incoming.bytes = 0;
        // Whoever writes to an end that is gone is told, unless nothing comes back to tell it.
        if is_silent {
            incoming.is_silent = true;
        } else {
            incoming.is_broken = true;
            if let Some(writer) = incoming.writer.take() {
                writer.wake();
            }
        }
    }
}

const WINDOW_BYTES_MIN: usize = 1024;

/// What a slow pipe delivers at a time.
const SLOW_PIECE_BYTES: usize = 256;
