//! Writes on disk: when they are answered, what a full disk does, what is told about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::agree;
use crate::support::client::Client;
use crate::support::server::{self, Server, Setup};
use crate::support::wait;

fn with_aof(policy: &str) -> Setup {
    server::sluice()
        .set("appendonly", "yes")
        .set("appendfsync", policy)
}

fn incremental(server: &Server) -> Vec<u8> {
    let path = server
        .home()
        .join("appendonlydir/appendonly.aof.1.incr.aof");
    fs::read(path).expect("the first segment")
}

/// A small file system, unmounted at the end; none where that is not allowed.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(kibibytes: u32) -> Option<SmallDisk> {
        let place = server::fresh_directory();
        let size = format!("size={kibibytes}k");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&place)
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(SmallDisk(place));
        }
        eprintln!("SKIPPED: no file system can be mounted here, so none runs full");
        None
    }

    /// Takes away what is left, except so much.
    fn fill(&self, left_bytes: usize) -> PathBuf {
        let path = self.0.join("filler");
        let mut bytes = vec![0; 64 * 1024 * 1024];
        loop {
            // As much as goes in; the last attempt leaves a part.
            let _ = fs::write(&path, &bytes);
            let written = fs::metadata(&path).map_or(0, |metadata| metadata.len() as usize);
            if written < bytes.len() {
                bytes.truncate(written.saturating_sub(left_bytes));
                fs::write(&path, &bytes).expect("it did fit");
                return path;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A mount that stays is a nuisance, not a failed test.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

fn write_until_refused(client: &mut Client, bytes: usize) -> (usize, String) {
    let value = "x".repeat(bytes);
    for number in 0..10_000 {
        let reply = client.command(&["SET", &format!("key:{number}"), &value]);
        if reply.is_error() {
            return (number, reply.text());
        }
    }
    panic!("the disk never ran full");
}

#[test]
fn a_write_is_in_the_file_before_it_is_answered() {
    for policy in ["always", "everysec", "no"] {
        let server = with_aof(policy).start();
        let mut client = server.client();
        let mut size = incremental(&server).len();
        for number in 0..50 {
            client.must(&format!("SET key {number}"));
            let grown = incremental(&server).len();
            assert!(
                grown > size,
                "{policy}: answer {number} came before the write"
            );
            size = grown;
        }
        let text = String::from_utf8(incremental(&server)).expect("only text was written");
        assert!(text.ends_with("$3\r\nkey\r\n$2\r\n49\r\n"), "{policy}");
    }
}

#[test]
fn transactions_and_databases_stand_in_the_file_as_in_the_stream() {
    let mut server = with_aof("always").start();
    let mut client = server.client();
    for line in [
        "SELECT 3", "MULTI", "SET a 1", "INCR b", "EXEC", "SELECT 0", "SET c 1",
    ] {
        client.must(line);
    }
    server.terminate();
    let text = String::from_utf8(incremental(&server)).expect("only text was written");
    let words: Vec<&str> = text
        .split("\r\n")
        .filter(|word| !word.starts_with(['*', '$']))
        .collect();
    let expected = "SELECT 3 MULTI SET a 1 INCR b EXEC SELECT 0 SET c 1 ";
    assert_eq!(words.join(" "), expected);
}

#[test]
fn many_clients_share_one_sync() {
    if server::stands_in_for_sluice("the count of syncs is ours") {
        return;
    }
    let server = with_aof("always").start();
    let port = server.port();
    thread::scope(|scope| {
        for number in 0..20 {
            scope.spawn(move || {
                let mut client = Client::connect(port);
                for round in 0..100 {
                    client.must(&format!("SET key:{number} {round}"));
                }
            });
        }
    });
    let syncs = server.info_number("aof_fsyncs");
    assert!(syncs < 2000, "{syncs} syncs for 2000 writes");
    assert_eq!(
        server.info("aof_synced_offset"),
        server.info("master_repl_offset")
    );
    assert_eq!(server.info_number("aof_held_clients"), 0);
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let Some(disk) = SmallDisk::mount(8 * 1024) else {
        return;
    };
    let home = disk.0.join("home");
    fs::create_dir(&home).expect("there is room");
    let mut server = with_aof("everysec").home(&home).start();
    let filler = disk.fill(512 * 1024);
    let mut client = server.client();
    // What does not fit is not answered, so that the refusal comes on another connection.
    client.patience(Duration::from_millis(500));
    let value = "x".repeat(20_000);
    let mut answered = 0;
    let refused = loop {
        match client.try_command(&["SET", &format!("key:{answered}"), &value]) {
            Ok(reply) if reply.is_error() => break reply.text(),
            Ok(_) => answered += 1,
            Err(_) => break server.call("SET other 1").text(),
        }
        assert!(answered < 1000, "the disk never ran full");
    };
    let expected = "MISCONF Errors writing to the AOF file: No space left on device";
    assert_eq!(refused, expected);
    assert_eq!(server.call("PING").text(), expected);
    assert_eq!(server.call("GET key:0").bytes().len(), 20_000);
    assert_eq!(server.info("aof_last_write_status"), "err");
    fs::remove_file(filler).expect("it is there");
    wait::until("writes work again", || {
        !server.call("SET other 2").is_error()
    });
    assert_eq!(server.info("aof_last_write_status"), "ok");
    server.await_log("AOF write error looks solved");
    let digest = agree::digest(&server);
    server.kill();
    if let Some(redis) = server::redis() {
        let reader = redis.home(&home).set("appendonly", "yes").start();
        assert_eq!(agree::digest(&reader), digest);
    }
    assert!(answered > 0);
}

#[test]
fn under_always_a_full_disk_ends_the_process() {
    let Some(disk) = SmallDisk::mount(8 * 1024) else {
        return;
    };
    let home = disk.0.join("home");
    fs::create_dir(&home).expect("there is room");
    let mut server = with_aof("always").home(&home).start();
    disk.fill(256 * 1024);
    let mut client = server.client();
    let value = "x".repeat(20_000);
    while client.try_command(&["SET", "key", &value]).is_ok() {}
    assert!(!server.await_exit().success());
    assert!(server.log().contains("Can't recover from AOF write error"));
}

#[test]
fn under_always_a_full_disk_may_also_refuse_writes_and_what_waits_is_answered_in_the_end() {
    if server::stands_in_for_sluice("aof-exit-on-error is ours") {
        return;
    }
    let Some(disk) = SmallDisk::mount(8 * 1024) else {
        return;
    };
    let home = disk.0.join("home");
    fs::create_dir(&home).expect("there is room");
    let server = with_aof("always")
        .set("aof-exit-on-error", "no")
        .home(&home)
        .start();
    let filler = disk.fill(256 * 1024);
    let mut waiting = server.client();
    waiting.send(&["SET".to_owned(), "large".to_owned(), "x".repeat(400_000)]);
    wait::until("the disk is full", || {
        server.try_info("aof_last_write_status") == "err"
    });
    assert!(waiting.is_silent_for(Duration::from_millis(100)));
    let refused = write_until_refused(&mut server.client(), 10);
    assert_eq!(refused.0, 0, "{}", refused.1);
    fs::remove_file(filler).expect("it is there");
    assert_eq!(waiting.reply().text(), "OK");
    assert!(!server.call("SET small 1").is_error());
}

#[test]
fn reads_are_not_held_by_a_disk_that_takes_nothing() {
    if server::stands_in_for_sluice("aof-exit-on-error is ours") {
        return;
    }
    let Some(disk) = SmallDisk::mount(4 * 1024) else {
        return;
    };
    let home = disk.0.join("home");
    fs::create_dir(&home).expect("there is room");
    let server = with_aof("always")
        .set("aof-exit-on-error", "no")
        .home(&home)
        .start();
    server.must("SET key value");
    disk.fill(64 * 1024);
    let mut held = server.client();
    held.send(&["SET".to_owned(), "large".to_owned(), "x".repeat(100_000)]);
    wait::until("the disk is full", || {
        server.try_info("aof_last_write_status") == "err"
    });
    let began = Instant::now();
    let mut reader = server.client();
    for _ in 0..100 {
        assert_eq!(reader.must("GET key").text(), "value");
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    // A held client that goes leaves nothing behind.
    assert_eq!(server.info_number("aof_held_clients"), 1);
    drop(held);
    wait::until("it is forgotten", || {
        server.info_number("aof_held_clients") == 0
    });
}

#[test]
fn the_policy_can_be_changed_while_it_runs() {
    let server = with_aof("no").start();
    let mut client = server.client();
    for policy in ["always", "everysec", "no", "always"] {
        client.must(&format!("CONFIG SET appendfsync {policy}"));
        for number in 0..20 {
            client.must(&format!("SET key {number}"));
        }
    }
    if !server::stands_in_for_sluice("the offsets are ours") {
        assert_eq!(
            server.info("aof_synced_offset"),
            server.info("master_repl_offset")
        );
    }
}

#[test]
fn everysec_syncs_by_itself() {
    if server::stands_in_for_sluice("the offsets are ours") {
        return;
    }
    let server = with_aof("everysec").start();
    server.must("SET key value");
    wait::until("it is synced", || {
        server.info("aof_synced_offset") == server.info("master_repl_offset")
    });
}

#[test]
fn replicas_agree_with_a_master_that_sends_only_what_is_durable() {
    for policy in ["always", "everysec", "no"] {
        let master = with_aof(policy)
            .set("repl-send-durable-only", "yes")
            .start();
        let replica = server::sluice().start();
        replica.follow(&master);
        for number in 0..100 {
            master.must(&format!("SET key:{number} {number}"));
        }
        agree::assert_agree(&master, &replica);
    }
}

#[test]
fn the_file_is_annotated_with_the_time_when_asked() {
    let server = with_aof("always")
        .set("aof-timestamp-enabled", "yes")
        .start();
    server.must("SET key value");
    let text = String::from_utf8(incremental(&server)).expect("only text was written");
    assert!(text.starts_with("#TS:"), "{text}");
}

#[test]
fn a_first_start_makes_a_base_a_segment_and_a_manifest() {
    let mut server = with_aof("always").start();
    server.must("SET key value");
    let base: &Path = &server.home().join("appendonlydir");
    let names: Vec<_> = fs::read_dir(base)
        .expect("it is there")
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    for name in [
        "appendonly.aof.1.base.rdb",
        "appendonly.aof.1.incr.aof",
        "appendonly.aof.manifest",
    ] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} in {names:?}"
        );
    }
    assert_eq!(names.len(), 3, "{names:?}");
    server.terminate();
}
