//! New bases for the AOF: on demand, by growth, by switching it on, and by a full sync; and what is on disk after each.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::support::agree;
use crate::support::load::Load;
use crate::support::server::{self, Server, Setup, stands_in_for_sluice};
use crate::support::transcript::play;
use crate::support::wait;

/// A line of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: String,
    seq: u64,
    kind: char,
}

fn set_directory(server: &Server) -> PathBuf {
    server.home().join("appendonlydir")
}

fn manifest(server: &Server) -> Vec<Line> {
    let path = set_directory(server).join("appendonly.aof.manifest");
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        Line {
            name: words[1].to_string(),
            seq: words[3].parse().expect("a number"),
            kind: words[5].chars().next().expect("a letter"),
        }
    };
    text.lines().map(line).collect()
}

/// Numbers of the base and of the segments.
fn numbers(server: &Server) -> (Vec<u64>, Vec<u64>) {
    let lines = manifest(server);
    let of_kind = |kind| {
        let lines = lines.iter().filter(move |line| line.kind == kind);
        lines.map(|line| line.seq).collect()
    };
    (of_kind('b'), of_kind('i'))
}

/// Waits until the directory holds just the files that are loaded, and the manifest.
#[track_caller]
fn await_tidy(server: &Server) {
    let expected = |server: &Server| {
        let mut names: Vec<String> = manifest(server).into_iter().map(|line| line.name).collect();
        names.push("appendonly.aof.manifest".into());
        names.sort();
        names
    };
    wait::until("only the files of the set are left", || {
        let mut found: Vec<String> = fs::read_dir(set_directory(server))
            .expect("it is there")
            .map(|entry| {
                entry
                    .expect("readable")
                    .file_name()
                    .to_string_lossy()
                    .into()
            })
            .collect();
        found.sort();
        !manifest(server).iter().any(|line| line.kind == 'h') && found == expected(server)
    });
}

fn with_aof() -> Setup {
    server::sluice().set("appendonly", "yes")
}

#[track_caller]
fn start(setup: Setup) -> Server {
    let server = setup.start();
    await_rewrite(&server);
    server
}

#[track_caller]
fn await_rewrite(server: &Server) {
    wait::until("no rewrite runs or waits", || {
        let info = server.try_info_text();
        ["aof_rewrite_in_progress", "aof_rewrite_scheduled"]
            .iter()
            .all(|field| server::info_field(&info, field) == "0")
    });
}

#[track_caller]
fn rewrite(server: &Server) {
    let reply = server.must("BGREWRITEAOF").text();
    assert_eq!(reply, "Background append only file rewriting started");
    await_rewrite(server);
    assert_eq!(server.info("aof_last_bgrewrite_status"), "ok");
}

/// What redis-server makes of a copy of the set; none where there is no redis-server.
#[track_caller]
fn digest_of_redis(server: &Server) -> Option<String> {
    let setup = server::redis()?;
    let home = server::fresh_directory();
    let copy = home.join("appendonlydir");
    fs::create_dir(&copy).expect("ours");
    for entry in fs::read_dir(set_directory(server)).expect("it is there") {
        let entry = entry.expect("readable");
        fs::copy(entry.path(), copy.join(entry.file_name())).expect("ours");
    }
    let redis = setup.home(&home).set("appendonly", "yes").start();
    let digest = agree::digest(&redis);
    drop(redis);
    fs::remove_dir_all(home).expect("ours");
    Some(digest)
}

/// Kills the server once the system has all that was answered: while files are changed or synced, `everysec` answers first.
#[track_caller]
fn kill_when_written(server: &mut Server) {
    wait::until("everything is written", || {
        server.info("aof_buffer_length") == "0"
    });
    server.kill();
}

/// Kills the server; what its files say, to redis-server and to itself, must be this digest.
#[track_caller]
fn assert_survives(server: &mut Server, digest: &str) {
    kill_when_written(server);
    if let Some(found) = digest_of_redis(server) {
        assert_eq!(found, digest, "as redis-server reads it");
    }
    server.start_again();
    assert_eq!(agree::digest(server), digest, "as it reads it itself");
}

