//! Snapshots for replicas: one walk, straight to the sockets of all riders, or to a file that each is sent.
//!
//! Started by the conductor, a thread for each snapshot that the engine has taken for replicas; ends with the walk. The
//! riders' sockets are lent by their tasks ([`Transfers`]) and given back with their fate.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_std::channel::{Receiver, Sender, bounded};
use bytes::Bytes;

use crate::clients::ClientId;
use crate::clock::Clock;
use crate::config::Config;
use crate::io::file_sink::FileSink;
use crate::io::rider::{Brake, Fate, Passenger};
use crate::io::sink::{Sink, SinkError};
use crate::io::socket::Socket;
use crate::io::socket_sink::{SocketSink, SocketSinkLimits};
use crate::random::Random;
use crate::replication::feed::{SnapshotId, Target};
use crate::replication::feeds::SnapshotPlan;
use crate::replication::payload::{Framing, Mark};
use crate::replication::replconf::Filter;
use crate::snapshot::Snapshot;
use crate::snapshot::walk::{Options, Walk};

use super::engine_lock::EngineLock;

/// Where riders and walks meet.
#[derive(Clone, Default)]
pub struct Transfers(Arc<Mutex<HashMap<SnapshotId, Transfer>>>);

#[derive(Default)]
struct Transfer {
    boarded: Vec<Boarded>,
    /// No more riders are taken.
    departed: bool,
    brake: Option<Brake>,
    cancelled: bool,
    file: Option<Arc<File>>,
}

struct Boarded {
    id: u64,
    socket: Socket,
    fate: Sender<Fate>,
}

/// How long a walk waits for its riders' sockets: they have a line to write first.
const BOARDING: Duration = Duration::from_secs(10);
const BOARDING_POLL: Duration = Duration::from_millis(2);

/// Transfers that are over are remembered for so many more.
const REMEMBERED: u64 = 64;

impl Transfers {
    /// Hands a rider's socket over; its fate comes through the channel, or the channel ends without one.
    pub fn board(&self, snapshot: SnapshotId, id: u64, socket: Socket) -> Receiver<Fate> {
        let (fate, receiver) = bounded(1);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transfer = all.entry(snapshot).or_default();
        if !transfer.departed && !transfer.cancelled {
            transfer.boarded.push(Boarded { id, socket, fate });
        }
        receiver
    }

    /// The file of a snapshot that was made for replicas.
    pub fn file(&self, snapshot: SnapshotId) -> Option<Arc<File>> {
        self.with(snapshot, |transfer| transfer.file.clone())
    }

    /// Ends a transfer whose last rider has left.
    pub fn cancel(&self, snapshot: SnapshotId) {
        self.with(snapshot, |transfer| {
            transfer.cancelled = true;
            transfer.boarded.clear();
            if let Some(brake) = &transfer.brake {
                brake.cancel();
            }
        });
    }

    fn with<R>(&self, snapshot: SnapshotId, work: impl FnOnce(&mut Transfer) -> R) -> R {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|id, _| id.0 + REMEMBERED > snapshot.0);
        work(all.entry(snapshot).or_default())
    }
}

/// Walks a snapshot for replicas, on a thread of its own.
pub fn start(
    lock: EngineLock,
    transfers: Transfers,
    clock: Clock,
    plan: SnapshotPlan,
    snapshot: Snapshot,
) {
    let id = plan.snapshot;
    let config = lock.with(|engine| engine.config.clone());
    let (for_thread, on_failure) = (lock.clone(), lock);
    let started = std::thread::Builder::new()
        .name("full-sync".into())
        .spawn(move || {
            let outcome = match plan.target {
                Target::Sockets => {
                    to_sockets(&for_thread, &transfers, clock, &config, &plan, snapshot)
                }
                Target::Disk => to_file(&for_thread, &transfers, &config, &plan, snapshot),
            };
            match outcome {
                Ok(()) => {
                    log::info!(
                        "Background transfer for {} replica(s) terminated with success",
                        plan.riders.len()
                    );
                    if plan.target == Target::Sockets {
                        for_thread.with(|engine| engine.snapshot_ended(plan.snapshot, None));
                    }
                }
                Err(reason) => {
                    log::warn!("Background transfer error: {reason}");
                    for_thread.with(|engine| engine.snapshot_ended(plan.snapshot, Some(&reason)));
                }
            }
        });
    if let Err(error) = started {
        let reason = format!("no thread for it: {error}");
        on_failure.with(|engine| engine.snapshot_ended(id, Some(&reason)));
    }
}

