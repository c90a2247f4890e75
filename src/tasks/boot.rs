//! Starts the node: engine, reactors, listeners, clockwork. On one page, in order.

use std::io;
use std::process::ExitCode;

use async_std::channel;

use crate::clock::Clock;
use crate::config::file::Loaded;
use crate::engine::Engine;
use crate::io::listening;
use crate::io::reactor::Reactor;
use crate::random::Random;

use super::engine_lock::EngineLock;
use super::{accept, reclaim, tick};

/// Runs a node with these settings until it stops.
pub fn run(loaded: Loaded) -> ExitCode {
    match start(loaded) {
        Ok(code) => code,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start(loaded: Loaded) -> io::Result<ExitCode> {
    let clock = Clock::system();
    let engine = Engine::new(loaded.config, clock.clone(), Random::from_system());
    let addresses: Vec<String> = engine
        .config
        .bind
        .iter()
        .map(|address| address.word())
        .collect();
    let (port, backlog) = (engine.config.port as u16, engine.config.tcp_backlog as i32);
    let threads = engine.config.io_threads.max(1) as usize;
    let (intents, _intents) = channel::unbounded();
    let (garbage, trash) = channel::unbounded();
    let lock = EngineLock::new(engine, intents, garbage);
    reclaim::start(trash)?;
    let mut reactors = Vec::new();
    for index in 0..threads {
        let (remote, _thread) = Reactor::start_thread(&format!("clients-{index}"), clock.clone())?;
        reactors.push(remote);
    }
    log::info!("Server initialized");
    for socket in listening::listen_tcp(&addresses, port, backlog, None)? {
        let (lock, all) = (lock.clone(), reactors.clone());
        reactors[0].spawn(move || accept::accept(socket, lock, all));
    }
    log::info!("Ready to accept connections");
    async_std::task::block_on(tick::run(lock));
    Ok(ExitCode::SUCCESS)
}
