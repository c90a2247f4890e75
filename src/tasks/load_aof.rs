//! Loads a dataset from the files of an AOF: at start, and again for DEBUG LOADAOF.
//!
//! Started by the restart (`restart.rs`) and by the conductor; runs on a thread that may block, beside the one that reads
//! (`read_aof.rs`). Requests are run under the engine's lock, a batch at a time; clients get their -LOADING in between. Ends
//! with the dataset in place, and what is known of the files ([`LoadedAof`]); or with the first fault.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::aof::disk::Disk;
use crate::engine::Engine;
use crate::engine::replaying::{Batch, Replay};
use crate::journal::position::Position;
use crate::keyspace::Key;
use crate::snapshot::loading::{Expired, Loaded};

use super::engine_lock::EngineLock;
use super::load;
use super::read_aof::{FileEnd, Piece, Reader, Source};

/// What loading has found out.
#[derive(Debug)]
pub struct LoadedAof {
    /// For each file that was looked at, in order. A fault stands at the last one only.
    pub ends: Vec<FileEnd>,
    /// Selected at the end of the last file, unless nothing was.
    pub selected: Option<u32>,
    /// Where the RDB at the head of the first file says that it stands.
    pub base_position: Option<Position>,
}

/// Reads the files and runs what they hold on the present dataset, which is empty or, below an RDB, will be replaced. All that
/// stands before a fault has been run when this returns.
///
/// # Errors
/// No second thread could be started.
pub fn load(lock: &EngineLock, disk: &dyn Disk, sources: &[Source]) -> Result<LoadedAof, String> {
    let options = lock.with(|engine| engine.load_options(Expired::Keep, None));
    let (pieces, arriving) = sync_channel(PIECES_WAITING_MAX);
    let (emptied, spare) = sync_channel(PIECES_WAITING_MAX);
    thread::scope(|scope| {
        let reading = thread::Builder::new()
            .name("aof-read".into())
            .spawn_scoped(scope, move || {
                Reader {
                    disk,
                    options,
                    pieces,
                    spare,
                }
                .read_all(sources)
            })
            .map_err(|error| format!("no thread to load with: {error}"))?;
        let mut runner = Runner {
            lock,
            emptied,
            replay: Replay::default(),
            open: Vec::new(),
            base_position: None,
            is_first: true,
        };
        for piece in arriving {
            runner.take(piece);
        }
        let ends = match reading.join() {
            Ok(ends) => ends,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        runner.tell_failures();
        Ok(LoadedAof {
            ends,
            selected: runner.replay.selected.map(|db| db as u32),
            base_position: runner.base_position,
        })
    })
}

/// Runs what arrives.
struct Runner<'a> {
    lock: &'a EngineLock,
    emptied: SyncSender<Batch>,
    replay: Replay,
    /// Batches whose end belongs to a transaction that is still open, with the first request that was not run.
    open: Vec<(Batch, usize)>,
    base_position: Option<Position>,
    is_first: bool,
}

impl Runner<'_> {
    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Begin => {
                self.open.clear();
                self.replay.db = 0;
                self.replay.selected = None;
            }
            Piece::Dataset(loaded) => self.take_dataset(*loaded),
            Piece::Requests {
                batch,
                whole,
                bytes,
            } => self.take_requests(batch, whole, bytes),
        }
    }

    fn take_dataset(&mut self, loaded: Loaded) {
        let (now, took) = self.lock.with(|engine| (engine.now, Duration::ZERO));
        load::log_loaded(&loaded, now, took);
        if std::mem::take(&mut self.is_first) {
            self.base_position = loaded.about.position;
        }
        let bytes = loaded.counts.bytes;
        self.lock.with(|engine| {
            take_in(engine, loaded);
            progress(engine, bytes);
        });
    }

    fn take_requests(&mut self, batch: Batch, whole: usize, bytes: u64) {
        if whole > 0 {
            for (earlier, from) in std::mem::take(&mut self.open) {
                self.run(&earlier, from, earlier.len());
                self.give_back(earlier);
            }
        }
        self.run(&batch, 0, whole);
        self.lock.with(|engine| progress(engine, bytes));
        if whole < batch.len() {
            self.open.push((batch, whole));
        } else {
            self.give_back(batch);
        }
    }

    fn run(&mut self, batch: &Batch, from: usize, to: usize) {
        let mut at = from;
        while at < to {
            let end = to.min(at + REQUESTS_PER_LOCK);
            let replay = &mut self.replay;
            self.lock
                .with(|engine| engine.replay(replay, batch, at..end));
            at = end;
        }
    }

    fn give_back(&mut self, batch: Batch) {
        // A full channel: there are enough of them.
        let _ = self.emptied.try_send(batch);
    }

    fn tell_failures(&self) {
        let Replay {
            requests, failures, ..
        } = self.replay;
        if failures > 0 {
            log::warn!("{failures} of {requests} commands in the AOF were answered with an error");
        }
    }
}

