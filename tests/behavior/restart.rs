//! Saving, ending and starting again; and files that must not be loaded.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::agree;
use crate::support::client::Client;
use crate::support::load::Load;
use crate::support::server::{self, Server};
use crate::support::transcript::play;
use crate::support::wait;

fn rdb(server: &Server) -> std::path::PathBuf {
    server.home().join("dump.rdb")
}

#[track_caller]
fn shut_down(server: &mut Server, line: &str) {
    let mut client = server.client();
    client.send_line(line);
    let status = server.await_exit();
    assert!(status.success(), "{line}: {status}");
}

#[test]
fn everything_is_there_after_save_and_restart() {
    let mut server = server::sluice().start();
    Load::new(1).commands(20_000).lasting().run(server.port());
    server.must("SET fixed v PXAT 4102444800123");
    let digest = agree::digest(&server);
    server.must("SAVE");
    shut_down(&mut server, "SHUTDOWN NOSAVE");
    server.start_again();
    assert_eq!(agree::digest(&server), digest);
    assert_eq!(
        server.must("PEXPIRETIME fixed").integer(),
        4_102_444_800_123
    );
    server.must("DEBUG RELOAD");
    assert_eq!(agree::digest(&server), digest);
    server.await_log("DB loaded from disk");
}

#[test]
fn bgsave_writes_the_moment_it_was_asked() {
    let mut server = server::sluice().start();
    server.must("DEBUG POPULATE 20000");
    server.must("SET before 1");
    let reply = server.must("BGSAVE").text();
    assert_eq!(reply, "Background saving started");
    wait::until("the save has ended", || {
        server.info("rdb_bgsave_in_progress") == "0"
    });
    assert_eq!(server.info("rdb_last_bgsave_status"), "ok");
    assert_eq!(server.info_number("rdb_changes_since_last_save"), 0);
    server.must("SET after 1");
    assert_eq!(server.info_number("rdb_changes_since_last_save"), 1);
    server.kill();
    server.start_again();
    assert_eq!(server.must("EXISTS before after").integer(), 1);
    assert_eq!(server.must("DBSIZE").integer(), 20_001);
}

#[test]
fn saves_do_not_run_side_by_side() {
    let server = server::sluice().set("rdb-key-save-delay", "200").start();
    server.must("DEBUG POPULATE 10000");
    server.must("BGSAVE");
    play(
        &server,
        r#"
        > BGSAVE
        -ERR Background save already in progress
        > SAVE
        -ERR Background save already in progress
        > BGSAVE NOSUCH
        -ERR syntax error
        "#,
    );
}

#[test]
fn save_points_save_by_themselves() {
    let mut server = server::sluice().set("save", "1 10").start();
    let stamp = server.must("LASTSAVE").integer();
    for number in 0..9 {
        server.must(&format!("SET k{number} v"));
    }
    wait::holds_for(
        Duration::from_millis(1300),
        "nine changes are not enough",
        || !rdb(&server).exists(),
    );
    server.must("SET k9 v");
    wait::until("the tenth change saves", || rdb(&server).exists());
    wait::until("LASTSAVE moves", || {
        server.must("LASTSAVE").integer() > stamp
    });
    server.kill();
    server.start_again();
    assert_eq!(server.must("DBSIZE").integer(), 10);
}

#[test]
fn shutdown_saves_when_save_points_are_set() {
    let mut server = server::sluice().set("save", "3600 1000").start();
    server.must("SET k v");
    shut_down(&mut server, "SHUTDOWN");
    assert!(rdb(&server).exists());
    server.start_again();
    assert_eq!(server.must("GET k").text(), "v");
    server.must("SET k w");
    shut_down(&mut server, "SHUTDOWN NOSAVE");
    server.start_again();
    assert_eq!(server.must("GET k").text(), "v");
}

#[test]
fn shutdown_without_save_points_saves_only_when_told() {
    let mut server = server::sluice().start();
    server.must("SET k v");
    shut_down(&mut server, "SHUTDOWN");
    assert!(!rdb(&server).exists());
    server.start_again();
    server.must("SET k v");
    shut_down(&mut server, "SHUTDOWN SAVE");
    assert!(rdb(&server).exists());
}

#[test]
fn shutdown_takes_its_words() {
    let server = server::sluice().start();
    play(
        &server,
        r#"
        > SHUTDOWN NOSUCH
        -ERR syntax error
        > SHUTDOWN SAVE NOSAVE
        -ERR syntax error
        > SHUTDOWN ABORT
        -ERR No shutdown in progress.
        > SHUTDOWN ABORT NOW
        -ERR syntax error
        "#,
    );
}

#[test]
fn sigterm_and_sigint_save_and_end_in_peace() {
    for interrupt in [false, true] {
        let mut server = server::sluice().set("save", "3600 1000").start();
        let load = Load::new(4).start(server.port());
        server.must("SET k v");
        load.await_more(2000);
        load.stop();
        let status = if interrupt {
            server.interrupt()
        } else {
            server.terminate()
        };
        assert_eq!(status.code(), Some(0));
        server.start_again();
        assert_eq!(server.must("GET k").text(), "v");
        assert!(server.must("DBSIZE").integer() > 100);
    }
}

