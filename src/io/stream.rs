//! A socket, or a listening socket, as a task of the reactor sees it.
//!
//! Reading and writing are tries that never wait; readiness is awaited apart from them. Readiness is a flag in memory
//! that the kernel's edges raise and that a try lowers when it finds the kernel's buffer empty (or full): a read that fills
//! less than its buffer says so already, without a second call. The flag stays up after a read that filled its buffer, so
//! a task that took less than there is is told "ready" again at once.
//!
//! Invariants: the flag is lowered only by a try, and every edge after that raises it again, so no wake is lost. The end of
//! the peer's bytes, once seen by epoll, keeps `readable` up for good: its edge comes only once.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::event::epoll::EventFlags;

use super::listening::ListeningSocket;
use super::reactor::{Local, current, with_read_buffer};
use super::socket::Socket;

/// A connected socket, TCP or unix, registered with the reactor of its thread.
pub struct Stream {
    // Before the socket: the slot is given back first, then the descriptor is closed, which ends the registration.
    registration: Registration,
    socket: Socket,
}

impl Stream {
    /// Registers a socket with the reactor that polls the caller.
    ///
    /// # Errors
    /// Where the system's limit of watched descriptors is reached; the socket is then closed.
    ///
    /// # Panics
    /// Outside a reactor's task.
    pub fn register(socket: Socket) -> io::Result<Self> {
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP;
        Ok(Stream {
            registration: Registration::new(&socket, interest)?,
            socket,
        })
    }

    /// Takes the socket out of the reactor, for another thread or another reactor.
    pub fn into_socket(self) -> io::Result<Socket> {
        self.registration.local.unregister(&self.socket)?;
        Ok(self.socket)
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Resolves when a read may find bytes, the end, or an error.
    pub async fn readable(&self) {
        std::future::poll_fn(|context| self.poll_readable(context)).await;
    }

    /// Resolves when a write may be taken, or would fail.
    pub async fn writable(&self) {
        std::future::poll_fn(|context| self.poll_writable(context)).await;
    }

    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.registration
            .poll(&self.registration.source.read, context)
    }

    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.registration
            .poll(&self.registration.source.write, context)
    }

    /// True when the peer has closed its end or the connection has failed, even if bytes are left to read: a client that
    /// is parked in a blocking command is gone.
    pub fn is_ended(&self) -> bool {
        self.registration.source.read.ended.get()
    }

    /// Reads once. `Ok(0)` is the end of the peer's bytes (or an empty buffer).
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing to read now.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.socket.try_read(buffer);
        self.registration.source.read.tried(&read, buffer.len());
        read
    }

    /// Reads once into what `buffer` has left of its capacity, as for the rest of a large argument whose size is known.
    ///
    /// # Errors
    /// As [`Stream::try_read`].
    pub fn try_read_spare(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let room = buffer.capacity() - buffer.len();
        let read = self.socket.try_read_spare(buffer);
        self.registration.source.read.tried(&read, room);
        read
    }

    /// Reads once into the thread's shared buffer and lends `work` the bytes (none at the end of the peer's bytes).
    ///
    /// # Errors
    /// As [`Stream::try_read`]; `work` is not called then.
    pub fn try_read_with<R>(&self, work: impl FnOnce(&mut [u8]) -> R) -> io::Result<R> {
        with_read_buffer(|buffer| {
            let count = self.try_read(buffer)?;
            Ok(work(&mut buffer[..count]))
        })
    }

    /// Writes once and returns how many bytes were taken.
    ///
    /// # Errors
    /// `WouldBlock` when none were.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.socket.try_write(bytes);
        self.registration.source.write.tried(&written, bytes.len());
        written
    }

    /// Writes several pieces at once; only the first 1024 are looked at.
    ///
    /// # Errors
    /// As [`Stream::try_write`].
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let pieces = &pieces[..pieces.len().min(Socket::PIECES_MAX)];
        let written = self.socket.try_write_vectored(pieces);
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        self.registration.source.write.tried(&written, bytes);
        written
    }

    /// Writes all of `bytes`, waiting as long as it takes.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A listening socket registered with the reactor of its thread.
pub struct Listener {
    registration: Registration,
    socket: ListeningSocket,
}

impl Listener {
    /// As [`Stream::register`].
    pub fn register(socket: ListeningSocket) -> io::Result<Self> {
        Ok(Listener {
            registration: Registration::new(&socket, EventFlags::IN)?,
            socket,
        })
    }

    pub fn socket(&self) -> &ListeningSocket {
        &self.socket
    }

    /// The next connection.
    ///
    /// # Errors
    /// Where the process has no descriptors left or the peer has gone meanwhile; the next call tries again.
    pub async fn accept(&self) -> io::Result<Socket> {
        let read = &self.registration.source.read;
        loop {
            std::future::poll_fn(|context| self.registration.poll(read, context)).await;
            match self.socket.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => read.ready.set(false),
                accepted => return accepted,
            }
        }
    }
}

