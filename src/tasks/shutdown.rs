//! Ends the process: lets replicas catch up, saves, leaves.
//!
//! Started by the conductor for SHUTDOWN and for signals; one at a time; ends the process, or gives up and says why.

use std::time::Duration;

use crate::clients::ClientKey;
use crate::engine::error::SHUTDOWN_FAILED;
use crate::engine::intent::SaveWish;
use crate::engine::pause::{PauseMode, Purpose};

use super::engine_lock::EngineLock;
use super::{rewrite_aof, take_snapshot, write_aof};

const POLL: Duration = Duration::from_millis(20);

/// Longer than any save takes.
const WRITES_WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

pub async fn run(
    lock: EngineLock,
    wish: SaveWish,
    client: Option<ClientKey>,
    now: bool,
    force: bool,
) {
    log::warn!("User requested shutdown...");
    // A client's shutdown is under way since the command ran, so that ABORT finds it at once.
    lock.with(|engine| {
        engine.shutting_down |= client.is_none();
        // What is saved is the end: a write that were answered after that would be lost, and replicas would have to catch up
        // with it before they may.
        let (now, until) = (engine.monotonic, engine.monotonic + WRITES_WAIT_MAX);
        engine
            .pauses
            .pause(Purpose::Shutdown, PauseMode::Write, until, now);
    });
    if !now {
        wait_for_replicas(&lock).await;
    }
    if lock.with(|engine| !engine.shutting_down) {
        log::warn!("Shutdown manually aborted.");
        return give_up(&lock, client);
    }
    if lock.with(|engine| engine.is_beginning_set()) {
        if !force {
            log::warn!("Writing initial AOF, can't exit.");
            return give_up(&lock, client);
        }
        log::warn!("Writing initial AOF. Exit anyway.");
    }
    let (saves, loading) = lock.with(|engine| {
        let saves = match wish {
            SaveWish::Default => !engine.config.save.is_empty(),
            SaveWish::Save => true,
            SaveWish::NoSave => false,
        };
        (saves, engine.persistence.loading.is_some())
    });
    lock.with(|engine| engine.give_walks_to_disk_up());
    if saves && !loading {
        log::info!("Saving the final RDB snapshot before exiting.");
        if !take_snapshot::save_now(&lock).await {
            log::warn!("Error trying to save the DB, can't exit.");
            if !force {
                return give_up(&lock, client);
            }
        }
    }
    take_snapshot::stop(&lock).await;
    rewrite_aof::stop(&lock).await;
    if let Err(reason) = write_aof::finish(&lock).await {
        log::warn!("Error closing the AOF: {reason}");
        if !force {
            log::warn!("Errors trying to SHUTDOWN. Check the logs for more information.");
            return give_up(&lock, client);
        }
    }
    let pidfile = lock.with(|engine| engine.config.pidfile.clone());
    if !pidfile.as_os_str().is_empty() {
        log::info!("Removing the pid file.");
        // It may have been removed already.
        let _ = std::fs::remove_file(&pidfile);
    }
    log::warn!("Sluice is now ready to exit, bye bye...");
    log::logger().flush();
    std::process::exit(0);
}

/// The server goes on, and who waits for its end is told.
fn give_up(lock: &EngineLock, client: Option<ClientKey>) {
    lock.with(|engine| {
        engine.shutting_down = false;
        engine.unpause(Purpose::Shutdown);
        if let Some(client) = client {
            engine.stats.count_error(SHUTDOWN_FAILED.code());
            engine.unblock(client, |reply| reply.error(SHUTDOWN_FAILED.text()));
        }
    });
}

/// Writes are held back: waits until every replica has what was written, or `shutdown-timeout` is over.
async fn wait_for_replicas(lock: &EngineLock) {
    let deadline = lock.with(|engine| {
        let timeout = Duration::from_secs(engine.config.shutdown_timeout.into());
        let deadline = engine.monotonic + timeout;
        let end = engine.journal.end();
        let lagging =
            !engine.is_replica() && engine.replication.feeds.lagging(end).next().is_some();
        if !lagging || timeout.is_zero() {
            return None;
        }
        engine.request_acks();
        Some(deadline)
    });
    let Some(deadline) = deadline else { return };
    log::info!("Waiting for replicas before shutting down.");
    loop {
        let done = lock.with(|engine| {
            let end = engine.journal.end();
            let over = engine.monotonic >= deadline;
            let mut lagging = 0;
            for feed in engine.replication.feeds.lagging(end) {
                lagging += 1;
                if over {
                    let profile = feed.profile();
                    log::info!(
                        "Lagging replica {}:{} reported offset {} behind master, lag={}, state={}.",
                        profile.ip(),
                        profile.port(),
                        end.since(feed.acked()),
                        feed.lag(engine.monotonic).as_secs(),
                        feed.state_name()
                    );
                }
            }
            lagging == 0 || over || !engine.shutting_down
        });
        if done {
            return;
        }
        async_std::task::sleep(POLL).await;
    }
}
