//! Starting from an AOF: sets of servers of all kinds, cut and damaged ones, ones that are not there; and what Redis does wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::agree;
use crate::support::load::Load;
use crate::support::server::{self, Server, Setup};
use crate::support::wait;

fn node() -> Setup {
    server::sluice()
        .set("appendonly", "yes")
        .set("repl-diskless-sync-delay", "0")
}

/// A directory with these files (path, content), removed when dropped.
struct Home(PathBuf);

impl Home {
    fn new(files: &[(&str, &[u8])]) -> Home {
        let home = server::fresh_directory();
        for (path, content) in files {
            let path = home.join(path);
            fs::create_dir_all(path.parent().expect("below the home")).expect("ours");
            fs::write(path, content).expect("ours");
        }
        Home(home)
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.0.join(path)).unwrap_or_default()
    }

    /// Every file below it, without the log.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.0, &self.0, &mut found);
        found.remove("server.log");
        found
    }

    fn start(&self) -> Server {
        node().home(&self.0).start()
    }

    /// What the log says of a start that fails.
    #[track_caller]
    fn refusal(&self) -> String {
        let ended = node().home(&self.0).run_to_end();
        assert_eq!(ended.status.code(), Some(1), "{ended}");
        ended.log
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A directory that cannot be removed is a nuisance, not a failed test.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("ours").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            let name = path.strip_prefix(root).expect("below it").to_string_lossy();
            found.insert(name.into_owned(), fs::read(&path).expect("ours"));
        }
    }
}

fn command(line: &str) -> Vec<u8> {
    crate::support::client::encoded(&line.split(' ').collect::<Vec<_>>())
}

const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
const SEGMENT: &str = "appendonlydir/appendonly.aof.1.incr.aof";
const ONE_SEGMENT: &[u8] = b"file appendonly.aof.1.incr.aof seq 1 type i\n";

/// A set of one segment with this content.
fn segment(content: &[u8]) -> Home {
    Home::new(&[(MANIFEST, ONE_SEGMENT), (SEGMENT, content)])
}

/// `0:a 0:b 3:c`: all keys with their databases.
fn keys(server: &Server) -> String {
    let mut client = server.client();
    let mut found = Vec::new();
    for database in 0..16 {
        client.must(&format!("SELECT {database}"));
        for key in client.must("KEYS *").items() {
            found.push(format!("{database}:{}", key.text()));
        }
    }
    found.sort();
    found.join(" ")
}

/// Each directory of the collection: loaded and continued, or refused with its reason and left alone, as its list says.
#[test]
fn every_directory_ends_as_it_should() {
    if server::stands_in_for_sluice("some of it is what the reference does wrong") {
        return;
    }
    let list = fs::read_to_string(fixtures().join("expected.txt"));
    let list = list.expect("it belongs to the sources");
    let mut cases: Vec<Vec<&str>> = Vec::new();
    for line in list.lines() {
        match line.strip_prefix("    ") {
            Some(detail) => cases.last_mut().expect("below a case").push(detail),
            None if line.starts_with('#') || line.is_empty() => {}
            None => cases.push(vec![line]),
        }
    }
    assert!(cases.len() > 40);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = cases
            .chunks(cases.len().div_ceil(6))
            .map(|cases| {
                let judge = || cases.iter().filter_map(|case| ends_wrong(case));
                scope.spawn(move || judge().collect::<Vec<_>>())
            })
            .collect();
        let outcomes = workers.into_iter().map(|worker| worker.join());
        outcomes
            .flat_map(|wrong| wrong.expect("no panic"))
            .collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/aof")
}

