//! Connected sockets: connecting, reading and writing without waiting, and every option that is ever set on one.
//!
//! Invariants: each descriptor made here is non-blocking and close-on-exec; TCP sockets send without delay unless told
//! otherwise.
//! Knows nothing of the reactor, of clients or of the configuration's names.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_io::Async;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::{Domain, Protocol, SockAddr, TcpKeepalive, Type};

/// A connected socket that belongs to no loop yet: it may cross threads, and its tries never wait.
pub struct Socket {
    inner: socket2::Socket,
    peer: SocketName,
    local: SocketName,
}

impl Socket {
    /// More pieces than this are never looked at in one write (the kernel's own limit).
    pub const PIECES_MAX: usize = 1024;

    /// Two connected unix sockets without names.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socket2::Socket::pair(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        let nameless = Path::new("");
        Ok((Self::unix(one, nameless), Self::unix(other, nameless)))
    }

    pub fn peer_name(&self) -> &SocketName {
        &self.peer
    }

    pub fn local_name(&self) -> &SocketName {
        &self.local
    }

    /// Sends small writes at once (`true`, as every socket made here starts) or gathers them, as
    /// `repl-disable-tcp-nodelay` asks for. Nothing to do on a unix socket.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        if self.peer.is_unix() {
            return Ok(());
        }
        self.inner.set_tcp_nodelay(nodelay)
    }

    /// Has the kernel probe a silent peer after `idle`, then every third of it, and give up after three probes: the
    /// rhythm of Redis's `tcp-keepalive`. `None` turns probing off. Nothing to do on a unix socket.
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        if self.peer.is_unix() {
            return Ok(());
        }
        let Some(idle) = idle else {
            return self.inner.set_keepalive(false);
        };
        let idle_seconds = idle.as_secs().clamp(1, KEEPALIVE_SECONDS_MAX);
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(idle_seconds))
            .with_interval(Duration::from_secs((idle_seconds / 3).max(1)))
            .with_retries(3);
        self.inner.set_tcp_keepalive(&keepalive)
    }

    /// Marks the socket's packets for the firewall (`socket-mark-id`); needs the privilege to do so.
    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        self.inner.set_mark(mark)
    }

    /// Asks the kernel for a send or receive buffer of about this size; tests make sockets full with it.
    pub fn set_buffers(&self, send_bytes: usize, receive_bytes: usize) -> io::Result<()> {
        self.inner.set_send_buffer_size(send_bytes)?;
        self.inner.set_recv_buffer_size(receive_bytes)
    }

    /// Reads once; `Ok(0)` is the end.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing now; never `Interrupted`.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| {
            rustix::net::recv(&self.inner, &mut *buffer, RecvFlags::empty()).map(|(count, _)| count)
        })
    }

    /// Reads once into what `buffer` has left of its capacity.
    pub fn try_read_spare(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        uninterrupted(|| {
            rustix::net::recv(&self.inner, spare_capacity(buffer), RecvFlags::empty())
                .map(|(count, _)| count)
        })
    }

    /// Writes once; returns how many bytes were taken.
    ///
    /// # Errors
    /// `WouldBlock` when none were; never `Interrupted`.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| rustix::net::send(&self.inner, bytes, SendFlags::NOSIGNAL))
    }

    /// Writes the first [`Socket::PIECES_MAX`] pieces once.
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [piece] = pieces {
            return self.try_write(piece);
        }
        let pieces = &pieces[..pieces.len().min(Self::PIECES_MAX)];
        uninterrupted(|| {
            let mut nothing = SendAncillaryBuffer::default();
            rustix::net::sendmsg(&self.inner, pieces, &mut nothing, SendFlags::NOSIGNAL)
        })
    }

    /// Ends our direction, or both: what was written is still delivered.
    pub fn shutdown(&self, how: std::net::Shutdown) -> io::Result<()> {
        self.inner.shutdown(how)
    }

    /// For code that blocks in a thread of its own, as tools do: waits up to `timeout` (`None`: for ever) in each call.
    pub fn into_blocking(self, timeout: Option<Duration>) -> io::Result<socket2::Socket> {
        self.inner.set_nonblocking(false)?;
        self.inner.set_read_timeout(timeout)?;
        self.inner.set_write_timeout(timeout)?;
        Ok(self.inner)
    }

    /// A connection made through the unix socket at `path`, at either end of it.
    pub(super) fn unix(inner: socket2::Socket, path: &Path) -> Self {
        Socket {
            inner,
            peer: SocketName::Path(path.to_owned()),
            local: SocketName::Path(path.to_owned()),
        }
    }

    pub(super) fn tcp(inner: socket2::Socket) -> Self {
        let name = |address: io::Result<SockAddr>| {
            SocketName::Ip(address.ok().and_then(|address| address.as_socket()))
        };
        Socket {
            peer: name(inner.peer_addr()),
            local: name(inner.local_addr()),
            inner,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

/// One end of a connection, printed as CLIENT LIST does: `127.0.0.1:6379`, `[::1]:6379`, `/run/sluice.sock:0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketName {
    /// `None` where the peer was gone before it could be asked for.
    Ip(Option<SocketAddr>),
    /// The path that the listening side is bound to, for both ends.
    Path(PathBuf),
}

impl SocketName {
    pub fn is_unix(&self) -> bool {
        matches!(self, SocketName::Path(_))
    }

    /// The address without its port, as ROLE and INFO show it.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            SocketName::Ip(address) => address.map(|address| address.ip()),
            SocketName::Path(_) => None,
        }
    }

    /// 0 for a unix socket.
    pub fn port(&self) -> u16 {
        match self {
            SocketName::Ip(address) => address.map_or(0, |address| address.port()),
            SocketName::Path(_) => 0,
        }
    }

    /// True for a unix socket and for loopback addresses: the peers that protected mode lets in.
    pub fn is_local(&self) -> bool {
        match self {
            SocketName::Ip(address) => address.is_some_and(|address| address.ip().is_loopback()),
            SocketName::Path(_) => true,
        }
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A scope (`%2`) is no part of the name.
            SocketName::Ip(Some(SocketAddr::V6(address))) => {
                write!(out, "[{}]:{}", address.ip(), address.port())
            }
            SocketName::Ip(Some(address)) => write!(out, "{address}"),
            SocketName::Ip(None) => write!(out, "?:0"),
            SocketName::Path(path) => write!(out, "{}:0", path.display()),
        }
    }
}