/// A rider that asked for nothing but the frame gets an empty picture.
fn filtered(mut snapshot: Snapshot, plan: &SnapshotPlan) -> Snapshot {
    if plan.requirement.filter != Filter::Everything {
        snapshot.picture.databases.clear();
    }
    snapshot
}

fn to_sockets(
    lock: &EngineLock,
    transfers: &Transfers,
    clock: Clock,
    config: &Config,
    plan: &SnapshotPlan,
    snapshot: Snapshot,
) -> Result<(), String> {
    log::info!("Starting BGSAVE for SYNC with target: replicas sockets");
    let times = clock.clone();
    let boarded = board(lock, transfers, &times, plan)?;
    let mark = Mark::random(&mut Random::from_system());
    let mut fates = HashMap::new();
    let mut passengers = Vec::new();
    for Boarded { id, socket, fate } in boarded {
        fates.insert(id, fate);
        passengers.push(Passenger {
            id,
            socket,
            prefix: Framing::Marked(mark).header(),
            suffix: mark.trailer(),
        });
    }
    let report = move |fate: Fate| {
        let id = match &fate {
            Fate::Done { id, .. } | Fate::Dropped { id, .. } => *id,
        };
        if let Fate::Dropped {
            reason, bytes_sent, ..
        } = &fate
        {
            log::warn!(
                "replica client id={id}: its full sync ended after {bytes_sent} bytes: {reason}"
            );
        }
        if let Some(channel) = fates.get(&id) {
            // The task may be gone with its client.
            let _ = channel.try_send(fate);
        }
    };
    let limits = SocketSinkLimits::new(
        passengers.len(),
        Duration::from_secs(config.repl_timeout.into()),
    );
    let mut sink = Box::new(SocketSink::new(passengers, limits, clock, report));
    transfers.with(plan.snapshot, |transfer| {
        let brake = sink.brake();
        if transfer.cancelled {
            brake.cancel();
        }
        transfer.brake = Some(brake);
    });
    let walked = Walk::new(filtered(snapshot, plan), Options::of(config))
        .run(|chunk: Bytes| sink.accept(chunk));
    lock.with(|engine| engine.forget_walk(plan.snapshot));
    match walked {
        Ok(_) => sink.finish().map_err(|error: SinkError| error.to_string()),
        Err(error) => {
            let reason = error.to_string();
            sink.abandon(&reason);
            Err(reason)
        }
    }
}

/// Waits until each rider has lent its socket or has gone.
fn board(
    lock: &EngineLock,
    transfers: &Transfers,
    clock: &Clock,
    plan: &SnapshotPlan,
) -> Result<Vec<Boarded>, String> {
    let deadline = clock.monotonic() + BOARDING;
    loop {
        let missing = lock.with(|engine| {
            let is_here = |rider: u64| engine.clients.key_of(ClientId(rider)).is_some();
            plan.riders.iter().filter(|rider| is_here(rider.0)).count()
        });
        let boarded = transfers.with(plan.snapshot, |transfer| {
            let complete = transfer.boarded.len() >= missing || clock.monotonic() > deadline;
            if transfer.cancelled {
                return Some(Err("nobody waits for it any more".to_owned()));
            }
            complete.then(|| {
                transfer.departed = true;
                Ok(std::mem::take(&mut transfer.boarded))
            })
        });
        match boarded {
            Some(Ok(boarded)) if boarded.is_empty() => return Err("no replica is left".into()),
            Some(outcome) => return outcome,
            None => std::thread::sleep(BOARDING_POLL),
        }
    }
}

