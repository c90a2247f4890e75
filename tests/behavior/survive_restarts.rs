//! Every way to end, every kind of file, every place in a chain: after the restart a partial resync, or a full one for a reason
//! that the table names; equal data at equal offsets in any case, and nothing acknowledged is lost where an AOF is kept.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::agree::{assert_agree, digest};
use crate::support::client::Client;
use crate::support::load::Load;
use crate::support::server::{self, Server};
use crate::support::wait;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Master,
    Replica,
    /// The replica ends first and comes back last.
    Both,
    /// The one between master and leaf.
    Middle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Shutdown,
    Sigterm,
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    Always,
    Everysec,
    Rdb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Idle,
    Writing,
}

/// What becomes of a link that has to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Partial,
    /// A full sync, which INFO counts under this name.
    Full(&'static str),
    /// It depends on which of two was quicker: the master's disk or the replica's socket.
    Either(&'static str),
}

use Files::{Always, Everysec, Rdb};
use How::{Kill, Shutdown, Sigterm};
use Outcome::{Either, Full, Partial};
use Who::{Both, Master, Middle, Replica};
use Work::{Idle, Writing};

/// The table. For [`Middle`] it is about the leaf; the middle itself continues in every cell.
fn expected(who: Who, how: How, files: Files, work: Work) -> Outcome {
    match (who, how, files, work) {
        // Its files say where it stood, and its master's backlog reaches back to there.
        (Replica, ..) => Partial,
        // It waits for its replicas before it ends, and its files know the end.
        (Master, Shutdown | Sigterm, ..) => Partial,
        // The RDB file is older than what the replica holds.
        (Master, Kill, Rdb, _) => Full("beyond_second_id"),
        (Master, Kill, _, Idle) => Partial,
        // The replica may have got what the disk had not yet.
        (Master, Kill, _, Writing) => Either("beyond_second_id"),
        // Both come back at the moment of their last save, which was the same.
        (Both, Kill, Rdb, _) => Partial,
        // The replica ended earlier; without a journal on disk the master knows only where it stands itself.
        (Both, _, Rdb, Writing) => Full("too_old"),
        (Both, ..) => Partial,
        // It comes back where it stood, or catches up with what its leaf has before that asks, or just not.
        (Middle, _, Rdb, Writing) => Either("too_old"),
        (Middle, Kill, ..) => Either("ahead"),
        (Middle, _, _, Writing) => Either("ahead"),
        (Middle, ..) => Partial,
    }
}

#[test]
fn every_restart_continues_or_says_why_not() {
    if server::stands_in_for_sluice("it has no partial resync after a restart from an AOF") {
        return;
    }
    let mut cells = Vec::new();
    for who in [Master, Replica, Both, Middle] {
        for how in [Shutdown, Sigterm, Kill] {
            for files in [Always, Everysec, Rdb] {
                for work in [Idle, Writing] {
                    cells.push((who, how, files, work));
                }
            }
        }
    }
    // Most of a cell is waiting.
    let next = AtomicUsize::new(0);
    let failed: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut failed = Vec::new();
                    while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let &(who, how, files, work) = cell;
                        let outcome = std::panic::catch_unwind(|| play(who, how, files, work));
                        if let Err(panic) = outcome {
                            let text = panic.downcast_ref::<String>().cloned();
                            failed.push(format!("{cell:?}: {}", text.unwrap_or_default()));
                        }
                    }
                    failed
                })
            })
            .collect();
        let outcomes = workers
            .into_iter()
            .map(|worker| worker.join().expect("caught"));
        outcomes.flatten().collect()
    });
    assert!(
        failed.is_empty(),
        "{} of {} cells:\n{}",
        failed.len(),
        cells.len(),
        failed.join("\n")
    );
}

const WORKERS: usize = 6;

fn start(files: Files) -> Server {
    let setup = server::sluice()
        .set("repl-diskless-sync-delay", "0")
        .set("repl-backlog-size", "10mb")
        .set("repl-ping-replica-period", "3600");
    match files {
        Rdb => setup.set("save", "3600 1000000"),
        Always => setup.set("appendonly", "yes").set("appendfsync", "always"),
        Everysec => setup
            .set("appendonly", "yes")
            .set("appendfsync", "everysec"),
    }
    .start()
}

/// Starts a replica of this one, with the setting that keeps it one.
fn follow(server: &mut Server, master: &Server) {
    let address = format!("127.0.0.1 {}", master.port());
    server.kill();
    server.start_again_with(&[("replicaof", &address)]);
    server.await_link();
}

fn end(server: &mut Server, how: How) {
    match how {
        Shutdown => {
            server.client().send_line("SHUTDOWN");
            assert!(server.await_exit().success());
        }
        Sigterm => assert!(server.terminate().success()),
        Kill => server.kill(),
    }
}