/// What is wrong with how a start on this directory ends, if something is.
fn ends_wrong(case: &[&str]) -> Option<String> {
    let (name, expected) = case[0].split_once(": ").expect("name: what happens");
    let cuts = case.iter().filter_map(|line| {
        let (path, length) = line.strip_prefix("cut ")?.split_once(' ')?;
        Some((path, length.parse::<usize>().expect("a length")))
    });
    let mut files = BTreeMap::new();
    let folder = fixtures().join("cases").join(name);
    if folder.exists() {
        collect(&folder, &folder, &mut files);
    }
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(path, content)| (&path[..], &content[..]))
        .collect();
    let home = Home::new(&files);
    let before = home.files();
    match (node().home(&home.0).try_start(), expected.split_once(": ")) {
        (Err(ended), Some(("refused", reason))) => {
            let is_named = ended.log.contains(reason) && ended.status.code() == Some(1);
            match home.files() == before && is_named {
                true => None,
                false => Some(format!(
                    "{name}: expected {expected}, found {ended}\nfiles {:?}",
                    home.files()
                )),
            }
        }
        (Err(ended), _) => Some(format!("{name}: expected {expected}, found {ended}")),
        (Ok(server), Some(_)) => Some(format!(
            "{name}: expected {expected}, found {}",
            keys(&server)
        )),
        (Ok(mut server), None) => {
            let wanted = expected
                .strip_prefix("loads")
                .expect("loads or refused")
                .trim();
            let found = keys(&server);
            if found != wanted {
                return Some(format!(
                    "{name}: expected {wanted}, found {found}\n{}",
                    server.log_tail()
                ));
            }
            for (path, length) in cuts {
                let left = home.read(path).len();
                if left != length {
                    return Some(format!(
                        "{name}: {path} should have {length} bytes, found {left}"
                    ));
                }
            }
            // It goes on, and what it wrote is there the next time.
            server.must("SET written-later 1");
            let digest = agree::digest(&server);
            server.kill();
            server.start_again();
            match agree::digest(&server) == digest {
                true => None,
                false => Some(format!(
                    "{name}: after a restart there is {}\n{}",
                    keys(&server),
                    server.log_tail()
                )),
            }
        }
    }
}

#[test]
fn a_torn_tail_is_refused_where_the_setting_says_so() {
    for (tail, reason) in [
        (&b"*2\r\n$3\r\nGET"[..], "Unexpected end of file"),
        (b"*1\r\n$5\r\nMULTI\r\n", "Unexpected end of file"),
    ] {
        let content = [&command("SET a 1"), tail].concat();
        let home = segment(&content);
        let ended = node()
            .set("aof-load-truncated", "no")
            .home(&home.0)
            .run_to_end();
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.log.contains(reason), "{ended}");
        assert_eq!(home.read(SEGMENT), content);
    }
}

#[test]
fn a_corrupt_tail_is_cut_off_up_to_the_size_that_the_setting_allows() {
    let good = [command("SET a 1"), command("SET b 1")].concat();
    let content = [&good[..], &[0; 100]].concat();
    for (allowed, loads) in [("0", false), ("99", false), ("100", true)] {
        let home = segment(&content);
        let setup = node()
            .set("aof-load-corrupt-tail-max-size", allowed)
            .home(&home.0);
        match setup.try_start() {
            Ok(server) => {
                assert!(loads, "with {allowed}");
                assert_eq!(keys(&server), "0:a 0:b");
                assert_eq!(home.read(SEGMENT), good);
            }
            Err(ended) => {
                assert!(!loads, "with {allowed}: {ended}");
                assert!(ended.log.contains("Bad file format"), "{ended}");
                assert_eq!(home.read(SEGMENT), content);
            }
        }
    }
}

/// Redis cuts behind the last whole command, inside the transaction: what is written next becomes part of it, and is lost.
#[test]
fn a_transaction_at_a_torn_tail_does_not_swallow_what_is_written_later() {
    let tail = [
        command("MULTI"),
        command("SET b 1"),
        b"*3\r\n$3\r\nSET".to_vec(),
    ]
    .concat();
    let home = segment(&[command("SET a 1"), tail].concat());
    let mut server = home.start();
    assert_eq!(keys(&server), "0:a");
    server.must("SET c 1");
    server.kill();
    server.start_again();
    assert_eq!(keys(&server), "0:a 0:c");
}

