//! A sink that is several sockets at once: one snapshot for all replicas that wait for one.
//!
//! The bytes stand in one window that all riders share; each rider has its own cursor in it, its own limits and its own
//! fate. The walk waits only while the slowest rider is a whole window behind. A rider that takes nothing for
//! `silence_max` is dropped; so is one that makes the others wait for it: the time they have stood still, with all their bytes
//! sent, because of it, exceeds `hold_back_max` and the time the transfer would have taken without it. So a rider that is
//! somewhat slower is carried along, a much slower one is left to come back alone, and a lone rider is never too slow.
//!
//! All writing happens in the walk's own thread with poll(2), so it needs no reactor and cannot delay one.
//!
//! Invariants: each rider gets prefix, all bytes, suffix, in order and nothing else; its fate is reported exactly once; the
//! window holds at most `window_bytes` and one more piece whenever the walk is not inside a call.

use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smallvec::SmallVec;

use super::rider::{Brake, DropReason, Fate, Passenger, Rider, Window};
use super::sink::{Sink, SinkError};
use crate::clock::Clock;

/// Bytes to riders.
pub struct SocketSink {
    riders: Vec<Rider>,
    window: Window,
    limits: SocketSinkLimits,
    /// No more bytes will come: suffixes may go out.
    complete: bool,
    brake: Brake,
    clock: Clock,
    began: Duration,
    report: Box<dyn FnMut(Fate) + Send>,
    done: usize,
    last_reason: String,
}

#[derive(Clone, Copy, Debug)]
pub struct SocketSinkLimits {
    /// How far the slowest rider may be behind the walk before the walk waits, in bytes. This much memory may be held.
    pub window_bytes: usize,
    /// How long a rider may take no byte while there are some for it: `repl-timeout`.
    pub silence_max: Duration,
    /// How long, in sum, a rider may keep the others waiting before it is asked whether it is worth it; see the file's head.
    pub hold_back_max: Duration,
}

impl SocketSinkLimits {
    /// For so many riders: one alone gains nothing from a large window, several need it to stay together.
    pub fn new(riders: usize, silence_max: Duration) -> Self {
        SocketSinkLimits {
            window_bytes: (riders * WINDOW_BYTES_PER_RIDER).min(WINDOW_BYTES_MAX),
            silence_max,
            hold_back_max: silence_max,
        }
    }
}

impl SocketSink {
    /// `report` is called once per passenger, from the walk's thread, as soon as its fate is known.
    pub fn new(
        passengers: Vec<Passenger>,
        limits: SocketSinkLimits,
        clock: Clock,
        report: impl FnMut(Fate) + Send + 'static,
    ) -> Self {
        let now = clock.monotonic();
        SocketSink {
            riders: passengers
                .into_iter()
                .map(|passenger| Rider::new(passenger, now))
                .collect(),
            window: Window::default(),
            limits,
            complete: false,
            brake: Brake::default(),
            clock,
            began: now,
            report: Box::new(report),
            done: 0,
            last_reason: "there was none".to_owned(),
        }
    }

    pub fn brake(&self) -> Brake {
        self.brake.clone()
    }

    /// Waits for at most `wait` until some rider can take bytes, and gives them.
    fn step(&mut self, wait: Duration) -> Result<(), SinkError> {
        self.obey_brake()?;
        let seen = self.watch(wait);
        let now = self.clock.monotonic();
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        // From the back, so that a rider which leaves does not move those still to be seen.
        for index in (0..self.riders.len()).rev() {
            let rider = &mut self.riders[index];
            let mut fate = Ok(());
            if seen[index].contains(PollFlags::OUT) && !seen[index].intersects(gone) {
                fate = rider
                    .advance(&self.window, self.complete, now)
                    .map_err(DropReason::Failed);
            } else if seen[index].intersects(gone) {
                fate = Err(DropReason::Closed);
            }
            let waits = rider.has_more(&self.window, self.complete);
            let silent = now.saturating_sub(rider.took_last);
            if fate.is_ok() && waits && silent > self.limits.silence_max {
                fate = Err(DropReason::Silent(silent));
            }
            match fate {
                Err(reason) => self.drop_rider(index, reason),
                Ok(()) if self.complete && !waits => self.release_rider(index),
                Ok(()) => {}
            }
        }
        self.forget_sent();
        Ok(())
    }

