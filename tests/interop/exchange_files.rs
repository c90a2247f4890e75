//! RDB files and DUMP payloads go both ways, and redis-check-rdb passes what we write.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::agree::{assert_same_data, digest};
use crate::support::load::Load;
use crate::support::server::{self, Server, Setup, redis_binary};
use crate::support::wait;

/// Runs redis-check-rdb; panics with what it says where it does not pass.
#[track_caller]
fn check(file: &Path) {
    let binary = redis_binary("redis-check-rdb").expect("it comes with redis-server");
    let output = Command::new(binary).arg(file).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("RDB looks OK"),
        "{}: {said}",
        file.display()
    );
}

/// A server of this kind on a copy of the file.
fn loaded(setup: Setup, file: &Path) -> (Server, std::path::PathBuf) {
    let home = server::fresh_directory();
    fs::copy(file, home.join("dump.rdb")).expect("ours");
    (setup.home(&home).start(), home)
}

#[test]
fn files_go_both_ways() {
    let Some(real) = server::redis() else {
        return;
    };
    for (writer, reader) in [
        (server::sluice(), real.clone()),
        (real.clone(), server::sluice()),
    ] {
        let from = writer.start();
        Load::new(1).commands(30_000).lasting().run(from.port());
        from.must("SELECT 0");
        from.must("SET exact v PXAT 4102444800123");
        from.must("SAVE");
        let file = from.home().join("dump.rdb");
        check(&file);
        let (to, home) = loaded(reader, &file);
        assert_same_data(&from, &to);
        assert_eq!(to.must("PEXPIRETIME exact").integer(), 4_102_444_800_123);
        drop(to);
        fs::remove_dir_all(&home).expect("ours");
    }
}

#[test]
fn every_way_of_writing_a_file_passes_the_checker() {
    let Some(real) = server::redis() else {
        return;
    };
    for (compression, checksum) in [("yes", "yes"), ("no", "yes"), ("yes", "no")] {
        for limits in [false, true] {
            let mut setup = server::sluice()
                .set("rdbcompression", compression)
                .set("rdbchecksum", checksum);
            if limits {
                setup = setup
                    .set("list-max-listpack-size", "4")
                    .set("list-compress-depth", "1")
                    .set("set-max-intset-entries", "4")
                    .set("hash-max-listpack-entries", "4")
                    .set("zset-max-listpack-entries", "4");
            }
            let server = setup.start();
            let load = Load::new(2).start(server.port());
            load.await_more(5000);
            server.must("BGSAVE");
            wait::until("the save has ended", || {
                server.info("rdb_bgsave_in_progress") == "0"
            });
            assert_eq!(server.info("rdb_last_bgsave_status"), "ok");
            load.stop();
            let file = server.home().join("dump.rdb");
            check(&file);
            let (copy, home) = loaded(real.clone(), &file);
            assert!(copy.must("DBSIZE").integer() > 0);
            drop(copy);
            fs::remove_dir_all(&home).expect("ours");
        }
    }
}

#[test]
fn odd_values_survive_the_way_through_a_file() {
    let Some(real) = server::redis() else {
        return;
    };
    let from = server::sluice().start();
    let mut client = from.client();
    for number in [
        "0",
        "1",
        "-1",
        "12",
        "63",
        "64",
        "127",
        "128",
        "-128",
        "-129",
        "255",
        "256",
        "32767",
        "32768",
        "-32769",
        "2147483647",
        "2147483648",
        "-2147483649",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "007",
        "-0",
        "+1",
        "1.0",
        "",
    ] {
        client.command(&["SET", &format!("number:{number}"), number]);
        client.command(&["SET", number, "as a key"]);
        client.command(&["RPUSH", "list", number]);
        client.command(&["SADD", "set", number]);
        client.command(&["HSET", "hash", number, number]);
    }
    for (place, score) in [
        "0",
        "-0",
        "1.5",
        "inf",
        "-inf",
        "1e308",
        "5e-324",
        "-1e-7",
        "12345678901234567890",
    ]
    .iter()
    .enumerate()
    {
        client.command(&["ZADD", "zset", score, &format!("m{place}")]);
    }
    for length in [1, 19, 20, 21, 63, 64, 65, 16_383, 16_384, 70_000, 1_000_000] {
        client.command(&["SET", &format!("same:{length}"), &"a".repeat(length)]);
        let mixed: Vec<u8> = (0..length)
            .map(|place| (place * place % 251) as u8)
            .collect();
        client.command(&[
            b"SET".as_slice(),
            format!("mixed:{length}").as_bytes(),
            &mixed,
        ]);
        client.command(&[b"RPUSH".as_slice(), b"long", &mixed]);
        client.command(&[
            b"HSET".as_slice(),
            format!("h:{length}").as_bytes(),
            b"f",
            &mixed,
        ]);
        client.command(&[
            b"ZADD".as_slice(),
            format!("z:{length}").as_bytes(),
            b"1",
            &mixed,
        ]);
        client.command(&[b"SADD".as_slice(), format!("t:{length}").as_bytes(), &mixed]);
    }
    client.must("SELECT 15");
    client.must("SET in15 v");
    client.must("SAVE");
    let file = from.home().join("dump.rdb");
    check(&file);
    let (to, home) = loaded(real, &file);
    assert_same_data(&from, &to);
    // And back: a file of the real one, with the same content.
    to.must("SAVE");
    let (back, other_home) = loaded(server::sluice(), &home.join("dump.rdb"));
    assert_eq!(digest(&back), digest(&from));
    drop((to, back));
    fs::remove_dir_all(&home).expect("ours");
    fs::remove_dir_all(&other_home).expect("ours");
}

/// Files of real servers of every version: where both load one, both hold the same; what only we refuse, we refuse by name.
#[test]
fn files_of_old_and_new_servers_load_alike() {
    let Some(real) = server::redis() else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rdb");
    let folders = [root.clone(), root.join("old"), root.join("edge")];
    let files = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("it belongs to the sources"))
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rdb"));
    let (mut compared, mut wrong) = (0, Vec::new());
    for file in files {
        let start = |setup: Setup| {
            let home = server::fresh_directory();
            fs::copy(&file, home.join("dump.rdb")).expect("ours");
            (setup.home(&home).try_start(), home)
        };
        let (theirs, their_home) = start(real.clone());
        let (ours, our_home) = start(server::sluice());
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                compared += 1;
                if digest(&ours) != digest(&theirs) {
                    let differences = crate::support::agree::differences(&ours, &theirs);
                    wrong.push(format!("{}: {differences}", file.display()));
                }
            }
            (Err(ended), Ok(_)) => {
                let names_it = ["stream", "function", "module", "hash-field"]
                    .iter()
                    .any(|reason| ended.log.contains(reason));
                if !names_it {
                    wrong.push(format!("{}: refused: {ended}", file.display()));
                }
            }
            // The reference knows fewer versions.
            (_, Err(_)) => {}
        }
        for home in [our_home, their_home] {
            fs::remove_dir_all(&home).expect("ours");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 30, "only {compared} files were compared");
}