/// What epoll has told of one descriptor, and who waits for it.
pub(super) struct Source {
    read: Direction,
    write: Direction,
}

impl Source {
    pub(super) fn happened(&self, flags: EventFlags) {
        let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let read_ended = failed || flags.contains(EventFlags::RDHUP);
        if read_ended || flags.contains(EventFlags::IN) {
            self.read.raise(read_ended);
        }
        if failed || flags.contains(EventFlags::OUT) {
            self.write.raise(failed);
        }
    }
}

struct Direction {
    ready: Cell<bool>,
    /// No further edge will come: `ready` for good.
    ended: Cell<bool>,
    /// Somebody waits. The waker itself is kept from wait to wait, for it is nearly always the same task's.
    awaited: Cell<bool>,
    waker: RefCell<Waker>,
}

impl Direction {
    fn new(ready: bool) -> Self {
        Direction {
            ready: Cell::new(ready),
            ended: Cell::new(false),
            awaited: Cell::new(false),
            waker: RefCell::new(Waker::noop().clone()),
        }
    }

    fn raise(&self, ended: bool) {
        self.ready.set(true);
        if ended {
            self.ended.set(true);
        }
        if self.awaited.replace(false) {
            self.waker.borrow().wake_by_ref();
        }
    }

    /// Lowers the flag after a try that found less than the `asked` bytes (or room for them).
    fn tried(&self, outcome: &io::Result<usize>, asked: usize) {
        match outcome {
            Ok(count) if *count < asked && !self.ended.get() => self.ready.set(false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Whatever ended, it was not this: wait for the next edge rather than spin.
                self.ended.set(false);
                self.ready.set(false);
            }
            _ => {}
        }
    }

    fn wait(&self, context: &Context<'_>) {
        self.awaited.set(true);
        let mut waker = self.waker.borrow_mut();
        if !waker.will_wake(context.waker()) {
            waker.clone_from(context.waker());
        }
    }
}

/// A place in the reactor's table.
struct Registration {
    local: Rc<Local>,
    source: Rc<Source>,
    key: u64,
}

impl Registration {
    fn new(fd: &impl AsFd, interest: EventFlags) -> io::Result<Self> {
        let local = current();
        // A fresh socket takes bytes at once; whether it holds some, the first event tells.
        let source = Rc::new(Source {
            read: Direction::new(false),
            write: Direction::new(true),
        });
        let key = local.register(fd, interest, &source)?;
        Ok(Registration { local, source, key })
    }