/// All addresses of `host` (an address or a name), as the system's resolver orders them, found on a blocking thread.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = async_std::net::ToSocketAddrs::to_socket_addrs(&(host, port)).await;
    let addresses: Vec<_> = found
        .map_err(|error| named("resolve", &host, error))?
        .collect();
    if addresses.is_empty() {
        let error = io::Error::new(io::ErrorKind::NotFound, "no address");
        return Err(named("resolve", &host, error));
    }
    Ok(addresses)
}

/// Connects to the first address that answers, within `timeout` for each, from the address `source` where it is given and
/// of the same family. A source that cannot be bound is logged and done without, as Redis does. Works on any executor.
///
/// # Errors
/// The last address's failure, named; `TimedOut` where nothing answered.
pub async fn connect(
    addresses: &[SocketAddr],
    source: Option<IpAddr>,
    timeout: Duration,
) -> io::Result<Socket> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "connect: no address");
    for address in addresses {
        match connect_to(*address, source, timeout).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = named("connect", address, error),
        }
    }
    Err(last)
}

/// Connects to a unix socket; the kernel answers at once.
pub fn connect_unix(path: &Path) -> io::Result<Socket> {
    let inner = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let connected = SockAddr::unix(path).and_then(|address| inner.connect(&address));
    connected.map_err(|error| named("connect", &path.display(), error))?;
    Ok(Socket::unix(inner, path))
}

async fn connect_to(
    address: SocketAddr,
    source: Option<IpAddr>,
    timeout: Duration,
) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let inner = socket2::Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        inner.set_reuse_address(true)?;
        if let Err(error) = inner.bind(&SocketAddr::new(source, 0).into()) {
            log::warn!("connect {address}: cannot bind to {source}: {error}; going on without");
        }
    }
    match inner.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {}
        Err(error) => return Err(error),
    }
    let inner = Async::new_nonblocking(inner)?;
    match async_std::future::timeout(timeout, inner.writable()).await {
        Ok(writable) => writable?,
        Err(_) => {
            let text = format!("no answer within {} ms", timeout.as_millis());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
    }
    let inner = inner.into_inner()?;
    if let Some(error) = inner.take_error()? {
        return Err(error);
    }
    let socket = Socket::tcp(inner);
    socket.set_nodelay(true)?;
    Ok(socket)
}

pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome.map_err(io::Error::from),
        }
    }
}

/// The same kind of error, saying what was tried on what.
pub(super) fn named(step: &str, what: &dyn fmt::Display, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{step} {what}: {error}"))
}

/// The most that the kernel accepts.
const KEEPALIVE_SECONDS_MAX: u64 = 32_767;

#[cfg(test)]
mod tests {
    use async_std::task::block_on;

    use super::*;
    use crate::io::listening::listen_tcp;
    use crate::io::listening::tests::{accept, address_of, bind};