fn to_file(
    lock: &EngineLock,
    transfers: &Transfers,
    config: &Config,
    plan: &SnapshotPlan,
    snapshot: Snapshot,
) -> Result<(), String> {
    log::info!("Starting BGSAVE for SYNC with target: disk");
    let path = config.dir.join(&config.dbfilename);
    let wanted = || match transfers.with(plan.snapshot, |transfer| transfer.cancelled) {
        true => Err(SinkError::Cancelled),
        false => Ok(()),
    };
    // A save writes the same file: of two writers, the one that began first ends first.
    let turn = lock.with(|engine| Arc::clone(&engine.persistence.turn));
    let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sink = Box::new(
        FileSink::create(&path, config.rdb_save_incremental_fsync)
            .map_err(|error| error.to_string())?,
    );
    let walked = Walk::new(filtered(snapshot, plan), Options::of(config)).run(|chunk| {
        wanted()?;
        sink.accept(chunk)
    });
    match walked.and_then(|_| wanted()) {
        Ok(()) => sink.finish().map_err(|error| error.to_string())?,
        Err(error) => {
            let reason = error.to_string();
            sink.abandon(&reason);
            return Err(reason);
        }
    }
    let describe = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::open(&path).map_err(describe)?;
    let length = file.metadata().map_err(describe)?.len();
    if config.removes_sync_files() {
        // Whoever is sent it has it open.
        log::info!(
            "The RDB file served replicas only, and nothing is persisted here: it is removed"
        );
        std::fs::remove_file(&path).map_err(describe)?;
    }
    drop(turn);
    transfers.with(plan.snapshot, |transfer| {
        transfer.file = Some(Arc::new(file))
    });
    lock.with(|engine| engine.snapshot_file_ready(plan.snapshot, length));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use async_std::channel;

    use super::*;
    use crate::engine::Engine;
    use crate::replication::feed::Requirement;

    #[test]
    fn a_file_for_replicas_waits_for_its_turn_and_is_not_made_for_nobody() {
        let name = format!("sluice-full-sync-{}", std::process::id());
        let place = std::env::temp_dir().join(name);
        fs::create_dir_all(&place).expect("a temp directory");
        let mut config = Config::default();
        config.dir = place.clone();
        let file = place.join(&config.dbfilename);
        fs::write(&file, "old").expect("writable");
        let engine = Engine::new(config.clone(), Clock::system(), Random::from_seed(1));
        // Nobody does what is asked for, and nobody needs to.
        let (intents, _asked) = channel::unbounded();
        let lock = EngineLock::new(engine, intents, channel::unbounded().0);
        let transfers = Transfers::default();
        let plan = |number| SnapshotPlan {
            snapshot: SnapshotId(number),
            target: Target::Disk,
            requirement: Requirement {
                filter: Filter::Everything,
                version: None,
            },
            riders: Vec::new(),
        };
        let write = |number| {
            let snapshot = lock.with(|engine| engine.take_snapshot());
            to_file(&lock, &transfers, &config, &plan(number), snapshot)
        };
        transfers.cancel(SnapshotId(1));
        write(1).expect_err("it is not wanted any more");
        assert_eq!(fs::read(&file).expect("readable"), b"old");

        let turn = lock.with(|engine| Arc::clone(&engine.persistence.turn));
        std::thread::scope(|scope| {
            let held = turn.lock().expect("nobody has panicked");
            let writer = scope.spawn(|| write(2));
            // Whoever did not wait would most likely be done by now.
            while Arc::strong_count(&turn) < 3 {
                std::thread::yield_now();
            }
            assert!(transfers.file(SnapshotId(2)).is_none());
            drop(held);
            writer.join().expect("no panic").expect("writable");
        });
        assert!(transfers.file(SnapshotId(2)).is_some());
        assert!(fs::read(&file).expect("readable").starts_with(b"REDIS"));
        assert_eq!(fs::read_dir(&place).expect("readable").count(), 1);
        fs::remove_dir_all(&place).expect("removable");
    }
}