#[test]
fn a_base_of_commands_is_read_by_both_servers() {
    for stamps in ["no", "yes"] {
        let mut server = start(
            with_aof()
                .set("aof-use-rdb-preamble", "no")
                .set("aof-timestamp-enabled", stamps),
        );
        Load::new(7).commands(3_000).lasting().run(server.port());
        let mut client = server.client();
        let long = "\u{e9}\r\n".repeat(100_000);
        for number in 0..300 {
            let (item, score) = (format!("item {number}"), format!("{}", number as f64 / 7.0));
            client.command(&["SELECT", if number < 150 { "0" } else { "9" }]);
            client.command(&["RPUSH", "large list", &item, &number.to_string()]);
            client.command(&["SADD", "large set", &item, &number.to_string()]);
            client.command(&["SADD", "numbers", &number.to_string()]);
            client.command(&["HSET", "large hash", &item, &score]);
            client.command(&["ZADD", "large sorted set", &score, &item]);
            client.command(&["SET", &item, &long[..number * 7 + 2 - number % 2]]);
            client.command(&["PEXPIRE", &item, &(10_000_000 + number).to_string()]);
        }
        client.command(&["SET", "long", &long]);
        client.command(&["PEXPIRE", "large list", "100000000"]);
        rewrite(&server);
        client.must("SET behind 1");
        // While the disk was busy with the set nobody waited for it.
        wait::until("it is in the file", || {
            server.info("aof_written_offset") == server.info("master_repl_offset")
        });
        let digest = agree::digest(&server);
        let lines = manifest(&server);
        assert!(lines[0].name.ends_with(".base.aof"), "{lines:?}");
        let base = fs::read(set_directory(&server).join(&lines[0].name)).expect("it is there");
        let first: &[u8] = if stamps == "yes" { b"#TS:" } else { b"*2\r\n" };
        assert!(base.starts_with(first), "{stamps}");
        if let Some(found) = digest_of_redis(&server) {
            assert_eq!(found, digest, "as redis-server reads it");
        }
        server.terminate();
        server.start_again();
        assert_eq!(agree::digest(&server), digest, "as we read it");
    }
}

#[test]
fn a_rewrite_under_writes_leaves_a_set_that_holds_everything() {
    let mut server = start(with_aof());
    let load = Load::new(3).lasting().start(server.port());
    for _ in 0..3 {
        load.await_more(3000);
        rewrite(&server);
    }
    load.await_more(1000);
    load.stop();
    let digest = agree::digest(&server);
    await_tidy(&server);
    assert_eq!(numbers(&server), (vec![4], vec![4]));
    assert_eq!(server.info("aof_rewrites"), "3");
    assert_survives(&mut server, &digest);
}

#[test]
fn a_base_of_commands_holds_everything_too() {
    let mut server = start(with_aof().set("aof-use-rdb-preamble", "no"));
    let load = Load::new(4).lasting().start(server.port());
    load.await_more(3000);
    rewrite(&server);
    load.stop();
    let digest = agree::digest(&server);
    let lines = manifest(&server);
    assert!(lines.iter().any(|line| line.name.ends_with(".base.aof")));
    assert_survives(&mut server, &digest);
}

#[test]
fn twenty_thousand_increments_with_a_rewrite_in_the_middle_are_twenty_thousand() {
    let mut server = start(with_aof());
    let mut client = server.client();
    for round in 0..20 {
        let commands: Vec<Vec<&str>> = vec![vec!["INCR", "n"]; 1000];
        client.pipeline(&commands);
        if round == 10 {
            server.must("BGREWRITEAOF");
        }
    }
    assert_eq!(server.must("GET n").text(), "20000");
    await_rewrite(&server);
    kill_when_written(&mut server);
    server.start_again();
    assert_eq!(server.must("GET n").text(), "20000");
}

#[test]
fn without_an_aof_a_rewrite_leaves_a_base_alone() {
    let mut server = server::sluice().start();
    server.must("DEBUG POPULATE 1000");
    rewrite(&server);
    assert_eq!(numbers(&server), (vec![1], vec![]));
    rewrite(&server);
    assert_eq!(numbers(&server), (vec![2], vec![]));
    await_tidy(&server);
    let digest = agree::digest(&server);
    server.kill();
    server.start_again_with(&[("appendonly", "yes")]);
    assert_eq!(agree::digest(&server), digest);
}

#[test]
fn replies_are_those_of_redis() {
    let server = start(with_aof());
    server.must("DEBUG POPULATE 5000");
    play(
        &server,
        r#"
        > MULTI
        +OK
        > BGREWRITEAOF
        +QUEUED
        > EXEC
        [+Background append only file rewriting scheduled]
        "#,
    );
    wait::until("it has begun by itself", || {
        server.info("aof_rewrites") == "1"
    });
    await_rewrite(&server);
}