/// Redis starts empty, and the segment comes back with the next start.
#[test]
fn a_segment_without_a_manifest_does_not_come_back_later() {
    let home = Home::new(&[(SEGMENT, &command("SET a 1"))]);
    let before = home.files();
    let log = home.refusal();
    assert!(log.contains("manifest"), "{log}");
    assert_eq!(home.files(), before);
}

/// Redis shortens the file before it refuses to start.
#[test]
fn a_cut_file_in_the_middle_is_refused_and_left_as_it_is() {
    let manifest = [
        ONE_SEGMENT,
        b"file appendonly.aof.2.incr.aof seq 2 type i\n",
    ]
    .concat();
    let home = Home::new(&[
        (MANIFEST, &manifest),
        (SEGMENT, &[command("SET a 1"), b"*3\r\n".to_vec()].concat()),
        (
            "appendonlydir/appendonly.aof.2.incr.aof",
            &command("SET b 1"),
        ),
    ]);
    let before = home.files();
    home.refusal();
    assert_eq!(home.files(), before);
}

/// Redis starts empty.
#[test]
fn an_rdb_file_is_taken_over_where_there_is_no_aof() {
    let mut server = server::sluice().start();
    Load::new(3).commands(2_000).lasting().run(server.port());
    server.must("SAVE");
    let digest = agree::digest(&server);
    server.kill();
    server.start_again_with(&[("appendonly", "yes")]);
    assert_eq!(agree::digest(&server), digest);
    server.must("SET later 1");
    fs::remove_file(server.home().join("dump.rdb")).expect("it was saved");
    server.kill();
    server.start_again();
    server.must("DEL later");
    assert_eq!(agree::digest(&server), digest);
}

#[test]
fn an_rdb_file_that_is_newer_than_the_aof_is_not_ignored_in_silence() {
    let mut server = node().start();
    server.must("SET old 1");
    server.kill();
    // A time without AOF: what it brings is in the RDB file only.
    server.start_again_with(&[("appendonly", "no")]);
    server.must("SET new 1");
    server.must("SAVE");
    server.kill();
    let Err(ended) = server.try_start_again_with(&[("appendonly", "yes")]) else {
        panic!("it starts, and knows {}", keys(&server));
    };
    assert!(ended.log.contains("aof-newer-rdb"), "{ended}");
    server.start_again_with(&[("aof-newer-rdb", "ignore")]);
    assert_eq!(keys(&server), "0:old");
    server.kill();
    let mut other = node().start();
    other.must("SET old 1");
    other.kill();
    other.start_again_with(&[("appendonly", "no")]);
    other.must("SET new 1");
    other.must("SAVE");
    other.kill();
    other.start_again_with(&[("appendonly", "yes"), ("aof-newer-rdb", "load")]);
    assert_eq!(keys(&other), "0:new");
    other.kill();
    other.start_again_with(&[("aof-newer-rdb", "refuse")]);
    assert_eq!(keys(&other), "0:new", "the AOF begins with it now");
}

/// With both on, the RDB file of a shutdown is always the newer one: it says that it belongs to the AOF.
#[test]
fn an_rdb_file_of_the_same_history_stands_beside_the_aof() {
    let mut server = node().set("save", "3600 1").start();
    for round in 0..3 {
        server.must(&format!("SET round:{round} 1"));
        server.client().send_line("SHUTDOWN");
        assert!(server.await_exit().success());
        assert!(server.home().join("dump.rdb").exists());
        server.start_again();
        assert!(server.log().contains("DB loaded from append only file"));
        assert_eq!(server.must("DBSIZE").integer(), round + 1);
    }
    // A snapshot that was taken where the AOF could not go: it is what knows the most.
    server.must("SAVE");
    server.must("SET beyond 1");
    server.must("SAVE");
    let digest = agree::digest(&server);
    server.kill();
    let segment = last_segment(&server);
    let length = fs::metadata(&segment).expect("ours").len();
    let file = fs::OpenOptions::new().write(true).open(&segment);
    file.and_then(|file| file.set_len(length - 5))
        .expect("ours");
    server.start_again();
    assert_eq!(agree::digest(&server), digest, "{}", server.log_tail());
    server.kill();
    server.start_again();
    assert_eq!(agree::digest(&server), digest, "{}", server.log_tail());
}

