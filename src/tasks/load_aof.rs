//! Loads a dataset from the files of an AOF: at start, and again for DEBUG LOADAOF.
//!
//! Started by the restart (`restart.rs`); runs on a thread that may block, beside the one that reads (`read_aof.rs`).
//! Requests are run by an engine of their own, which nobody else knows: the one that serves clients is told how far it is, and
//! takes the keyspace over in one step at the end. So loading holds nobody up, and nothing half loaded is ever seen.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::aof::disk::Disk;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::replaying::{Batch, Replay};
use crate::journal::position::Position;
use crate::keyspace::{Key, Keyspace};
use crate::random::Random;
use crate::snapshot::loading::{Counts, Expired, Loaded};

use super::engine_lock::EngineLock;
use super::load;
use super::read_aof::{FileEnd, Piece, Reader, Source};

/// What the files hold, and how they were found to be.
pub struct LoadedAof {
    /// All that stands before the first fault.
    pub keyspace: Keyspace,
    /// For each file that was looked at, in order. A fault stands at the last one only.
    pub ends: Vec<FileEnd>,
    /// Selected at the end of the last file, unless nothing was.
    pub selected: Option<u32>,
    /// Where the RDB at the head of the first file says that it stands.
    pub base_position: Option<Position>,
    /// Keys of the RDB.
    pub counts: Counts,
    /// Changes that the requests have made, as they count for save points.
    pub changes: u64,
}

/// Reads the files and runs what they hold.
///
/// # Errors
/// No second thread could be started.
pub fn load(lock: &EngineLock, disk: &dyn Disk, sources: &[Source]) -> Result<LoadedAof, String> {
    let mut engine = lock.with(|engine| private_engine(&engine.config, &engine.clock));
    engine.refresh_time();
    let options = engine.load_options(Expired::Keep, None);
    let (pieces, arriving) = sync_channel(PIECES_WAITING_MAX);
    let (emptied, spare) = sync_channel(PIECES_WAITING_MAX);
    thread::scope(|scope| {
        let reading = thread::Builder::new()
            .name("aof-read".into())
            .spawn_scoped(scope, move || {
                let reader = Reader {
                    disk,
                    options,
                    pieces,
                    spare,
                };
                reader.read_all(sources)
            })
            .map_err(|error| format!("no thread to load with: {error}"))?;
        let mut runner = Runner {
            lock,
            engine,
            emptied,
            replay: Replay::default(),
            open: Vec::new(),
            base_position: None,
            counts: Counts::default(),
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
            counts: runner.counts,
            changes: runner.engine.persistence.dirty,
            keyspace: runner.engine.keyspace,
        })
    })
}

/// An engine with these settings that saves nothing and follows nobody.
fn private_engine(config: &Config, clock: &Clock) -> Engine {
    let mut config = config.clone();
    config.save.clear();
    config.replicaof = None;
    // Nothing that is random here may show: what is random in a command stands in the file.
    Engine::new(config, clock.clone(), Random::from_seed(0))
}

/// Runs what arrives.
struct Runner<'a> {
    /// Of the engine that is told how far the load is.
    lock: &'a EngineLock,
    engine: Engine,
    emptied: SyncSender<Batch>,
    replay: Replay,
    /// Batches whose end belongs to a transaction that is still open, with the first request that was not run.
    open: Vec<(Batch, usize)>,
    base_position: Option<Position>,
    counts: Counts,
    is_first: bool,
}