#[test]
fn an_aof_that_has_grown_is_rewritten_by_itself() {
    let growing = with_aof()
        .set("auto-aof-rewrite-min-size", "64kb")
        .set("auto-aof-rewrite-percentage", "100");
    let server = start(growing);
    let load = Load::new(5).lasting().keys(20).start(server.port());
    wait::until("two rewrites", || server.info_number("aof_rewrites") >= 2);
    load.stop();
    await_rewrite(&server);
    assert_eq!(server.info("aof_last_bgrewrite_status"), "ok");
    server.must("CONFIG SET auto-aof-rewrite-percentage 0");
    assert!(server.info_number("aof_base_size") > 0);
    assert!(server.info_number("aof_current_size") >= server.info_number("aof_base_size"));
}

#[test]
fn an_aof_is_switched_on_and_off_under_writes() {
    let mut server = server::sluice().start();
    let load = Load::new(6).lasting().start(server.port());
    load.await_more(3000);
    for round in 1..=3 {
        server.must("CONFIG SET appendonly yes");
        await_rewrite(&server);
        assert_eq!(server.info("aof_enabled"), "1");
        assert_eq!(numbers(&server), (vec![round], vec![round]));
        load.await_more(1000);
        if round < 3 {
            server.must("CONFIG SET appendonly no");
            assert_eq!(server.info("aof_enabled"), "0");
            load.await_more(1000);
            assert!(!manifest(&server).is_empty(), "the files stay");
        }
    }
    load.stop();
    await_tidy(&server);
    let digest = agree::digest(&server);
    kill_when_written(&mut server);
    if let Some(found) = digest_of_redis(&server) {
        assert_eq!(found, digest);
    }
    server.start_again_with(&[("appendonly", "yes")]);
    assert_eq!(agree::digest(&server), digest);
}

#[test]
fn switching_to_and_fro_at_once_ends_where_it_was_told_last() {
    let mut server = server::sluice().start();
    server.must("DEBUG POPULATE 20000");
    for _ in 0..10 {
        server.must("CONFIG SET appendonly yes");
        server.must("CONFIG SET appendonly no");
    }
    server.must("CONFIG SET appendonly yes");
    server.must("SET last 1");
    wait::until("the set stands", || {
        server.info("aof_rewrite_in_progress") == "0" && !manifest(&server).is_empty()
    });
    await_tidy(&server);
    let digest = agree::digest(&server);
    kill_when_written(&mut server);
    server.start_again_with(&[("appendonly", "yes")]);
    assert_eq!(agree::digest(&server), digest);
}

/// Makes the next temp files impossible: directories stand in their place.
fn block_temp_files(server: &Server) -> Vec<PathBuf> {
    let path = |number: u64| {
        let name = format!("temp-rewriteaof-{}-{number}.aof", server.pid());
        set_directory(server).join(name)
    };
    let blocked: Vec<PathBuf> = (0..500).map(path).collect();
    for path in &blocked {
        fs::create_dir_all(path).expect("ours");
    }
    blocked
}

#[test]
fn failed_rewrites_keep_the_set_whole_and_wait_before_they_try_again() {
    if stands_in_for_sluice("its temp files have other names") {
        return;
    }
    let growing = with_aof()
        .set("auto-aof-rewrite-min-size", "16kb")
        .set("auto-aof-rewrite-percentage", "0");
    let mut server = start(growing);
    let load = Load::new(7).lasting().start(server.port());
    load.await_more(2000);
    let blocked = block_temp_files(&server);
    for failures in 1..=3 {
        server.must("CONFIG SET auto-aof-rewrite-percentage 1");
        wait::until("a rewrite fails", || {
            server.info_number("aof_rewrites_consecutive_failures") >= failures
        });
        assert_eq!(server.info("aof_last_bgrewrite_status"), "err");
    }
    server.await_log("triggered the limit");
    assert_eq!(server.info("aof_rewrites_consecutive_failures"), "3");
    load.await_more(1000);
    assert_eq!(server.info("aof_rewrites"), "3", "it waits now");
    let (base, segments) = numbers(&server);
    assert_eq!(base, [1]);
    assert!(segments.len() <= 4, "{segments:?}");
    for path in blocked {
        fs::remove_dir(path).expect("ours");
    }
    rewrite(&server);
    assert_eq!(server.info("aof_rewrites_consecutive_failures"), "0");
    load.stop();
    await_tidy(&server);
    assert_eq!(numbers(&server).0, [2]);
    let digest = agree::digest(&server);
    assert_survives(&mut server, &digest);
}