fn last_segment(server: &Server) -> PathBuf {
    let directory = server.home().join("appendonlydir");
    let entries = fs::read_dir(directory).expect("there is an AOF").flatten();
    let segments = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let number = name.strip_prefix("appendonly.aof.")?;
        let number = number.strip_suffix(".incr.aof")?.parse::<u64>().ok()?;
        Some((number, entry.path()))
    });
    segments.max().expect("there is a segment").1
}

#[test]
fn an_aof_is_loaded_again_while_everybody_waits() {
    let server = node().start();
    Load::new(5).commands(3_000).lasting().run(server.port());
    let digest = agree::digest(&server);
    let mut waiting = server.client();
    server.must("DEBUG LOADAOF");
    waiting.must("PING");
    assert_eq!(agree::digest(&server), digest);
    server.must("SET more 1");
    server.must("DEBUG LOADAOF");
    assert_eq!(server.must("GET more").text(), "1");
    let off = server::sluice().start();
    assert!(off.call("DEBUG LOADAOF").is_error());
}

#[test]
fn a_load_from_the_aof_can_be_watched() {
    let mut content = Vec::new();
    for number in 0..200_000 {
        content.extend(command(&format!("SET key:{number} {number}")));
    }
    let home = segment(&content);
    let server = node().home(&home.0).while_loading().start();
    let mut client = server.client();
    let mut seen = Vec::new();
    wait::until("it is loaded", || {
        let info = client.must("INFO persistence").text();
        if server::info_field(&info, "loading") == "0" {
            return true;
        }
        let number = |field| {
            server::info_field(&info, field)
                .parse::<usize>()
                .expect("a number")
        };
        assert_eq!(number("loading_total_bytes"), content.len());
        seen.push(number("loading_loaded_bytes"));
        let refused = client.call("GET key:1");
        assert!(
            refused.is_error() == refused.text().starts_with("LOADING"),
            "{refused}"
        );
        false
    });
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(client.must("DBSIZE").integer(), 200_000);
    assert!(server.log().contains("DB loaded from append only file"));
}

#[test]
fn flushing_and_expiry_are_the_same_after_a_restart() {
    let mut server = node().set("save", "3600 1").start();
    server.must("SET before 1");
    server.must("FLUSHALL");
    server.must("FLUSHDB");
    server.must("SET short 1 PX 50");
    server.must("SET long 1 EX 1000");
    std::thread::sleep(Duration::from_millis(100));
    server.kill();
    server.start_again();
    assert_eq!(keys(&server), "0:long");
    assert!(server.must("PTTL long").integer() > 0);
}

/// What was acknowledged is there, whenever the process is killed.
#[test]
fn killed_again_and_again_it_never_loses_what_it_acknowledged() {
    for policy in ["always", "everysec"] {
        let mut server = node().set("appendfsync", policy).start();
        let mut written = 0;
        for round in 0..8 {
            let port = server.port();
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let writer = std::thread::spawn(move || {
                let mut client = crate::support::client::Client::connect(port);
                let mut acknowledged = written;
                while stopped.try_recv().is_err() {
                    let next = acknowledged + 1;
                    let reply = client.try_command(&["RPUSH", "log", &next.to_string()]);
                    match reply {
                        Ok(reply) if reply.integer() == next => acknowledged = next,
                        Ok(reply) => panic!("{reply} instead of {next}"),
                        Err(_) => break,
                    }
                }
                acknowledged
            });
            wait::until("something was written", || {
                server.must("LLEN log").integer() > written + 50 * (round % 3)
            });
            server.kill();
            let _ = stop.send(());
            let acknowledged = writer.join().expect("the writer saw what it should");
            server.start_again();
            written = server.must("LLEN log").integer();
            // What was written and not answered may be there too: one command at most.
            assert!(
                (acknowledged..=acknowledged + 1).contains(&written),
                "{policy}: {acknowledged} acknowledged, {written} found\n{}",
                server.log_tail()
            );
        }
    }
}