    /// What poll has to say of each rider: only those with bytes outstanding are asked whether they take some.
    fn watch(&self, wait: Duration) -> SmallVec<[PollFlags; 8]> {
        let mut watched: SmallVec<[PollFd<'_>; 8]> = SmallVec::new();
        for rider in &self.riders {
            let mut interest = PollFlags::RDHUP;
            if rider.has_more(&self.window, self.complete) {
                interest |= PollFlags::OUT;
            }
            watched.push(PollFd::new(&rider.passenger.socket, interest));
        }
        let wait = Timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: wait.subsec_nanos().into(),
        };
        match poll(&mut watched, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // The kernel lacks memory for a moment: the next step asks again, and silence is still noticed.
            Err(error) => log::warn!("poll for replicas: {error}"),
        }
        watched.iter().map(PollFd::revents).collect()
    }

    /// One step while the walk stands still, counting at whose expense.
    fn step_waiting(&mut self) -> Result<(), SinkError> {
        let before = self.clock.monotonic();
        let others_wait = self.someone_has_all();
        let slowest: SmallVec<[u64; 8]> = self
            .riders
            .iter()
            .filter(|rider| rider.piece == self.window.first)
            .map(|rider| rider.passenger.id)
            .collect();
        self.step(POLL_MAX)?;
        if !others_wait {
            return Ok(());
        }
        let now = self.clock.monotonic();
        let (lost, total) = (now.saturating_sub(before), now.saturating_sub(self.began));
        for index in (0..self.riders.len()).rev() {
            let rider = &mut self.riders[index];
            if !slowest.contains(&rider.passenger.id) {
                continue;
            }
            rider.held_back += lost;
            let held_back = rider.held_back;
            if held_back > self.limits.hold_back_max && held_back > total / 2 {
                self.drop_rider(index, DropReason::HeldBack(held_back));
            }
        }
        self.forget_sent();
        Ok(())
    }

    /// Silence counts from the moment at which there is something to take.
    fn mark_those_at_rest(&mut self) {
        let now = self.clock.monotonic();
        let is_start = self.window.end() == 0;
        for rider in &mut self.riders {
            if is_start || !rider.has_more(&self.window, self.complete) {
                rider.took_last = now;
            }
        }
    }

    fn someone_has_all(&self) -> bool {
        self.riders
            .iter()
            .any(|rider| !rider.has_more(&self.window, self.complete))
    }

    fn obey_brake(&mut self) -> Result<(), SinkError> {
        let (all, ids) = self.brake.take();
        if all {
            return Err(SinkError::Cancelled);
        }
        for id in ids {
            let found = self
                .riders
                .iter()
                .position(|rider| rider.passenger.id == id);
            if let Some(index) = found {
                self.drop_rider(index, DropReason::Cancelled);
            }
        }
        Ok(())
    }

    fn release_rider(&mut self, index: usize) {
        self.done += 1;
        let rider = self.riders.swap_remove(index);
        (self.report)(Fate::Done {
            id: rider.passenger.id,
            bytes_sent: rider.bytes_sent,
            socket: rider.passenger.socket,
        });
    }

    fn drop_rider(&mut self, index: usize, reason: DropReason) {
        let rider = self.riders.swap_remove(index);
        let Passenger { id, socket, .. } = rider.passenger;
        self.last_reason = format!("{}: {reason}", socket.peer_name());
        drop(socket);
        (self.report)(Fate::Dropped {
            id,
            bytes_sent: rider.bytes_sent,
            reason,
        });
    }

    /// Frees what every rider has passed.
    fn forget_sent(&mut self) {
        match self.riders.iter().map(|rider| rider.piece).min() {
            Some(slowest) => self.window.forget_before(slowest),
            None => self.window.forget_before(self.window.end()),
        }
    }