fn play(who: Who, how: How, files: Files, work: Work) {
    let mut master = start(files);
    let mut replica = start(files);
    follow(&mut replica, &master);
    let leaf = (who == Middle).then(|| {
        let mut leaf = start(files);
        follow(&mut leaf, &replica);
        leaf
    });
    Load::new(7)
        .commands(400)
        .keys(30)
        .lasting()
        .run(master.port());
    assert_agree(&master, &replica);
    if files == Rdb {
        master.must("SAVE");
        replica.must("SAVE");
    }
    Load::new(8)
        .commands(200)
        .keys(30)
        .lasting()
        .run(master.port());
    assert_agree(&master, &replica);
    if let Some(leaf) = &leaf {
        assert_agree(&replica, leaf);
    }
    let writer = Writer::start(master.port());
    writer.await_more(20);
    if work == Idle {
        writer.pause();
        assert_agree(&master, &replica);
    }
    let counted = match who {
        Middle => "nobody restarts the counters of the leaf's master but itself",
        _ => "",
    };
    let before = match who {
        Replica => (
            master.info_number("sync_full"),
            master.info_number("sync_partial_ok"),
        ),
        _ => (0, 0),
    };
    let before_middle = (
        master.info_number("sync_full"),
        master.info_number("sync_partial_ok"),
    );
    match who {
        Master => {
            end(&mut master, how);
            master.start_again();
        }
        Replica | Middle => {
            end(&mut replica, how);
            if work == Writing {
                writer.await_more(20);
            }
            replica.start_again();
        }
        Both => {
            end(&mut replica, how);
            if work == Writing {
                writer.await_more(20);
            }
            end(&mut master, how);
            master.start_again();
            replica.start_again();
        }
    }
    wait::until("the replica's link is up again", || {
        replica.try_info("master_link_status") == "up"
    });
    writer.resume();
    writer.await_more(5);
    let written = writer.stop();
    wait::until("the link is settled", || {
        replica.try_info("master_link_status") == "up"
    });
    assert_agree(&master, &replica);
    if let Some(leaf) = &leaf {
        wait::until("the leaf's link is up again", || {
            leaf.try_info("master_link_status") == "up"
        });
        assert_agree(&replica, leaf);
    }
    let (upper, was) = match who {
        Middle => (&replica, (0, 0)),
        _ => (&master, before),
    };
    check_sync(upper, was, expected(who, how, files, work), counted);
    if who == Middle {
        check_sync(&master, before_middle, Partial, "the middle itself");
    }
    check_written(&master, &written, how, files, work);
}

/// Compares what happened at a master since its counters stood at `before` (full, partial).
#[track_caller]
fn check_sync(master: &Server, before: (i64, i64), expected: Outcome, about: &str) {
    let full = master.info_number("sync_full") - before.0;
    let partial = master.info_number("sync_partial_ok") - before.1;
    let reasons: Vec<String> = master
        .info_lines("sync_full_")
        .into_iter()
        .filter(|line| !line.ends_with(":0"))
        .collect();
    let was_full_for = |reason: &str| {
        let prefix = format!("sync_full_{reason}:");
        full > 0 && reasons.iter().any(|line| line.starts_with(&prefix))
    };
    let fits = match expected {
        Partial => full == 0 && partial > 0,
        Full(reason) => was_full_for(reason),
        Either(reason) => (full == 0 && partial > 0) || was_full_for(reason),
    };
    assert!(
        fits,
        "expected {expected:?}, found {full} full ({reasons:?}) and {partial} partial {about}\n{}",
        master.log_tail()
    );
}

/// Every write that was acknowledged is there: all of them with an AOF, but for the last moments before a kill under
/// `everysec`, where a busy disk keeps nobody waiting.
fn check_written(master: &Server, written: &[(i64, Instant)], how: How, files: Files, work: Work) {
    if files == Rdb && how == Kill {
        return;
    }
    let mut client = master.client();
    let missing: Vec<i64> = written
        .iter()
        .map(|(number, _)| *number)
        .filter(|number| client.must(&format!("EXISTS written:{number}")).integer() == 0)
        .collect();
    if files == Everysec && how == Kill && work == Writing {
        assert!(
            missing.len() < written.len() / 2,
            "{} of {} lost",
            missing.len(),
            written.len()
        );
        return;
    }
    assert!(
        missing.is_empty(),
        "acknowledged and lost: {missing:?} of {}",
        written.len()
    );
}

/// Writes numbered keys one at a time, and knows which were acknowledged. Goes on across restarts of the server.
struct Writer {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<Vec<(i64, Instant)>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    paused: AtomicBool,
    rests: AtomicBool,
    acknowledged: AtomicI64,
}

impl Writer {
    fn start(port: u16) -> Writer {
        let shared = Arc::new(Shared::default());
        let worker = thread::spawn({
            let shared = Arc::clone(&shared);
            move || write(port, &shared)
        });
        Writer {
            shared,
            worker: Some(worker),
        }
    }

