//! Listening: every socket that waits for connections, and every option that is ever set on one.
//!
//! Invariants: each descriptor made here is non-blocking and close-on-exec; an IPv6 socket takes no IPv4 connections, so both
//! may have the same port; a listening unix socket removes its own file, and only its own, when it is dropped.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, SockAddr, Type};

use super::socket::{Socket, SocketName, named, uninterrupted};

/// A socket that accepts connections.
pub struct ListeningSocket {
    inner: socket2::Socket,
    local: SocketName,
    /// The unix socket's file, as (device, inode).
    file: Option<(u64, u64)>,
}

impl ListeningSocket {
    /// Where it listens; with port 0 asked for, the port that the system chose.
    pub fn local_name(&self) -> &SocketName {
        &self.local
    }

    /// The next waiting connection, non-blocking and without delay.
    ///
    /// # Errors
    /// `WouldBlock` when none waits.
    pub fn accept(&self) -> io::Result<Socket> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let inner = uninterrupted(|| rustix::net::accept_with(&self.inner, flags))?;
        let inner = socket2::Socket::from(inner);
        if let SocketName::Path(path) = &self.local {
            return Ok(Socket::unix(inner, path));
        }
        let socket = Socket::tcp(inner);
        // A peer that has reset the connection already makes this fail; the first read will tell.
        let _ = socket.set_nodelay(true);
        Ok(socket)
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Drop for ListeningSocket {
    fn drop(&mut self) {
        if let (SocketName::Path(path), Some(file)) = (&self.local, self.file)
            && file_identity(path).is_ok_and(|found| found == file)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Listens on each of `addresses`, written as in `bind`: an IPv4 or IPv6 address or a name; `*` and `::*` for all of a
/// family; with a `-` in front it may be missing on this machine. A family that the kernel lacks is left out silently, so
/// the result may be empty.
///
/// # Errors
/// The first address that cannot be had, named; sockets opened before it are closed.
pub fn listen_tcp(
    addresses: &[String],
    port: u16,
    backlog: i32,
    mark: Option<u32>,
) -> io::Result<Vec<ListeningSocket>> {
    let mut sockets = Vec::with_capacity(addresses.len());
    for written in addresses {
        let (name, optional) = match written.strip_prefix('-') {
            Some(name) => (name, true),
            None => (written.as_str(), false),
        };
        let address = bind_address(name, port)?;
        match listen_at(address, backlog, mark) {
            Ok(socket) => sockets.push(socket),
            Err(error) if is_family_missing(&error) => {}
            Err(error) if optional && Errno::from_io_error(&error) == Some(Errno::ADDRNOTAVAIL) => {
                log::warn!("listen {address}: {error}; left out, as its - allows");
            }
            Err(error) => return Err(named("listen", &address, error)),
        }
    }
    Ok(sockets)
}

/// Listens on a unix socket. A socket file left at `path` is replaced; anything else there is an error. `permissions` (as
/// 0o700) are set before the first client can connect; `None` leaves what the umask gives.
pub fn listen_unix(
    path: &Path,
    permissions: Option<u32>,
    backlog: i32,
) -> io::Result<ListeningSocket> {
    let in_context = |step: &str, error| named(step, &path.display(), error);
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            std::fs::remove_file(path).map_err(|error| in_context("remove", error))?;
        }
        Ok(_) => {
            let error = io::Error::new(io::ErrorKind::AlreadyExists, "not a socket");
            return Err(in_context("replace", error));
        }
        Err(_) => {}
    }
    let inner = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let bound = SockAddr::unix(path).and_then(|address| inner.bind(&address));
    bound.map_err(|error| in_context("bind", error))?;
    let mut socket = ListeningSocket {
        inner,
        local: SocketName::Path(path.to_owned()),
        file: None,
    };
    let prepared = file_identity(path).and_then(|file| {
        socket.file = Some(file);
        match permissions {
            Some(mode) => {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o777))
            }
            None => Ok(()),
        }
    });
    prepared.map_err(|error| in_context("set permissions of", error))?;
    let listening = socket.inner.listen(backlog);
    listening.map_err(|error| in_context("listen", error))?;
    Ok(socket)
}

fn listen_at(address: SocketAddr, backlog: i32, mark: Option<u32>) -> io::Result<ListeningSocket> {
    let domain = Domain::for_address(address);
    let inner = socket2::Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        inner.set_only_v6(true)?;
    }
    inner.set_reuse_address(true)?;
    if let Some(mark) = mark {
        inner.set_mark(mark)?;
    }
    inner.bind(&address.into())?;
    inner.listen(backlog)?;
    Ok(ListeningSocket {
        local: SocketName::Ip(inner.local_addr()?.as_socket()),
        inner,
        file: None,
    })
}