#[test]
fn sigterm_during_a_background_save_ends_in_peace() {
    let mut server = server::sluice()
        .set("save", "3600 1000")
        .set("rdb-key-save-delay", "1000")
        .start();
    server.must("DEBUG POPULATE 3000");
    server.must("BGSAVE");
    server.must("CONFIG SET rdb-key-save-delay 0");
    server.must("SET last 1");
    assert_eq!(server.terminate().code(), Some(0));
    server.start_again();
    assert_eq!(server.must("EXISTS last").integer(), 1);
    let leftovers: Vec<_> = fs::read_dir(server.home())
        .expect("ours")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("temp-"))
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

#[test]
fn keys_that_expired_while_the_server_was_away_are_not_loaded() {
    let mut server = server::sluice().start();
    server.must("SET short v PX 100");
    server.must("SET long v EX 1000");
    server.must("SAVE");
    server.kill();
    thread::sleep(Duration::from_millis(150));
    server.start_again();
    assert_eq!(server.must("DBSIZE").integer(), 1);
    assert_eq!(server.info("rdb_last_load_keys_expired"), "1");
    assert_eq!(server.info("rdb_last_load_keys_loaded"), "1");
}

#[test]
fn what_follows_the_request_to_save_is_not_in_the_file() {
    for save in ["BGSAVE", "BGSAVE SCHEDULE"] {
        let mut server = server::sluice().start();
        server.must("SET k before");
        let mut client = server.client();
        client.send_bytes(format!("{save}\r\nSET k after\r\n").as_bytes());
        assert_eq!(client.reply().text(), "Background saving started");
        assert_eq!(client.reply().text(), "OK");
        wait::until("the file is there", || rdb(&server).exists());
        server.kill();
        server.start_again();
        assert_eq!(server.must("GET k").text(), "before", "{save}");
    }
}

#[test]
fn a_file_that_cannot_be_written_stops_the_writes() {
    let server = server::sluice().set("save", "3600 1000").start();
    server.must("SET k v");
    // A directory in the file's place cannot be renamed over, whoever one is.
    fs::create_dir(rdb(&server)).expect("ours");
    server.must("BGSAVE");
    wait::until("the save has failed", || {
        server.info("rdb_last_bgsave_status") == "err"
    });
    let refused = server.call("SET k w").text();
    assert!(refused.starts_with("MISCONF "), "{refused}");
    assert_eq!(server.must("GET k").text(), "v");
    assert_eq!(server.call("PING").text(), refused);
    assert!(server.call("SAVE").is_error());
    server.must("CONFIG SET stop-writes-on-bgsave-error no");
    server.must("SET k w");
    server.must("CONFIG SET stop-writes-on-bgsave-error yes");
    fs::remove_dir(rdb(&server)).expect("ours");
    server.must("BGSAVE");
    wait::until("the save has worked", || {
        server.info("rdb_last_bgsave_status") == "ok"
    });
    server.must("SET k x");
}

/// Starts on a directory that holds this file; how it refuses.
#[track_caller]
fn refuses(file: &[u8]) -> server::Ended {
    let home = server::fresh_directory();
    let path = home.join("dump.rdb");
    fs::write(&path, file).expect("ours");
    let ended = server::sluice().home(&home).run_to_end();
    assert!(
        !ended.status.success(),
        "the exit code should say so: {ended}"
    );
    assert!(
        fs::read(&path).expect("still there") == file,
        "the file should be untouched"
    );
    fs::remove_dir_all(&home).expect("ours");
    ended
}

fn sample_file(server: &Server) -> Vec<u8> {
    Load::new(9).commands(600).keys(20).run(server.port());
    server.must("SAVE");
    fs::read(rdb(server)).expect("saved")
}

#[test]
fn a_cut_file_is_refused_wherever_it_was_cut() {
    let file = sample_file(&server::sluice().start());
    for end in [
        1,
        5,
        8,
        9,
        10,
        50,
        file.len() / 2,
        file.len() - 9,
        file.len() - 8,
        file.len() - 1,
    ] {
        refuses(&file[..end]);
    }
}

#[test]
fn a_damaged_file_is_refused() {
    let file = sample_file(&server::sluice().start());
    for place in [0, 5, file.len() / 3, file.len() / 2, file.len() - 4] {
        let mut damaged = file.clone();
        damaged[place] ^= 0x55;
        refuses(&damaged);
    }
}

#[test]
fn a_file_of_a_future_version_is_refused_by_name() {
    let mut file = sample_file(&server::sluice().start());
    file[5..9].copy_from_slice(b"0099");
    let ended = refuses(&file);
    assert!(ended.log.contains("99"), "{ended}");
}

#[test]
fn what_is_no_rdb_file_is_refused() {
    for file in [
        b"".as_slice(),
        b"REDIS",
        b"hello world, this is text",
        &[0; 4096],
    ] {
        // An empty file is an empty dataset to the reference and to us.
        if !file.is_empty() {
            refuses(file);
        }
    }
}

