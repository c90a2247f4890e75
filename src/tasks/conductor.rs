//! Does what the engine asks for.
//!
//! Started by boot on async-std; woken by intents; ends with the process. Nothing here waits for long: what takes time
//! gets a task or thread of its own.

use async_std::channel::Receiver;
use async_std::task;

use crate::clock::Clock;
use crate::engine::intent::Intent;

use super::engine_lock::EngineLock;
use super::full_sync::{self, Transfers};
use super::listen::Listeners;
use super::{
    await_sync, digest, keep_history, load, restart, rewrite_aof, rewrite_config, shutdown,
    take_snapshot,
};

pub async fn run(
    lock: EngineLock,
    intents: Receiver<Intent>,
    transfers: Transfers,
    mut listeners: Listeners,
    clock: Clock,
) {
    while let Ok(intent) = intents.recv().await {
        let lock = lock.clone();
        match intent {
            Intent::Save => {
                task::spawn(take_snapshot::save_to_file(lock));
            }
            Intent::Rewrite => {
                task::spawn(rewrite_aof::run(lock));
            }
            Intent::Shutdown {
                save,
                client,
                now,
                force,
            } => {
                task::spawn(shutdown::run(lock, save, client, now, force));
            }
            Intent::Reload { client, save } => {
                task::spawn(load::reload(lock, client, save));
            }
            Intent::ReloadAof { client } => {
                task::spawn(restart::reload_aof(lock, client));
            }
            Intent::RewriteConfig { client } => {
                task::spawn(rewrite_config::run(lock, client));
            }
            Intent::Digest { client, picture } => {
                task::spawn(digest::run(lock, client, picture));
            }
            Intent::Listen(request) => listeners.change(&lock, request).await,
            Intent::Rebind => listeners.follow(&lock).await,
            Intent::GiveUp { reason } => {
                log::error!("{reason}");
                log::logger().flush();
                std::process::exit(1);
            }
            Intent::AwaitSync => {
                task::spawn(await_sync::run(lock));
            }
            Intent::KeepHistory => {
                task::spawn(keep_history::run(lock));
            }
            Intent::DriveLink => lock.with(|engine| engine.wake_link()),
            Intent::FeedReplicas => {
                let (due, abandoned) = lock.with(|engine| engine.take_due_snapshots());
                for snapshot in abandoned {
                    transfers.cancel(snapshot);
                }
                for (plan, snapshot) in due {
                    full_sync::start(
                        lock.clone(),
                        transfers.clone(),
                        clock.clone(),
                        plan,
                        snapshot,
                    );
                }
            }
        }
    }
}