/// Puts the dataset of an RDB in place of an empty one, or its keys among those that are there.
fn take_in(engine: &mut Engine, mut loaded: Loaded) {
    if engine.keyspace.is_empty() {
        return engine.install(loaded, false);
    }
    engine.persistence.count_load(loaded.counts);
    for db in 0..loaded.keyspace.count() {
        let table = loaded.keyspace.db_mut(db).take();
        for entry in table.iter() {
            let key = Key::new(entry.key());
            engine.keyspace.db_mut(db).insert(key.hash, entry.clone());
        }
    }
}

fn progress(engine: &mut Engine, bytes: u64) {
    if let Some(loading) = &mut engine.persistence.loading {
        loading.loaded_bytes += bytes;
    }
}

/// Pieces that may wait for the thread that runs them.
const PIECES_WAITING_MAX: usize = 8;

/// Requests that are run under one lock.
const REQUESTS_PER_LOCK: usize = 1024;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use async_std::channel;

    use super::super::read_aof::Fault;
    use super::*;
    use crate::aof::disk::RealDisk;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::engine::persistence::Loading;
    use crate::journal::effect::encode_argv;
    use crate::keyspace::digest::Digest;
    use crate::random::Random;

    fn node() -> EngineLock {
        let engine = Engine::new(Config::default(), Clock::system(), Random::from_seed(1));
        let (intents, asked) = channel::unbounded();
        let (garbage, trash) = channel::unbounded();
        // Nobody takes what is asked for.
        std::mem::forget((asked, trash));
        let lock = EngineLock::new(engine, intents, garbage);
        lock.with(|engine| engine.persistence.loading = Some(Loading::default()));
        lock
    }

    /// Files in a directory of their own, removed at the end.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            let name = format!("sluice-load-aof-{}-{name}", std::process::id());
            let place = std::env::temp_dir().join(name);
            fs::create_dir_all(&place).expect("a temp directory");
            Files(place)
        }

        fn source(&self, name: &str, bytes: &[u8]) -> Source {
            let path = self.0.join(name);
            fs::write(&path, bytes).expect("writable");
            Source { path, crc64: None }
        }

        /// Loads one file; what it came to, and the dataset.
        fn load(&self, bytes: &[u8]) -> (FileEnd, EngineLock) {
            let source = self.source("file", bytes);
            let lock = node();
            let mut loaded = load(&lock, &RealDisk, &[source]).expect("two threads");
            (loaded.ends.pop().expect("one file"), lock)
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            // What cannot be removed is the system's to clear away.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn command(line: &str) -> Vec<u8> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut bytes = Vec::new();
        encode_argv(&words, &mut bytes);
        bytes
    }

    fn digest(lock: &EngineLock) -> String {
        lock.with(|engine| Digest::of_dataset(&engine.keyspace.picture()).to_string())
    }

    fn keys(lock: &EngineLock) -> usize {
        lock.with(|engine| engine.keyspace.len())
    }

    #[test]
    fn requests_are_run_in_order_and_nothing_of_it_is_recorded() {
        let files = Files::new("order");
        let lines = [
            "SET a 1",
            "INCR a",
            "SELECT 3",
            "rpush l 1 2 3",
            "LPOP l",
            "MULTI",
            "SET b 1",
            "SELECT 0",
            "APPEND a x",
            "EXEC",
            "PING",
            "REPLCONF GETACK *",
            "PEXPIREAT a 1000",
            "SET gone 1",
            "FLUSHALL",
            "SET last v",
        ];
        let flush = lines.len() - 2;
        let bytes: Vec<u8> = lines[..flush]
            .iter()
            .flat_map(|line| command(line))
            .collect();
        let (end, lock) = files.load(&bytes);
        assert!(end.is_whole(), "{end:?}");
        assert_eq!(
            (end.whole(), end.journal_bytes(0)),
            (bytes.len() as u64, bytes.len() as u64)
        );
        lock.with(|engine| {
            assert_eq!(
                engine.keyspace.db(0).len(),
                2,
                "what has expired stays until it is deleted"
            );
            assert_eq!(engine.keyspace.db(3).len(), 2);
            assert_eq!(engine.journal.end().0, 0);
            assert_eq!(engine.stats.commands_processed, 0);
            assert_eq!(
                engine
                    .persistence
                    .loading
                    .as_ref()
                    .map(|loading| loading.loaded_bytes),
                Some(bytes.len() as u64)
            );
            assert!(engine.clients.is_empty());
        });
        let bytes: Vec<u8> = lines.iter().flat_map(|line| command(line)).collect();
        let (_, lock) = files.load(&bytes);
        assert_eq!(keys(&lock), 1);
        assert!(lock.with(|engine| engine.persistence.running.is_none()));
    }

    #[test]
    fn wherever_a_file_is_cut_the_whole_units_before_the_cut_are_loaded_and_no_more() {
        let files = Files::new("cut");
        let units = [
            vec!["SET a 1"],
            vec!["MULTI", "SET b 1", "INCR a", "EXEC"],
            vec!["RPUSH l x y"],
            vec!["MULTI", "DEL a", "SET c 1", "EXEC"],
        ];
        let mut ends = vec![(0, digest(&node()))];
        let mut bytes = Vec::new();
        for unit in &units {
            bytes.extend(unit.iter().flat_map(|line| command(line)));
            let (end, lock) = files.load(&bytes);
            assert!(end.is_whole());
            ends.push((bytes.len() as u64, digest(&lock)));
        }
        for cut in 0..bytes.len() {
            let (end, lock) = files.load(&bytes[..cut]);
            let whole = ends.iter().rev().find(|(at, _)| *at <= cut as u64);
            let (whole, expected) = whole.expect("the first ends at 0");
            assert_eq!(end.whole(), *whole, "cut at {cut}");
            assert_eq!(&digest(&lock), expected, "cut at {cut}");
            let at_end = *whole == cut as u64;
            assert_eq!(end.is_whole(), at_end, "cut at {cut}: {end:?}");
            assert!(end.fault.is_none_or(|fault| fault.is_short()));
        }
    }

    #[test]
    fn requests_and_transactions_larger_than_what_is_read_at_once_are_whole() {
        let files = Files::new("large");
        let value = "v".repeat(300_000);
        let mut bytes = command("MULTI");
        for number in 0..20_000 {
            bytes.extend(command(&format!("SET key:{number} {number}")));
        }
        bytes.extend(command(&format!("SET big {value}")));
        let open = bytes.len();
        bytes.extend(command("EXEC"));
        bytes.extend(command("SET after 1"));
        let (end, lock) = files.load(&bytes);
        assert!(end.is_whole(), "{end:?}");
        assert_eq!(keys(&lock), 20_002);
        let (end, lock) = files.load(&bytes[..open]);
        assert!(matches!(end.fault, Some(Fault::Open { at: 0 })), "{end:?}");
        assert_eq!((end.whole(), keys(&lock)), (0, 0));
    }

    #[test]
    fn an_error_is_passed_over_and_what_means_nothing_is_a_fault_with_its_byte() {
        let files = Files::new("errors");
        let good = [
            command("SET a 1"),
            command("LPUSH a x"),
            command("SET b"),
            command("DEBUG SLEEP 100"),
        ]
        .concat();
        let (end, lock) = files.load(&good);
        assert!(end.is_whole());
        assert_eq!(keys(&lock), 1);
        for (bad, expected) in [
            (command("NOSUCH a"), "Unknown command 'NOSUCH'"),
            (
                command("SELECT 16"),
                "database 16 is selected, and 16 are configured",
            ),
        ] {
            let bytes = [&good[..], &bad, &command("SET c 1")].concat();
            let (end, lock) = files.load(&bytes);
            let fault = end.fault.expect("a fault").to_string();
            assert_eq!(fault, format!("byte {}: {expected}", good.len()));
            assert_eq!(keys(&lock), 1);
        }
        let bytes = [&good[..], b"\0\0\0\0"].concat();
        let (end, _) = files.load(&bytes);
        assert!(matches!(end.fault, Some(Fault::Format { at, .. }) if at == good.len() as u64));
        assert_eq!(end.whole(), good.len() as u64);
    }

    #[test]
    fn files_follow_each_other_and_each_begins_in_database_0() {
        let files = Files::new("many");
        let mut first = files.source("1", &[command("SELECT 5"), command("SET a 1")].concat());
        let second = files.source(
            "2",
            &[
                b"#TS:7\r\n".to_vec(),
                command("SET b 1"),
                b"#TS:8\r\n".to_vec(),
            ]
            .concat(),
        );
        let lock = node();
        let loaded = load(&lock, &RealDisk, &[first.clone(), second.clone()]).expect("two threads");
        assert_eq!(loaded.selected, None);
        lock.with(|engine| {
            assert_eq!(
                (engine.keyspace.db(5).len(), engine.keyspace.db(0).len()),
                (1, 1)
            );
        });
        let journal: Vec<u64> = loaded.ends.iter().map(|end| end.journal_bytes).collect();
        assert_eq!(journal, [23 + 27, 27]);
        assert!(loaded.ends[1].is_annotated);
        first.crc64 = Some(1);
        let loaded = load(&node(), &RealDisk, &[first, second]).expect("two threads");
        assert!(matches!(
            loaded.ends[..],
            [FileEnd {
                fault: Some(Fault::Sum { expected: 1, .. }),
                ..
            }]
        ));
    }
}