    #[track_caller]
    fn await_more(&self, count: i64) {
        let acknowledged = &self.shared.acknowledged;
        let goal = acknowledged.load(Ordering::SeqCst) + count;
        wait::until("more was written", || {
            acknowledged.load(Ordering::SeqCst) >= goal
        });
    }

    fn pause(&self) {
        self.shared.paused.store(true, Ordering::SeqCst);
        wait::until("the writer rests", || {
            self.shared.rests.load(Ordering::SeqCst)
        });
    }

    fn resume(&self) {
        self.shared.paused.store(false, Ordering::SeqCst);
    }

    fn stop(mut self) -> Vec<(i64, Instant)> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let worker = self.worker.take().expect("stopped once");
        worker.join().expect("the writer does not panic")
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

fn write(port: u16, shared: &Shared) -> Vec<(i64, Instant)> {
    let mut written = Vec::new();
    let mut client: Option<Client> = None;
    let mut number = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        let paused = shared.paused.load(Ordering::SeqCst);
        shared.rests.store(paused, Ordering::SeqCst);
        if paused {
            thread::sleep(Duration::from_millis(2));
            continue;
        }
        let Some(open) = &mut client else {
            client = Client::try_connect(port).ok();
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        number += 1;
        match open.try_command(&["SET", &format!("written:{number}"), "x"]) {
            Ok(reply) if !reply.is_error() => {
                written.push((number, Instant::now()));
                shared.acknowledged.store(number, Ordering::SeqCst);
            }
            Ok(_) => thread::sleep(Duration::from_millis(2)),
            Err(_) => client = None,
        }
    }
    written
}

/// The newest segment of an AOF.
fn last_segment(server: &Server) -> PathBuf {
    let directory = server.home().join("appendonlydir");
    let names = fs::read_dir(&directory).expect("there is an AOF").flatten();
    let segments = names.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let number = name
            .strip_prefix("appendonly.aof.")?
            .strip_suffix(".incr.aof")?;
        Some((number.parse::<u64>().ok()?, entry.path()))
    });
    segments.max().expect("there is a segment").1
}

/// A power loss takes the end of a master's journal; its replica holds it, and must let go of it.
#[test]
fn a_tail_that_a_crashed_master_lost_does_not_survive_on_its_replica() {
    if server::stands_in_for_sluice("it never continues from an AOF") {
        return;
    }
    for lost in [1, 60, 2_000] {
        let mut master = start(Everysec);
        let mut replica = start(Everysec);
        follow(&mut replica, &master);
        Load::new(11).commands(1_000).lasting().run(master.port());
        assert_agree(&master, &replica);
        let before = digest(&master);
        master.kill();
        let path = last_segment(&master);
        let length = fs::metadata(&path).expect("ours").len();
        let file = OpenOptions::new().write(true).open(&path).expect("ours");
        file.set_len(length - lost).expect("longer than that");
        master.start_again();
        assert_ne!(digest(&master), before, "the tail was worth something");
        wait::until("the replica is back", || {
            replica.try_info("master_link_status") == "up"
        });
        Load::new(12).commands(300).lasting().run(master.port());
        assert_agree(&master, &replica);
        assert_eq!(
            master.info_number("sync_full_beyond_second_id"),
            1,
            "{lost} bytes"
        );
    }
}

/// The replica is behind when the master restarts: the bytes that it lacks come from the master's segments.
#[test]
fn a_restarted_master_feeds_from_its_segments_what_a_replica_has_missed() {
    if server::stands_in_for_sluice("it never continues from an AOF") {
        return;
    }
    let mut master = start(Everysec);
    let mut replica = start(Everysec);
    follow(&mut replica, &master);
    replica.kill();
    Load::new(13).commands(5_000).lasting().run(master.port());
    for round in 1..=2 {
        master.kill();
        master.start_again();
        assert!(
            master.info_number("repl_backlog_histlen") > 10_000,
            "round {round}"
        );
    }
    replica.start_again();
    replica.await_link();
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full"), 0);
    assert_eq!(master.info_number("sync_partial_ok"), 1);
}

/// An identity is more than a number: a master that was ended twice still knows whom it fed in the life before.
#[test]
fn a_promoted_replica_that_restarts_still_knows_the_history_that_it_followed() {
    if server::stands_in_for_sluice("it never continues from an AOF") {
        return;
    }
    let mut old = start(Everysec);
    let mut new = start(Everysec);
    follow(&mut new, &old);
    Load::new(14).commands(500).lasting().run(old.port());
    assert_agree(&old, &new);
    old.kill();
    new.must("REPLICAOF NO ONE");
    new.must("SET after 1");
    new.kill();
    new.start_again_with(&[("replicaof", "no one")]);
    let address = format!("127.0.0.1 {}", new.port());
    old.start_again_with(&[("replicaof", &address)]);
    old.await_link();
    assert_agree(&new, &old);
    assert_eq!(new.info_number("sync_full"), 0, "{}", new.log_tail());
}
