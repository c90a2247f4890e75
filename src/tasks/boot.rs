//! Starts the node: engine, reactors, listeners, dataset, clockwork. On one page, in order.

use std::io;
use std::process::ExitCode;

use async_std::channel;
use async_std::task;

use crate::clock::Clock;
use crate::config::file::{Loaded, RenamedCommand};
use crate::engine::Engine;
use crate::engine::intent::{Intent, SaveWish};
use crate::engine::table::Names;
use crate::io::reactor::Reactor;
use crate::io::signal::{SignalEvent, Signals};
use crate::memory;
use crate::random::Random;

use super::engine_lock::EngineLock;
use super::full_sync::Transfers;
use super::listen::Listeners;
use super::{conductor, follow_master, logging, reclaim, restart, sample_memory, tick};

/// Runs a node with these settings until it stops.
pub fn run(loaded: Loaded) -> ExitCode {
    if let Err(error) = logging::init(&loaded.config) {
        // There is no log to say it in.
        let _ = io::Write::write_all(
            &mut io::stderr(),
            format!("Can't open the log file: {error}\n").as_bytes(),
        );
        return ExitCode::FAILURE;
    }
    match start(loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            log::warn!("{reason}");
            log::logger().flush();
            ExitCode::FAILURE
        }
    }
}

fn start(loaded: Loaded) -> Result<(), String> {
    log::info!(
        "Sluice is starting: version {}, Redis {} compatible, pid {}",
        crate::config::VERSION,
        crate::config::REDIS_VERSION,
        std::process::id()
    );
    if let Some(warning) = loaded.warning() {
        log::warn!("{warning}");
    }
    let mut names = Names::default();
    for RenamedCommand { from, to, line } in loaded.renamed_commands {
        names
            .rename(&from, &to)
            .map_err(|reason| line.refused(reason).to_string())?;
    }
    names.establish();
    let clock = Clock::system();
    let mut engine = Engine::new(loaded.config, clock.clone(), Random::from_system());
    engine.config_file = loaded.path;
    let threads = usize::from(engine.config.io_threads.max(1));
    let port = engine.config.port;
    write_pidfile(&engine)?;
    let (intents, asked) = channel::unbounded();
    let (garbage, trash) = channel::unbounded();
    let lock = EngineLock::new(engine, intents, garbage);
    let failed = |error: io::Error| error.to_string();
    reclaim::start(trash).map_err(failed)?;
    let mut reactors = Vec::new();
    for index in 0..threads {
        let (remote, _thread) =
            Reactor::start_thread(&format!("clients-{index}"), clock.clone()).map_err(failed)?;
        reactors.push(remote);
    }
    let transfers = Transfers::default();
    let mut listeners = Listeners::new(reactors, transfers.clone());
    // Clients may connect while the dataset is being loaded: they are told so.
    let found = restart::announce(&lock)?;
    listeners
        .bind(&lock)
        .map_err(|error| format!("Warning: Could not create server TCP listening socket: {error}\nFailed listening on port {port} (TCP), aborting."))?;
    lock.with(|engine| engine.started_memory_bytes = memory::used_bytes());
    log::info!("Server initialized");
    task::block_on(async move {
        let signals = Signals::listen().map_err(failed)?;
        task::spawn(watch_signals(lock.clone(), signals));
        restart::at_start(&lock, found).await?;
        task::spawn(follow_master::run(lock.clone()));
        task::spawn(sample_memory::run(lock.clone()));
        task::spawn(conductor::run(
            lock.clone(),
            asked,
            transfers,
            listeners,
            clock,
        ));
        log::info!("Ready to accept connections tcp");
        tick::run(lock).await;
        Ok(())
    })
}

fn write_pidfile(engine: &Engine) -> Result<(), String> {
    let path = &engine.config.pidfile;
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    std::fs::write(path, format!("{}\n", std::process::id()))
        .map_err(|error| format!("Failed to write PID file {}: {error}", path.display()))
}

/// SIGTERM and SIGINT ask for a shutdown; the second SIGINT ends the process at once.
async fn watch_signals(lock: EngineLock, mut signals: Signals) {
    let mut interrupts = 0;
    while let Ok(event) = signals.next().await {
        let options = match event {
            SignalEvent::Terminate => {
                log::warn!("Received SIGTERM scheduling shutdown...");
                lock.with(|engine| engine.config.shutdown_on_sigterm)
            }
            SignalEvent::Interrupt => {
                interrupts += 1;
                if interrupts > 1 {
                    log::warn!("You insist... exiting now.");
                    log::logger().flush();
                    std::process::exit(1);
                }
                log::warn!("Received SIGINT scheduling shutdown...");
                lock.with(|engine| engine.config.shutdown_on_sigint)
            }
            _ => continue,
        };
        let is_loading =
            lock.with(|engine| engine.persistence.loading.is_some() && !engine.is_replica());
        if is_loading {
            // A dataset that is not whole is not saved over one that is.
            log::warn!("Received shutdown signal during loading, exiting now.");
            log::logger().flush();
            std::process::exit(0);
        }
        let save = match options.save {
            Some(true) => SaveWish::Save,
            Some(false) => SaveWish::NoSave,
            None => SaveWish::Default,
        };
        lock.with(|engine| {
            engine.intents.push(Intent::Shutdown {
                save,
                client: None,
                now: options.now,
                force: options.force,
            });
        });
    }
}