    fn no_receiver(&self) -> SinkError {
        SinkError::NoReceiver(self.last_reason.clone())
    }
}

impl Sink for SocketSink {
    fn accept(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.mark_those_at_rest();
        self.window.push(bytes);
        self.step(Duration::ZERO)?;
        while self.window.bytes > self.limits.window_bytes && !self.riders.is_empty() {
            self.step_waiting()?;
        }
        if self.riders.is_empty() {
            return Err(self.no_receiver());
        }
        Ok(())
    }

    /// Waits until each rider has everything or is dropped.
    ///
    /// # Errors
    /// Where none has everything in the end.
    fn finish(mut self: Box<Self>) -> Result<(), SinkError> {
        self.mark_those_at_rest();
        self.complete = true;
        let mut wait = Duration::ZERO;
        while !self.riders.is_empty() {
            if let Err(error) = self.step(wait) {
                self.abandon(&error.to_string());
                return Err(error);
            }
            wait = POLL_MAX;
        }
        if self.done == 0 {
            return Err(self.no_receiver());
        }
        Ok(())
    }

    fn abandon(mut self: Box<Self>, reason: &str) {
        while let Some(last) = self.riders.len().checked_sub(1) {
            self.drop_rider(last, DropReason::Abandoned(reason.to_owned()));
        }
    }
}

/// The longest wait before limits and brake are looked at again.
const WINDOW_BYTES_PER_RIDER: usize = 8 * 1024 * 1024;
const WINDOW_BYTES_MAX: usize = 64 * 1024 * 1024;

