//! The listening sockets: opened at start, and again when CONFIG SET changes where to listen.
//!
//! Started by boot; each socket is served by a task of `accept` on the first reactor.

use std::io;

use async_std::channel::{Receiver, Sender, bounded};

use crate::config::Config;
use crate::config::values::BindAddress;
use crate::engine::intent::ListenRequest;
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
    /// Ends with the last of them, when its socket is closed.
    closed: Receiver<()>,
    /// Where they listen.
    bind: Vec<BindAddress>,
    port: u16,
}

impl Listeners {
    pub fn new(reactors: Vec<Remote>, transfers: Transfers) -> Self {
        Listeners {
            reactors,
            transfers,
            open: None,
            closed: bounded(1).1,
            bind: Vec::new(),
            port: 0,
        }
    }

    /// Listens where config says.
    ///
    /// # Errors
    /// The first address that cannot be had; nothing is changed then.
    pub fn bind(&mut self, lock: &EngineLock) -> io::Result<()> {
        let config = lock.with(|engine| engine.config.clone());
        let sockets = sockets(&config)?;
        if sockets.is_empty() {
            return Err(io::Error::other(
                "Configured to not listen anywhere, exiting.",
            ));
        }
        self.accept_from(sockets, lock, &config);
        Ok(())
    }

    /// CONFIG SET of where to listen: carried out and answered only if that can be had.
    pub async fn change(&mut self, lock: &EngineLock, request: ListenRequest) {
        let ListenRequest {
            client,
            pairs,
            circumstances,
            name,
        } = request;
        // Others may change settings while the sockets change: these are worked out anew.
        let changed = |config: &Config| config.changed_by(&pairs, circumstances);
        let outcome = match lock.with(|engine| changed(&engine.config)) {
            Ok(change) => match self.rebind(lock, &change.config).await {
                Ok(()) => lock.with(|engine| {
                    let change = changed(&engine.config)?;
                    engine.take_settings(change);
                    Ok(())
                }),
                Err(error) => {
                    log::warn!("Still listening where it was, because: {error}");
                    Err(ListenRequest::refusal(name))
                }
            },
            Err(refusal) => Err(refusal),
        };
        lock.with(|engine| match outcome {
            Ok(()) => engine.unblock(client, |reply| reply.ok()),
            Err(refusal) => {
                engine.stats.count_error("ERR");
                engine.unblock(client, |reply| reply.error(&refusal.to_string()));
            }
        });
    }

    /// Listens where config says by now; what cannot be had is taken back.
    pub async fn follow(&mut self, lock: &EngineLock) {
        let config = lock.with(|engine| engine.config.clone());
        if let Err(error) = self.rebind(lock, &config).await {
            log::warn!("Still listening where it was, because: {error}");
            lock.with(|engine| {
                engine.config.bind = self.bind.clone();
                engine.config.port = self.port;
            });
        }
    }

    /// Listens anew; connections that stand are kept. A failure leaves everything as it was.
    async fn rebind(&mut self, lock: &EngineLock, config: &Config) -> io::Result<()> {
        let in_the_way = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        let outcome = match sockets(config) {
            Err(error) if in_the_way(&error) => {
                // Our own sockets may be what is in the way.
                self.open = None;
                let _ = self.closed.recv().await;
                sockets(config)
            }
            outcome => outcome,
        };
        match outcome {
            Ok(sockets) => {
                self.accept_from(sockets, lock, config);
                Ok(())
            }
            Err(error) => {
                if self.open.is_none() {
                    self.listen_again(lock, config);
                }
                Err(error)
            }
        }
    }

    /// Takes up again what was closed to make room.
    fn listen_again(&mut self, lock: &EngineLock, config: &Config) {
        let mut config = config.clone();
        (config.bind, config.port) = (self.bind.clone(), self.port);
        match sockets(&config) {
            Ok(sockets) => self.accept_from(sockets, lock, &config),
            Err(error) => log::error!("Not listening any more: {error}"),
        }
    }

    fn accept_from(&mut self, sockets: Vec<ListeningSocket>, lock: &EngineLock, config: &Config) {
        let (open, ended) = bounded(1);
        let (accepting, closed) = bounded(1);
        for socket in sockets {
            let (lock, transfers, all) =
                (lock.clone(), self.transfers.clone(), self.reactors.clone());
            let (ended, accepting) = (ended.clone(), accepting.clone());
            self.reactors[0].spawn(move || async move {
                accept::accept(socket, lock, transfers, all, ended).await;
                drop(accepting);
            });
        }
        (self.open, self.closed) = (Some(open), closed);
        (self.bind, self.port) = (config.bind.clone(), config.port);
    }
}

fn sockets(config: &Config) -> io::Result<Vec<ListeningSocket>> {
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
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bind: &str, port: u16) -> Config {
        let mut config = Config::default();
        config.set("bind", &[bind]).unwrap();
        config.port = port;
        config
    }

    #[test]
    fn nowhere_to_listen_is_no_socket_and_a_taken_port_is_an_error() {
        assert!(sockets(&config("127.0.0.1", 0)).unwrap().is_empty());
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = sockets(&config("127.0.0.1", port)).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