    #[test]
    fn both_ends_of_a_connection_agree_on_their_names() {
        for name in ["127.0.0.1", "::1"] {
            let Ok(listening) = bind(&[name], 0) else {
                continue; // A machine without this family.
            };
            let Some(listening) = listening.first() else {
                continue;
            };
            let address = address_of(listening);
            let client = block_on(connect(&[address], None, Duration::from_secs(5))).unwrap();
            let server = accept(listening);
            assert_eq!(client.peer_name(), server.local_name());
            assert_eq!(client.local_name(), server.peer_name());
            assert_eq!(server.local_name().to_string(), address.to_string());
            assert!(server.peer_name().is_local());
        }
    }

    #[test]
    fn names_are_printed_as_client_list_prints_them() {
        let name = |text: &str| SocketName::Ip(Some(text.parse().unwrap())).to_string();
        assert_eq!(name("10.1.2.3:6379"), "10.1.2.3:6379");
        assert_eq!(name("[::1]:6379"), "[::1]:6379");
        assert_eq!(name("[fe80::1%3]:6379"), "[fe80::1]:6379");
        assert_eq!(
            SocketName::Path("/run/s.sock".into()).to_string(),
            "/run/s.sock:0"
        );
        assert_eq!(SocketName::Ip(None).to_string(), "?:0");
    }

    #[test]
    fn options_reach_the_kernel() {
        let listening = bind(&["127.0.0.1"], 0).unwrap();
        let address = address_of(&listening[0]);
        let client = block_on(connect(&[address], None, Duration::from_secs(5))).unwrap();
        let server = accept(&listening[0]);
        for socket in [&client, &server] {
            assert!(socket.inner.tcp_nodelay().unwrap());
            assert!(socket.inner.nonblocking().unwrap());
        }
        server.set_nodelay(false).unwrap();
        assert!(!server.inner.tcp_nodelay().unwrap());
        let keepalive = |socket: &Socket| {
            (
                socket.inner.keepalive().unwrap(),
                socket.inner.tcp_keepalive_time().unwrap().as_secs(),
                socket.inner.tcp_keepalive_interval().unwrap().as_secs(),
                socket.inner.tcp_keepalive_retries().unwrap(),
            )
        };
        server
            .set_keepalive(Some(Duration::from_secs(300)))
            .unwrap();
        assert_eq!(keepalive(&server), (true, 300, 100, 3));
        server.set_keepalive(Some(Duration::from_secs(2))).unwrap();
        assert_eq!(keepalive(&server), (true, 2, 1, 3));
        server.set_keepalive(None).unwrap();
        assert!(!server.inner.keepalive().unwrap());
    }

    #[test]
    fn a_connection_comes_from_the_source_that_was_asked_for() {
        let listening = bind(&["127.0.0.1"], 0).unwrap();
        let address = address_of(&listening[0]);
        let second = Duration::from_secs(1);
        let from: IpAddr = "127.0.0.3".parse().unwrap();
        let client = block_on(connect(&[address], Some(from), second)).unwrap();
        assert_eq!(client.local_name().ip(), Some(from));
        assert_eq!(accept(&listening[0]).peer_name().ip(), Some(from));
        // One that this machine does not have is done without.
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        let client = block_on(connect(&[address], Some(from), second)).unwrap();
        assert_eq!(client.local_name().ip(), Some(address.ip()));
    }

    #[test]
    fn connecting_tries_the_next_address_and_names_the_last_failure() {
        let listening = bind(&["127.0.0.1"], 0).unwrap();
        let good = address_of(&listening[0]);
        let taken = bind(&["127.0.0.2"], 0).unwrap();
        let refused = address_of(&taken[0]);
        drop(taken);
        let second = Duration::from_secs(1);
        assert!(block_on(connect(&[refused, good], None, second)).is_ok());
        let error = block_on(connect(&[refused], None, second)).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(
            error
                .to_string()
                .starts_with(&format!("connect {refused}: "))
        );
        assert!(block_on(connect(&[], None, second)).is_err());
    }

    #[test]
    fn nobody_answering_ends_in_a_timeout() {
        // A backlog of zero holds one connection; the kernel leaves the next ones without an answer.
        let listening = listen_tcp(&["127.0.0.1".to_owned()], 0, 0, None).unwrap();
        let address = address_of(&listening[0]);
        let mut held = Vec::new();
        let error = loop {
            match block_on(connect(&[address], None, Duration::from_millis(50))) {
                Ok(socket) => held.push(socket),
                Err(error) => break error,
            }
            assert!(held.len() < 10, "the backlog has no end");
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn names_are_resolved_off_the_callers_thread() {
        let port = 6379;
        let literal = block_on(resolve("::1", port)).unwrap();
        assert_eq!(literal, ["[::1]:6379".parse().unwrap()]);
        let found = block_on(resolve("localhost", port)).unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()));
        let error = block_on(resolve("no.such.host.invalid", port))
            .err()
            .unwrap();
        assert!(
            error
                .to_string()
                .starts_with("resolve no.such.host.invalid: ")
        );
    }
}