const POLL_MAX: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io;
    use std::sync::mpsc::{Receiver, channel};
    use std::thread::{self, JoinHandle};
    use std::time::Instant;

    use rustix::net::sockopt::set_socket_send_buffer_size;

    use super::*;
    use crate::io::socket::Socket;
    use crate::random::Random;

    /// What became of a rider: bytes sent, and the reason if it was dropped.
    type Fates = Receiver<(u64, u64, Option<DropReason>)>;

    const PREFIX: &[u8] = b"$EOF:mark\r\n";
    const SUFFIX: &[u8] = b"mark";

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn limits(window_bytes: usize) -> SocketSinkLimits {
        SocketSinkLimits {
            window_bytes,
            silence_max: Duration::from_secs(20),
            hold_back_max: Duration::from_secs(20),
        }
    }

    /// A sink for `count` riders, numbered from 0, and their peers.
    fn sink(count: u64, limits: SocketSinkLimits) -> (Box<SocketSink>, Vec<Socket>, Fates) {
        let (mut passengers, mut peers) = (Vec::new(), Vec::new());
        for id in 0..count {
            let (socket, peer) = Socket::pair().unwrap();
            set_socket_send_buffer_size(&socket, 16 * 1024).unwrap();
            passengers.push(Passenger {
                id,
                socket,
                prefix: Bytes::from_static(PREFIX),
                suffix: Bytes::from_static(SUFFIX),
            });
            peers.push(peer);
        }
        let (sender, fates) = channel();
        let sink = SocketSink::new(passengers, limits, Clock::system(), move |fate| {
            let told = match fate {
                Fate::Done { id, bytes_sent, .. } => (id, bytes_sent, None),
                Fate::Dropped {
                    id,
                    bytes_sent,
                    reason,
                } => (id, bytes_sent, Some(reason)),
            };
            sender.send(told).unwrap();
        });
        (Box::new(sink), peers, fates)
    }

    fn gather(fates: &Fates) -> BTreeMap<u64, (u64, Option<DropReason>)> {
        let mut gathered = BTreeMap::new();
        for (id, bytes, reason) in fates.try_iter() {
            assert!(gathered.insert(id, (bytes, reason)).is_none(), "told twice");
        }
        gathered
    }

    /// Reads to the end (or until `count` bytes have come) in a thread of its own.
    fn read(peer: Socket, count: usize) -> JoinHandle<Vec<u8>> {
        let peer = peer.into_blocking(Some(Duration::from_secs(10))).unwrap();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut peer = io::Read::take(peer, count as u64);
            io::Read::read_to_end(&mut peer, &mut bytes).unwrap();
            bytes
        })
    }

    fn pieces(total: usize, random: &mut Random) -> Vec<Bytes> {
        let mut left = total;
        let mut pieces = Vec::new();
        while left > 0 {
            let length = (random.below(30_000) as usize).min(left);
            let piece: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
            pieces.push(piece.into());
            left -= length;
        }
        pieces
    }

    fn framed(pieces: &[Bytes]) -> Vec<u8> {
        [PREFIX, &pieces.concat(), SUFFIX].concat()
    }

    #[test]
    fn every_rider_gets_prefix_bytes_and_suffix_and_its_socket_lives_on() {
        let mut random = Random::from_seed(3);
        for window_bytes in [0, 50_000, 64 << 20] {
            let pieces = pieces(1 << 20, &mut random);
            let expected = framed(&pieces);
            let (mut sink, peers, fates) = sink(3, limits(window_bytes));
            let readers: Vec<_> = peers
                .into_iter()
                .map(|peer| read(peer, expected.len()))
                .collect();
            for piece in pieces {
                let length = piece.len();
                sink.accept(piece).unwrap();
                assert!(sink.window.bytes <= window_bytes + length);
            }
            sink.finish().unwrap();
            for reader in readers {
                assert!(reader.join().unwrap() == expected);
            }
            let fates = gather(&fates);
            assert_eq!(fates.len(), 3);
            for (bytes, reason) in fates.values() {
                assert_eq!(*bytes, expected.len() as u64);
                assert!(reason.is_none());
            }
        }
    }

    #[test]
    fn a_snapshot_of_no_bytes_is_still_framed() {
        let (sink, peers, fates) = sink(1, limits(0));
        sink.finish().unwrap();
        let expected = framed(&[]);
        let reader = read(peers.into_iter().next().unwrap(), expected.len());
        assert_eq!(reader.join().unwrap(), expected);
        assert!(gather(&fates)[&0].1.is_none());
    }

    #[test]
    fn a_dead_rider_is_dropped_at_once_and_the_others_go_on() {
        let mut random = Random::from_seed(4);
        let pieces = pieces(1 << 20, &mut random);
        let expected = framed(&pieces);
        let (mut sink, mut peers, fates) = sink(2, limits(1000));
        let dead = read(peers.pop().unwrap(), 100_000);
        let reader = read(peers.pop().unwrap(), expected.len());
        for piece in pieces {
            sink.accept(piece).unwrap();
        }
        sink.finish().unwrap();
        assert!(reader.join().unwrap() == expected);
        assert_eq!(dead.join().unwrap(), expected[..100_000]);
        let fates = gather(&fates);
        assert!(fates[&0].1.is_none());
        // Found out by poll or by a write, whichever comes first.
        match &fates[&1].1 {
            Some(DropReason::Closed) => {}
            Some(DropReason::Failed(error)) => {
                assert!(error.kind() == io::ErrorKind::BrokenPipe, "{error}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rider_that_takes_nothing_is_dropped_after_its_silence() {
        let mut limits = limits(100_000);
        limits.silence_max = millis(60);
        let (mut sink, mut peers, fates) = sink(2, limits);
        let mute = peers.pop().unwrap();
        let mut random = Random::from_seed(5);
        let pieces = pieces(600_000, &mut random);
        let expected = framed(&pieces);
        let reader = read(peers.pop().unwrap(), expected.len());
        for piece in pieces {
            sink.accept(piece).unwrap();
        }
        sink.finish().unwrap();
        assert!(reader.join().unwrap() == expected);
        let fates = gather(&fates);
        assert!(matches!(fates[&1].1, Some(DropReason::Silent(time)) if time > millis(60)));
        assert!(fates[&1].0 < 600_000);
        assert!(fates[&0].1.is_none());
        drop(mute);
    }

    #[test]
    fn a_slow_rider_makes_the_others_wait_only_so_long() {
        let mut limits = limits(50_000);
        limits.hold_back_max = millis(40);
        let mut random = Random::from_seed(6);
        let pieces = pieces(2 << 20, &mut random);
        let expected = framed(&pieces);
        let (mut sink, mut peers, fates) = sink(2, limits);
        let slow = peers.pop().unwrap();
        let reader = read(peers.pop().unwrap(), expected.len());
        // It moves all the time, so it is never silent; it is only far too slow.
        let (stop, stopped) = channel::<()>();
        let sipper = thread::spawn(move || {
            while stopped.recv_timeout(millis(1)).is_err() {
                let _ = slow.try_read(&mut [0; 500]);
            }
        });
        let began = Instant::now();
        for piece in pieces {
            sink.accept(piece).unwrap();
        }
        sink.finish().unwrap();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(reader.join().unwrap() == expected);
        stop.send(()).unwrap();
        sipper.join().unwrap();
        let fates = gather(&fates);
        assert!(matches!(fates[&1].1, Some(DropReason::HeldBack(time)) if time > millis(40)));
        assert!(fates[&0].1.is_none());
    }

    #[test]
    fn a_lone_slow_rider_is_waited_for() {
        let mut limits = limits(20_000);
        limits.hold_back_max = Duration::ZERO;
        let (mut sink, mut peers, fates) = sink(1, limits);
        let slow = peers.pop().unwrap();
        let mut random = Random::from_seed(7);
        let pieces = pieces(400_000, &mut random);
        let expected = framed(&pieces);
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut buffer = [0; 5_000];
            loop {
                thread::yield_now();
                match slow.try_read(&mut buffer) {
                    Ok(0) => return bytes,
                    Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                    Err(_) => {}
                }
            }
        });
        for piece in pieces {
            sink.accept(piece).unwrap();
        }
        sink.finish().unwrap();
        assert!(gather(&fates)[&0].1.is_none());
        assert!(reader.join().unwrap() == expected);
    }

    #[test]
    fn with_nobody_left_the_walk_is_told_so() {
        let (mut sink, peers, fates) = sink(2, limits(1000));
        drop(peers);
        let error = (0..100)
            .find_map(|_| sink.accept(Bytes::from_static(&[0; 5000])).err())
            .expect("both peers are gone");
        assert!(matches!(&error, SinkError::NoReceiver(_)), "{error}");
        sink.abandon("nobody");
        assert_eq!(gather(&fates).len(), 2);
    }

    #[test]
    fn a_snapshot_that_fails_is_told_to_all() {
        let (mut sink, _peers, fates) = sink(2, limits(1000));
        sink.accept(Bytes::from_static(b"half")).unwrap();
        sink.abandon("out of memory");
        let fates = gather(&fates);
        assert_eq!(fates.len(), 2);
        for (bytes, reason) in fates.values() {
            assert_eq!(*bytes, PREFIX.len() as u64 + 4);
            let reason = reason.as_ref().unwrap().to_string();
            assert_eq!(reason, "the snapshot failed: out of memory");
        }
    }

    #[test]
    fn the_brake_stops_one_rider_or_the_whole_transfer_while_the_walk_waits() {
        let (mut sink, peers, fates) = sink(2, limits(1000));
        let brake = sink.brake();
        // Nobody reads: the walk stands still until the brake frees it.
        let walk = thread::spawn(move || {
            loop {
                if let Err(error) = sink.accept(Bytes::from_static(&[0; 50_000])) {
                    sink.abandon(&error.to_string());
                    return error;
                }
            }
        });
        brake.drop_rider(1);
        let (id, _, reason) = fates.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(id, 1);
        assert!(matches!(reason, Some(DropReason::Cancelled)));
        brake.cancel();
        assert!(matches!(walk.join().unwrap(), SinkError::Cancelled));
        let (id, _, reason) = fates.recv().unwrap();
        assert_eq!(id, 0);
        assert!(matches!(reason, Some(DropReason::Abandoned(_))));
        drop(peers);
    }
}
