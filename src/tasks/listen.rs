//! The listening sockets: opened at start, and again when CONFIG SET changes where to listen.
//!
//! Started by boot; each socket is served by a task of `accept` on the first reactor.

use std::io;

use async_std::channel::{Receiver, Sender, bounded};

use crate::io::listening::{self, ListeningSocket};
use crate::io::remote::Remote;

use super::accept;
use super::engine_lock::EngineLock;
use super::full_sync::Transfers;

pub struct Listeners {
    reactors: Vec<Remote>,
    transfers: Transfers,
    /// Dropped to end the accepting tasks.
    open: Option<Sender<()>>,
    closed: Receiver<()>,
}

impl Listeners {
    pub fn new(reactors: Vec<Remote>, transfers: Transfers) -> Self {
        let (open, closed) = bounded(1);
        Listeners {
            reactors,
            transfers,
            open: Some(open),
            closed,
        }
    }

    /// Listens where config says.
    ///
    /// # Errors
    /// The first address that cannot be had; nothing is changed then.
    pub fn bind(&mut self, lock: &EngineLock) -> io::Result<()> {
        let sockets = self.sockets(lock)?;
        (self.open, self.closed) = {
            let (open, closed) = bounded(1);
            (Some(open), closed)
        };
        for socket in sockets {
            let (lock, transfers, all) =
                (lock.clone(), self.transfers.clone(), self.reactors.clone());
            let closed = self.closed.clone();
            self.reactors[0].spawn(move || accept::accept(socket, lock, transfers, all, closed));
        }
        Ok(())
    }

    /// Listens anew; connections that stand are kept. A failure leaves everything as it was.
    pub fn rebind(&mut self, lock: &EngineLock) {
        if let Err(error) = self.bind(lock) {
            log::warn!(
                "Failed to bind to the new addresses, still listening on the old ones: {error}"
            );
        }
    }

    fn sockets(&self, lock: &EngineLock) -> io::Result<Vec<ListeningSocket>> {
        let config = lock.with(|engine| engine.config.clone());
        let backlog = config.tcp_backlog as i32;
        let mut sockets = Vec::new();
        if config.port != 0 {
            let addresses: Vec<String> = config.bind.iter().map(|address| address.word()).collect();
            sockets = listening::listen_tcp(&addresses, config.port, backlog, None)?;
        }
        if !config.unixsocket.as_os_str().is_empty() {
            let permissions = (config.unixsocketperm != 0).then_some(config.unixsocketperm);
            sockets.push(listening::listen_unix(
                &config.unixsocket,
                permissions,
                backlog,
            )?);
        }
        if sockets.is_empty() {
            return Err(io::Error::other(
                "Configured to not listen anywhere, exiting.",
            ));
        }
        Ok(sockets)
    }
}