#[test]
fn shutdown_is_refused_while_the_first_base_is_being_written() {
    if stands_in_for_sluice("how long a rewrite takes is another setting there") {
        return;
    }
    let server = server::sluice().start();
    server.must("DEBUG POPULATE 300000");
    let mut client = server.client();
    let replies = client.pipeline(&[
        vec!["CONFIG", "SET", "appendonly", "yes"],
        vec!["SHUTDOWN", "NOSAVE"],
    ]);
    assert_eq!(
        replies[1].to_string(),
        "-ERR Errors trying to SHUTDOWN. Check logs."
    );
    server.await_log("Writing initial AOF, can't exit.");
}

#[test]
fn a_replica_takes_a_full_sync_as_its_base_and_goes_on_behind_it() {
    for diskless_load in ["disabled", "swapdb"] {
        let master = server::sluice()
            .set("repl-diskless-sync-delay", "0")
            .start();
        let mut replica = start(with_aof().set("repl-diskless-load", diskless_load));
        replica.must("SET old 1");
        let load = Load::new(8).lasting().start(master.port());
        load.await_more(3000);
        replica.follow(&master);
        load.await_more(2000);
        load.stop();
        agree::assert_agree(&master, &replica);
        wait::until("the set has gone over", || numbers(&replica).0 == [2]);
        await_tidy(&replica);
        let digest = agree::digest(&master);
        if !stands_in_for_sluice("it takes a snapshot of its own") {
            assert_eq!(replica.info("aof_rewrites"), "0", "no snapshot was needed");
        }
        kill_when_written(&mut replica);
        if let Some(found) = digest_of_redis(&replica) {
            assert_eq!(found, digest, "{diskless_load}");
        }
        replica.start_again();
        assert_eq!(agree::digest(&replica), digest, "{diskless_load}");
    }
}

#[test]
fn a_full_sync_that_cannot_be_kept_is_followed_by_a_rewrite() {
    if stands_in_for_sluice("it keeps none") {
        return;
    }
    let master = server::sluice()
        .set("repl-diskless-sync-delay", "0")
        .start();
    Load::new(9).lasting().commands(3000).run(master.port());
    let mut replica = start(with_aof());
    let blocked = block_temp_files(&replica);
    replica.follow(&master);
    agree::assert_agree(&master, &replica);
    replica.await_log("the master's snapshot is not kept as a base");
    assert_eq!(numbers(&replica).0, [1], "the old set stays");
    for path in blocked {
        fs::remove_dir(path).expect("ours");
    }
    if replica.info_number("aof_rewrites_consecutive_failures") >= 3 {
        replica.must("BGREWRITEAOF");
    }
    wait::until("the new set stands", || numbers(&replica).0 == [2]);
    master.must("SET later 1");
    agree::assert_agree(&master, &replica);
    let digest = agree::digest(&master);
    assert_survives(&mut replica, &digest);
}

#[test]
fn a_promoted_replica_begins_a_segment_of_its_own_history() {
    if stands_in_for_sluice("its segments know no history") {
        return;
    }
    let master = server::sluice()
        .set("repl-diskless-sync-delay", "0")
        .start();
    let mut replica = start(with_aof());
    master.must("SET a 1");
    replica.follow(&master);
    agree::assert_agree(&master, &replica);
    wait::until("the set has gone over", || numbers(&replica).0 == [2]);
    let before = numbers(&replica).1;
    replica.must("REPLICAOF NO ONE");
    replica.must("SET b 2");
    wait::until("another segment", || {
        numbers(&replica).1.len() == before.len() + 1
    });
    let digest = agree::digest(&replica);
    assert_survives(&mut replica, &digest);
}

#[test]
fn a_rewrite_is_killed_at_any_moment_and_the_set_is_whole() {
    let mut server = start(with_aof().set("appendfsync", "always"));
    let mut client = server.client();
    for round in 0..6 {
        let load = Load::new(round).lasting().keys(2000).commands(4000);
        load.run(server.port());
        let digest = agree::digest(&server);
        client.send_line("BGREWRITEAOF");
        thread::sleep(Duration::from_millis(round * 12));
        server.kill();
        server.start_again();
        assert_eq!(agree::digest(&server), digest, "round {round}");
        client = server.client();
    }
}