    fn poll(&self, direction: &Direction, context: &Context<'_>) -> Poll<()> {
        if !direction.ready.get() {
            direction.wait(context);
            return Poll::Pending;
        }
        if self.local.spend(context) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.local.forget(self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join_all;

    use super::*;
    use crate::io::listening::listen_tcp;
    use crate::io::reactor::{now, run_both_ways, spawn, yield_now};
    use crate::io::socket::{SocketName, connect};
    use crate::io::timers::timeout_at;

    fn stream_pair() -> (Stream, Stream) {
        let (one, other) = Socket::pair().unwrap();
        (
            Stream::register(one).unwrap(),
            Stream::register(other).unwrap(),
        )
    }

    /// Reads exactly `count` bytes, `step` at a time at most.
    async fn read_exactly(stream: &Stream, count: usize, step: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; step];
        while bytes.len() < count {
            stream.readable().await;
            let room = step.min(count - bytes.len());
            match stream.try_read(&mut buffer[..room]) {
                Ok(0) => panic!("ended after {} of {count} bytes", bytes.len()),
                Ok(read) => bytes.extend_from_slice(&buffer[..read]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        bytes
    }

    async fn echo(stream: Stream) {
        loop {
            stream.readable().await;
            match stream.try_read_with(|bytes| bytes.to_vec()) {
                Ok(bytes) if bytes.is_empty() => return,
                Ok(bytes) => stream.write_all(&bytes).await.unwrap(),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    #[test]
    fn many_connections_are_echoed_at_once() {
        run_both_ways(|| async {
            let listening = listen_tcp(&["127.0.0.1".to_owned()], 0, 511, None).unwrap();
            let listener = Listener::register(listening.into_iter().next().unwrap()).unwrap();
            let SocketName::Ip(Some(address)) = *listener.socket().local_name() else {
                panic!("no address")
            };
            spawn(async move {
                loop {
                    let socket = listener.accept().await.unwrap();
                    spawn(echo(Stream::register(socket).unwrap()));
                }
            });
            let clients = (0..60u8).map(|number| async move {
                let socket = connect(&[address], None, Duration::from_secs(5))
                    .await
                    .unwrap();
                let stream = Stream::register(socket).unwrap();
                for round in 0..20 {
                    let bytes = vec![number ^ round; 1 + 97 * usize::from(round)];
                    stream.write_all(&bytes).await.unwrap();
                    assert_eq!(read_exactly(&stream, bytes.len(), 1 << 16).await, bytes);
                }
            });
            join_all(clients).await;
        });
    }

    #[test]
    fn a_megabyte_goes_through_small_buffers_in_both_directions() {
        run_both_ways(|| async {
            let (one, other) = stream_pair();
            one.socket().set_buffers(4096, 4096).unwrap();
            other.socket().set_buffers(4096, 4096).unwrap();
            spawn(echo(other));
            let bytes: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_le_bytes).collect();
            let (written, read) = futures::join!(
                one.write_all(&bytes),
                read_exactly(&one, bytes.len(), 1 << 16)
            );
            written.unwrap();
            assert!(read == bytes);
        });
    }

    #[test]
    fn a_reader_that_takes_less_than_there_is_is_told_again() {
        run_both_ways(|| async {
            let (one, other) = stream_pair();
            one.write_all(&[7; 1000]).await.unwrap();
            // All bytes arrive as one edge; each read takes three of them.
            assert_eq!(read_exactly(&other, 1000, 3).await, vec![7; 1000]);
            let quiet = timeout_at(now() + Duration::from_millis(2), other.readable());
            // A read that filled its buffer cannot know that nothing is left: one false alarm is allowed, two are not.
            if quiet.await.is_some() {
                assert!(other.try_read(&mut [0; 8]).is_err());
                let quiet = timeout_at(now() + Duration::from_millis(2), other.readable());
                assert!(quiet.await.is_none());
            }
        });
    }

    #[test]
    fn the_end_is_seen_even_if_it_came_together_with_the_last_bytes() {
        run_both_ways(|| async {
            let (one, other) = stream_pair();
            one.write_all(b"bye").await.unwrap();
            drop(one);
            other.readable().await;
            assert_eq!(other.try_read(&mut [0; 100]).unwrap(), 3);
            assert!(other.is_ended());
            other.readable().await;
            assert_eq!(other.try_read(&mut [0; 100]).unwrap(), 0);
        });
    }

    #[test]
    fn a_task_that_waits_for_something_else_can_see_its_peer_leave() {
        run_both_ways(|| async {
            let (one, other) = stream_pair();
            assert!(!other.is_ended());
            drop(one);
            other.readable().await;
            assert!(other.is_ended());
        });
    }

    #[test]
    fn pieces_are_gathered_and_a_full_socket_says_so() {
        run_both_ways(|| async {
            let (one, other) = stream_pair();
            let parts: Vec<_> = (0..2000u32).map(|number| number.to_le_bytes()).collect();
            let pieces: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            assert_eq!(
                one.try_write_vectored(&pieces).unwrap(),
                4 * Socket::PIECES_MAX
            );
            let read = read_exactly(&other, 4 * Socket::PIECES_MAX, 1 << 16).await;
            assert_eq!(read, parts[..Socket::PIECES_MAX].concat());

            let block = vec![1; 1 << 20];
            let error = loop {
                if let Err(error) = one.try_write(&block) {
                    break error;
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            let soon = now() + Duration::from_millis(2);
            assert!(timeout_at(soon, one.writable()).await.is_none());
            other.readable().await;
            while other.try_read_with(|bytes| bytes.len()).is_ok() {}
            one.writable().await;
            assert!(one.try_write(b"x").is_ok());
        });
    }

    #[test]
    fn the_rest_of_a_value_is_read_into_its_own_buffer() {
        run_both_ways(|| async {
            let (one, other) = stream_pair();
            one.write_all(b"hello world").await.unwrap();
            let mut value = Vec::with_capacity(5);
            other.readable().await;
            let room = value.capacity();
            assert_eq!(other.try_read_spare(&mut value).unwrap(), room);
            assert_eq!(value, b"hello world"[..room]);
        });
    }

    #[test]
    fn one_busy_socket_leaves_room_for_another_task() {
        run_both_ways(|| async {
            let (one, other) = stream_pair();
            one.write_all(&[1; 4096]).await.unwrap();
            let turns = Rc::new(Cell::new(0));
            let count = Rc::clone(&turns);
            spawn(async move {
                loop {
                    count.set(count.get() + 1);
                    yield_now().await;
                }
            });
            read_exactly(&other, 4096, 16).await;
            assert!(turns.get() >= 16, "{} turns", turns.get());
        });
    }

    #[test]
    fn a_socket_leaves_the_reactor_and_comes_back_with_its_bytes() {
        run_both_ways(|| async {
            let (one, other) = stream_pair();
            let away = other.into_socket().unwrap();
            one.write_all(b"meanwhile").await.unwrap();
            let back = Stream::register(away).unwrap();
            assert_eq!(read_exactly(&back, 9, 64).await, b"meanwhile");
        });
    }
}