fn bind_address(name: &str, port: u16) -> io::Result<SocketAddr> {
    let ip: IpAddr = match name {
        "*" => Ipv4Addr::UNSPECIFIED.into(),
        "::*" => Ipv6Addr::UNSPECIFIED.into(),
        _ => {
            if let Ok(ip) = name.parse() {
                ip
            } else {
                // Asked for once, before the server serves anybody.
                let mut found = (name, port)
                    .to_socket_addrs()
                    .map_err(|error| named("resolve", &name, error))?;
                let first = found.next();
                return first.ok_or_else(|| {
                    let error = io::Error::new(io::ErrorKind::NotFound, "no address");
                    named("resolve", &name, error)
                });
            }
        }
    };
    Ok(SocketAddr::new(ip, port))
}

fn is_family_missing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::NOPROTOOPT
                | Errno::PROTONOSUPPORT
                | Errno::SOCKTNOSUPPORT
                | Errno::PFNOSUPPORT
                | Errno::AFNOSUPPORT
        )
    )
}

fn file_identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::io::socket::connect_unix;

    pub(in crate::io) fn bind(addresses: &[&str], port: u16) -> io::Result<Vec<ListeningSocket>> {
        let addresses: Vec<_> = addresses.iter().map(|&name| name.to_owned()).collect();
        listen_tcp(&addresses, port, 16, None)
    }

    pub(in crate::io) fn accept(listening: &ListeningSocket) -> Socket {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match listening.accept() {
                Ok(socket) => return socket,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            assert!(Instant::now() < deadline, "nobody connected");
            std::thread::yield_now();
        }
    }

    pub(in crate::io) fn address_of(listening: &ListeningSocket) -> SocketAddr {
        match *listening.local_name() {
            SocketName::Ip(Some(address)) => address,
            ref name => panic!("{name} is no address"),
        }
    }

    fn temp_dir(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("sluice-socket-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn one_port_serves_both_families_side_by_side() {
        let first = bind(&["*"], 0).unwrap();
        let port = address_of(&first[0]).port();
        assert!(address_of(&first[0]).ip().is_unspecified());
        assert!(first[0].inner.reuse_address().unwrap());
        // Without IPV6_V6ONLY the second would meet the first.
        let second = bind(&["-::*"], port).unwrap();
        assert!(
            second
                .iter()
                .all(|socket| address_of(socket).port() == port)
        );
    }

    #[test]
    fn an_absent_address_is_an_error_unless_it_is_optional() {
        // 192.0.2.0/24 is set aside for documentation and on no machine.
        let error = bind(&["192.0.2.1"], 0).err().unwrap().to_string();
        assert!(error.starts_with("listen 192.0.2.1:0: "), "{error}");
        let sockets = bind(&["-192.0.2.1", "127.0.0.1"], 0).unwrap();
        assert_eq!(sockets.len(), 1);
        assert!(bind(&["no.such.host.invalid"], 0).is_err());
    }

    #[test]
    fn a_taken_port_is_an_error_even_for_an_optional_address() {
        let first = bind(&["127.0.0.1"], 0).unwrap();
        let error = bind(&["-127.0.0.1"], address_of(&first[0]).port());
        assert_eq!(error.err().unwrap().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_unix_socket_replaces_a_stale_one_and_removes_its_own_file() {
        let directory = temp_dir("stale");
        let path = directory.join("s.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(
            path.exists(),
            "a listener of the standard library leaves its file"
        );
        let listening = listen_unix(&path, Some(0o700), 16).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let client = connect_unix(&path).unwrap();
        let server = accept(&listening);
        assert_eq!(
            server.peer_name().to_string(),
            format!("{}:0", path.display())
        );
        assert_eq!(client.try_write(b"hi").unwrap(), 2);
        assert_eq!(server.try_read(&mut [0; 8]).unwrap(), 2);
        server.set_keepalive(Some(Duration::from_secs(9))).unwrap();
        server.set_nodelay(false).unwrap();

        // A successor has taken the path over: its file is not ours to remove.
        let successor = listen_unix(&path, None, 16).unwrap();
        drop(listening);
        assert!(path.exists());
        drop(successor);
        assert!(!path.exists());
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_unix_socket_never_replaces_an_ordinary_file() {
        let directory = temp_dir("file");
        let path = directory.join("precious");
        std::fs::write(&path, "data").unwrap();
        let error = listen_unix(&path, None, 16).err().unwrap().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