impl Runner<'_> {
    fn take(&mut self, piece: Piece) {
        self.engine.refresh_time();
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
        self.engine.garbage.clear();
    }

    fn take_dataset(&mut self, mut loaded: Loaded) {
        load::log_about(&loaded, self.engine.now);
        if self.is_first {
            self.base_position = loaded.about.position;
        }
        self.is_first = false;
        let counts = loaded.counts;
        self.counts.keys += counts.keys;
        self.counts.empty += counts.empty;
        if self.engine.keyspace.is_empty() {
            self.engine.keyspace = loaded.keyspace;
        } else {
            // Not what anybody writes, but what Redis reads: an RDB at the head of a segment.
            for db in 0..loaded.keyspace.count() {
                let table = loaded.keyspace.db_mut(db).take();
                for entry in table.iter() {
                    let key = Key::new(entry.key());
                    let database = self.engine.keyspace.db_mut(db);
                    database.insert(key.hash, entry.clone());
                }
            }
        }
        self.progress(counts.bytes);
    }

    fn take_requests(&mut self, batch: Batch, whole: usize, bytes: u64) {
        self.is_first = false;
        if whole > 0 {
            for (earlier, from) in std::mem::take(&mut self.open) {
                let all = from..earlier.len();
                self.engine.replay(&mut self.replay, &earlier, all);
                self.give_back(earlier);
            }
        }
        self.engine.replay(&mut self.replay, &batch, 0..whole);
        if whole < batch.len() {
            self.open.push((batch, whole));
        } else {
            self.give_back(batch);
        }
        self.progress(bytes);
    }

    fn give_back(&mut self, batch: Batch) {
        // A full channel: there are enough of them.
        let _ = self.emptied.try_send(batch);
    }

    fn progress(&self, bytes: u64) {
        self.lock.with(|engine| {
            engine.persistence.count_load(self.counts);
            if let Some(loading) = &mut engine.persistence.loading {
                loading.loaded_bytes += bytes;
            }
        });
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

/// Pieces that may wait for the thread that runs them.
const PIECES_WAITING_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use async_std::channel;

    use super::*;
    use crate::aof::crc::Crc;
    use crate::aof::disk::RealDisk;
    use crate::aof::scan::Ending;
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
            Source {
                path,
                sum_bytes: None,
            }
        }

        /// Loads one file; what it came to, and the dataset.
        fn load(&self, bytes: &[u8]) -> (FileEnd, Keyspace) {
            let source = self.source("file", bytes);
            let mut loaded = load(&node(), &RealDisk, &[source]).expect("two threads");
            (loaded.ends.pop().expect("one file"), loaded.keyspace)
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

    fn digest(keyspace: &Keyspace) -> String {
        Digest::of_dataset(&keyspace.picture()).to_string()
    }

    fn ending(end: &FileEnd) -> &Ending {
        &end.outcome.as_ref().expect("it was scanned").ending
    }

    fn whole(end: &FileEnd) -> u64 {
        end.outcome.as_ref().expect("it was scanned").good.byte
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
        let (end, keyspace) = files.load(&bytes);
        assert!(end.is_whole(), "{end:?}");
        assert_eq!(
            (whole(&end), end.journal_bytes(0)),
            (bytes.len() as u64, bytes.len() as u64)
        );
        assert_eq!(
            keyspace.db(0).len(),
            2,
            "what has expired stays until it is deleted"
        );
        assert_eq!(keyspace.db(3).len(), 2);
        let bytes: Vec<u8> = lines.iter().flat_map(|line| command(line)).collect();
        let (_, keyspace) = files.load(&bytes);
        assert_eq!(keyspace.len(), 1);
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
        let mut ends = vec![(0, digest(&Keyspace::new(16)))];
        let mut bytes = Vec::new();
        for unit in &units {
            bytes.extend(unit.iter().flat_map(|line| command(line)));
            let (end, keyspace) = files.load(&bytes);
            assert!(end.is_whole());
            ends.push((bytes.len() as u64, digest(&keyspace)));
        }
        for cut in 0..bytes.len() {
            let (end, keyspace) = files.load(&bytes[..cut]);
            let last = ends.iter().rev().find(|(at, _)| *at <= cut as u64);
            let (last, expected) = last.expect("the first ends at 0");
            assert_eq!(whole(&end), *last, "cut at {cut}");
            assert_eq!(&digest(&keyspace), expected, "cut at {cut}");
            assert_eq!(end.is_whole(), *last == cut as u64, "cut at {cut}: {end:?}");
            assert!(end.fault.is_none() && !matches!(ending(&end), Ending::Malformed(_)));
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
        let (end, keyspace) = files.load(&bytes);
        assert!(end.is_whole(), "{end:?}");
        assert_eq!(keyspace.len(), 20_002);
        let (end, keyspace) = files.load(&bytes[..open]);
        assert_eq!(ending(&end), &Ending::OpenTransaction { begins: 0 });
        assert_eq!((whole(&end), keyspace.len()), (0, 0));
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
        let (end, keyspace) = files.load(&good);
        assert!(end.is_whole());
        assert_eq!(keyspace.len(), 1);
        for (bad, expected) in [
            (command("NOSUCH a"), "Unknown command 'NOSUCH'"),
            (
                command("SELECT 16"),
                "database 16 is selected, and 16 are configured",
            ),
        ] {
            let bytes = [&good[..], &bad, &command("SET c 1")].concat();
            let (end, keyspace) = files.load(&bytes);
            let fault = end.fault.expect("a fault").to_string();
            assert_eq!(fault, format!("byte {}: {expected}", good.len()));
            assert_eq!(keyspace.len(), 1);
        }
        let bytes = [&good[..], b"\0\0\0\0"].concat();
        let (end, _) = files.load(&bytes);
        assert!(
            matches!(ending(&end), Ending::Malformed(error) if error.byte == good.len() as u64)
        );
        assert_eq!(whole(&end), good.len() as u64);
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
        let keyspace = &loaded.keyspace;
        assert_eq!((keyspace.db(5).len(), keyspace.db(0).len()), (1, 1));
        let journal: Vec<u64> = loaded.ends.iter().map(|end| end.journal_bytes(0)).collect();
        assert_eq!(journal, [23 + 27, 27]);
        let read = lock.with(|engine| engine.persistence.loading.clone());
        assert_eq!(read.map(|loading| loading.loaded_bytes), Some(50 + 27 + 14));
        first.sum_bytes = Some(20);
        let loaded = load(&node(), &RealDisk, &[first, second]).expect("two threads");
        let whole = [command("SELECT 5"), command("SET a 1")].concat();
        assert_eq!(loaded.ends[0].crc64, Some(Crc::of(&whole[..20])));
        assert_eq!(loaded.ends[1].crc64, None);
    }
}
