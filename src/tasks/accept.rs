//! Takes connections in.
//!
//! Started by boot, one task for each listening socket, on the first reactor; hands connections round the reactors; ends
//! when its reactor stops or `closed` ends.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use async_std::channel::Receiver;

use crate::io::listening::ListeningSocket;
use crate::io::reactor;
use crate::io::remote::Remote;
use crate::io::stream::Listener;
use crate::io::timers::sleep_until;

use super::engine_lock::EngineLock;
use super::full_sync::Transfers;
use super::serve_client;

/// How long to wait after an error that will not go away at once: too many open files.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

pub async fn accept(
    socket: ListeningSocket,
    lock: EngineLock,
    transfers: Transfers,
    reactors: Vec<Remote>,
    closed: Receiver<()>,
) {
    let listener = match Listener::register(socket) {
        Ok(listener) => listener,
        Err(error) => {
            log::error!("Error registering a listening socket: {error}");
            return;
        }
    };
    let mut next = 0;
    loop {
        let accepted = {
            let (mut accept, mut closed) = (pin!(listener.accept()), pin!(closed.recv()));
            poll_fn(|context| {
                if closed.as_mut().poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                accept.as_mut().poll(context).map(Some)
            })
            .await
        };
        let Some(accepted) = accepted else { return };
        match accepted {
            Ok(socket) => {
                let keepalive = lock.with(|engine| engine.config.tcp_keepalive);
                if !socket.peer_name().is_unix() && keepalive > 0 {
                    // A peer that has gone already makes this fail; the first read will tell.
                    let _ = socket.set_keepalive(Some(Duration::from_secs(keepalive as u64)));
                }
                let (lock, transfers) = (lock.clone(), transfers.clone());
                if reactors.len() == 1 {
                    reactor::spawn(serve_client::serve(socket, lock, transfers));
                } else {
                    reactors[next % reactors.len()]
                        .spawn(move || serve_client::serve(socket, lock, transfers));
                    next += 1;
                }
            }
            Err(error) => {
                log::warn!("Error accepting a client connection: {error}");
                sleep_until(reactor::now() + ERROR_PAUSE).await;
            }
        }
    }
}