#[test]
fn loading_can_be_watched() {
    let mut server = server::sluice()
        .set("key-load-delay", "300")
        .set("loading-process-events-interval-bytes", "1024")
        .while_loading()
        .start();
    if server::stands_in_for_sluice("it answers in steps of its own while it loads") {
        server.must("CONFIG SET key-load-delay 300");
    }
    server.must("DEBUG POPULATE 10000 key 200");
    server.must("SAVE");
    server.kill();
    server.start_again();
    let mut client = server.client();
    let refused = client.call("GET key:1").text();
    assert_eq!(refused, "LOADING Redis is loading the dataset in memory");
    let info = client.must("INFO persistence").text();
    assert_eq!(server::info_field(&info, "loading"), "1");
    let total: i64 = server::info_field(&info, "loading_total_bytes")
        .parse()
        .expect("a number");
    let loaded: i64 = server::info_field(&info, "loading_loaded_bytes")
        .parse()
        .expect("a number");
    assert!(total > 100_000, "{info}");
    assert!((0..=total).contains(&loaded), "{info}");
    client.must("CONFIG SET key-load-delay 0");
    wait::until("it is loaded", || !client.call("PING").is_error());
    assert_eq!(client.must("DBSIZE").integer(), 10_000);
}

/// From the first connection on: either the dataset is whole, or it is said to be loading.
#[test]
fn nobody_is_served_before_the_dataset_is_loaded() {
    let mut server = server::sluice().start();
    server.must("DEBUG POPULATE 2000");
    server.must("SET k v");
    server.must("SAVE");
    let port = server.port();
    for _ in 0..10 {
        server.kill();
        let asking = thread::spawn(move || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(20) {
                let Ok(mut client) = Client::try_connect(port) else {
                    continue;
                };
                while let Ok(reply) = client.try_command(&["DBSIZE"]) {
                    if !reply.is_error() {
                        return reply.integer();
                    }
                }
            }
            panic!("nobody answered");
        });
        server.start_again();
        assert_eq!(asking.join().expect("it was answered"), 2001);
    }
}

#[test]
fn a_read_only_directory_is_an_error_in_words() {
    if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        eprintln!("skipped: root may write everywhere");
        return;
    }
    let server = server::sluice().start();
    let mut permissions = fs::metadata(server.home()).expect("ours").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(server.home(), permissions).expect("ours");
    assert!(server.call("SAVE").is_error());
}

#[test]
fn compression_and_checksum_can_be_switched() {
    let mut server = server::sluice().start();
    server.must(&format!("SET k {}", "abc".repeat(10_000)));
    server.must("SAVE");
    let compressed = fs::read(rdb(&server)).expect("saved");
    assert!(compressed.len() < 5_000, "{} bytes", compressed.len());
    assert_ne!(compressed[compressed.len() - 8..], [0; 8]);
    server.must("CONFIG SET rdbcompression no");
    server.must("SAVE");
    assert!(fs::metadata(rdb(&server)).expect("saved").len() > 30_000);
    server.kill();
    server.start_again_with(&[("rdbchecksum", "no")]);
    server.must("SAVE");
    let unchecked = fs::read(rdb(&server)).expect("saved");
    assert_eq!(unchecked[unchecked.len() - 8..], [0; 8]);
    assert_eq!(server.must("STRLEN k").integer(), 30_000);
    assert!(compressed.starts_with(b"REDIS00"));
}

/// Each damaged file of the collection: refused with its reason and left alone, or loaded, as its list says.
#[test]
fn every_damaged_file_ends_as_it_should() {
    if server::stands_in_for_sluice("the reference crashes on some of them") {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rdb");
    let list =
        fs::read_to_string(folder.join("load-refusals.txt")).expect("it belongs to the sources");
    let mut wrong = Vec::new();
    for line in list.lines() {
        let (name, expected) = line.split_once(": ").expect("name: what happens");
        let file = fs::read(folder.join(format!("bad/{name}.rdb"))).expect("listed, so there");
        let home = server::fresh_directory();
        let path = home.join("dump.rdb");
        fs::write(&path, &file).expect("ours");
        match server::sluice().home(&home).try_start() {
            Ok(server) if expected.starts_with("loads") => {
                let keys = server.must("DBSIZE");
                if !expected.contains(&format!("loads {} ", keys.integer())) {
                    wrong.push(format!("{name}: expected {expected}, found {keys} keys"));
                }
            }
            Ok(_) => wrong.push(format!("{name}: expected {expected}, but it starts")),
            Err(ended) => {
                // The file's length, which the list does not know, unmasks a huge count at once.
                let is_named = ended.log.contains(expected) || ended.log.contains("items claimed");
                if ended.status.code().is_none_or(|code| code == 0) || !is_named {
                    wrong.push(format!("{name}: expected {expected}, found {ended}"));
                }
                if fs::read(&path).expect("still there") != file {
                    wrong.push(format!("{name}: the file was changed"));
                }
            }
        }
        fs::remove_dir_all(&home).expect("ours");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
