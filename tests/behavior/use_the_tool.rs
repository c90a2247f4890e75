//! `sluice`, the operator's tool: comparing nodes and checking files.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use crate::support::agree;
use crate::support::load::Load;
use crate::support::server::{self, Server};

struct Said {
    code: Option<i32>,
    out: String,
    errors: String,
}

fn tool(words: &[&str]) -> Said {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(words)
        .env_remove("SLUICE_PASSWORD")
        .output()
        .expect("the tool is built beside the tests");
    Said {
        code: status.code(),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        errors: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

impl Said {
    #[track_caller]
    fn ends(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.errors);
        self
    }
}

fn address(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port())
}

/// Keys of all databases.
fn keys(server: &Server) -> i64 {
    let mut client = server.client();
    let mut keys = 0;
    for database in 0..16 {
        client.must(&format!("SELECT {database}"));
        keys += client.must("DBSIZE").integer();
    }
    keys
}

#[test]
fn a_master_and_its_replica_have_equal_digests() {
    let master = server::sluice().start();
    let mut replicas = vec![server::sluice()];
    replicas.extend(server::redis());
    let replicas: Vec<Server> = replicas
        .into_iter()
        .map(|replica| {
            let port = master.port().to_string();
            replica
                .set("replicaof", &format!("127.0.0.1 {port}"))
                .start()
        })
        .collect();
    Load::new(5).commands(3000).run(master.port());
    let names: Vec<String> = std::iter::once(&master)
        .chain(&replicas)
        .map(address)
        .collect();
    let mut words = vec!["digest", "--wait", "30s"];
    words.extend(names.iter().map(String::as_str));
    let said = tool(&words).ends(0);
    let digest = agree::digest(&master);
    assert_eq!(
        said.out.matches(&digest).count(),
        names.len(),
        "{}",
        said.out
    );
    assert!(said.out.contains("EQUAL"), "{}", said.out);
    let row = said.out.lines().nth(2).unwrap_or_default();
    let columns: Vec<&str> = row.split_whitespace().collect();
    let replid = &master.info("master_replid")[..8];
    assert_eq!(columns[..3], [names[1].as_str(), "replica", replid]);
    assert_eq!(columns[4], keys(&master).to_string());
}

#[test]
fn nodes_with_other_data_have_different_digests() {
    let (one, other) = (server::sluice().start(), server::sluice().start());
    one.must("SET k v");
    other.must("SET k w");
    let said = tool(&["digest", &address(&one), &address(&other)]).ends(1);
    assert!(said.out.contains("DIFFERENT"), "{}", said.out);
    assert!(said.out.contains(&agree::digest(&one)), "{}", said.out);
    assert!(said.out.contains(&agree::digest(&other)), "{}", said.out);
    other.must("SET k v");
    tool(&["digest", &address(&one), &address(&other)]).ends(0);
}

#[test]
fn a_node_that_cannot_be_asked_is_named_with_the_reason() {
    let secret = server::sluice().set("requirepass", "opensesame").start();
    let closed = server::sluice().set("enable-debug-command", "no").start();
    let said = tool(&["digest", &address(&closed)]).ends(2);
    assert!(
        said.errors.contains("enable-debug-command"),
        "{}",
        said.errors
    );
    assert!(
        said.errors.starts_with(&address(&closed)),
        "{}",
        said.errors
    );
    let said = tool(&["digest", &address(&secret)]).ends(2);
    assert!(said.errors.contains("SLUICE_PASSWORD"), "{}", said.errors);
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = nobody.expect("a free port").to_string();
    let said = tool(&["digest", &nobody]).ends(2);
    assert!(said.errors.contains("cannot connect"), "{}", said.errors);
    tool(&["digest"]).ends(2);
}

#[test]
fn the_password_comes_from_the_command_line_or_the_environment() {
    let secret = server::sluice().set("requirepass", "opensesame").start();
    let name = address(&secret);
    tool(&["digest", "--password", "opensesame", &name]).ends(0);
    tool(&[
        "digest",
        "--user",
        "default",
        "--password",
        "opensesame",
        &name,
    ])
    .ends(0);
    let said = tool(&["digest", "--password", "wrong", &name]).ends(2);
    assert!(said.errors.contains("WRONGPASS"), "{}", said.errors);
    let status = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["digest", &name])
        .env("SLUICE_PASSWORD", "opensesame")
        .output()
        .expect("the tool is built beside the tests")
        .status;
    assert!(status.success());
}

#[test]
fn a_file_is_whole_or_it_is_told_where_it_is_not() {
    let server = server::sluice().start();
    Load::new(6).commands(500).run(server.port());
    server.must("SAVE");
    let path = server.home().join("dump.rdb");
    let name = path.to_str().expect("ours");
    let said = tool(&["check-rdb", name]).ends(0);
    assert!(said.out.contains("RDB looks OK"), "{}", said.out);
    let keys = keys(&server);
    assert!(
        said.out.contains(&format!("{keys} keys read")),
        "{}",
        said.out
    );
    let whole = fs::read(&path).expect("saved");
    fs::write(&path, &whole[..whole.len() / 2]).expect("ours");
    let said = tool(&["check-rdb", name]).ends(1);
    assert!(said.out.contains("RDB ERROR DETECTED"), "{}", said.out);
    let mut damaged = whole;
    *damaged.last_mut().expect("not empty") ^= 1;
    fs::write(&path, damaged).expect("ours");
    tool(&["check-rdb", name]).ends(1);
    let said = tool(&["check-rdb", "no/such/file"]).ends(2);
    assert!(said.errors.contains("no/such/file"), "{}", said.errors);
}

/// A copy of a directory of the AOF fixtures, and its manifest.
fn aof_case(case: &str) -> (std::path::PathBuf, String) {
    let fixtures =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/aof/cases");
    let name = format!("sluice-check-aof-{}-{case}", std::process::id());
    let copy = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(&copy).expect("the directory is made");
    let from = fixtures.join(case).join("appendonlydir");
    for entry in fs::read_dir(from).expect("the case is there") {
        let entry = entry.expect("it can be read");
        fs::copy(entry.path(), copy.join(entry.file_name())).expect("it is copied");
    }
    let manifest = copy.join("appendonly.aof.manifest").display().to_string();
    (copy, manifest)
}

fn length(folder: &std::path::Path, segment: u64) -> u64 {
    let path = folder.join(format!("appendonly.aof.{segment}.incr.aof"));
    fs::metadata(path).expect("it is there").len()
}

#[test]
fn an_aof_is_checked_in_the_manner_of_redis() {
    for (case, code, line) in [
        ("ok-multi", 0, "All AOF files and manifest are valid"),
        ("ok-lf-only", 0, "All AOF files and manifest are valid"),
        (
            "tail-cut",
            1,
            "AOF analyzed: filename=appendonly.aof.1.incr.aof, size=73, ok_up_to=50, ok_up_to_line=18, diff=23",
        ),
        (
            "tail-multi",
            1,
            "AOF analyzed: filename=appendonly.aof.1.incr.aof, size=92, ok_up_to=50, ok_up_to_line=23, diff=42",
        ),
        (
            "tail-zeros",
            1,
            "AOF appendonly.aof.1.incr.aof format error",
        ),
        (
            "base-rdb-cut",
            1,
            "RDB preamble of AOF file is not sane, aborting.",
        ),
        ("man-type", 1, "Unknown AOF file type, at line 1"),
        ("man-missing-file", 1, "Cannot open file"),
    ] {
        let (folder, manifest) = aof_case(case);
        let said = tool(&["check-aof", &manifest]).ends(code);
        assert!(said.out.contains(line), "{case}: {}", said.out);
        fs::remove_dir_all(folder).expect("it is removed");
    }
    tool(&["check-aof", "/nowhere"]).ends(2);
}

#[test]
fn an_aof_is_cut_where_it_is_damaged_but_only_in_its_last_file() {
    for case in ["tail-cut", "tail-multi-cut", "tail-zeros"] {
        let (folder, manifest) = aof_case(case);
        let asked = tool(&["check-aof", "--fix", &manifest]).ends(1);
        assert!(
            asked.out.contains("Continue? [y/N]: Aborting..."),
            "{}",
            asked.out
        );
        tool(&["check-aof", "--fix", "--yes", &manifest]).ends(0);
        assert_eq!(length(&folder, 1), 50);
        tool(&["check-aof", &manifest]).ends(0);
        fs::remove_dir_all(folder).expect("it is removed");
    }
    let (folder, manifest) = aof_case("mid-cut-first-of-two");
    let said = tool(&["check-aof", "--fix", "--yes", &manifest]).ends(1);
    assert!(
        said.out.contains("because it is not the last file"),
        "{}",
        said.out
    );
    assert_eq!(length(&folder, 1), 47);
    fs::remove_dir_all(folder).expect("it is removed");
}

#[test]
fn an_aof_is_cut_at_a_time_or_an_offset() {
    let (folder, manifest) = aof_case("ok-timestamps");
    tool(&["check-aof", "--truncate-to-timestamp", "99", &manifest]).ends(1);
    tool(&["check-aof", "--truncate-to-timestamp", "200", &manifest]).ends(0);
    assert_eq!(length(&folder, 1), 107);
    tool(&["check-aof", "--truncate-to-timestamp", "150", &manifest]).ends(0);
    assert_eq!(length(&folder, 1), 59);
    fs::remove_dir_all(folder).expect("it is removed");

    let (folder, manifest) = aof_case("ok-multi");
    let facts = |more: &str| {
        let line = "file appendonly.aof.1.incr.aof seq 1 type i";
        fs::write(
            &manifest,
            format!("{line} prelude 23 startoffset 1000{more}\n"),
        )
        .expect("written");
    };
    // 27 bytes of SET behind the prelude, then a transaction: offsets 1000, 1027 and 1000 + what is left.
    let bytes = length(&folder, 1);
    let end = 1000 + bytes - 23;
    facts(&format!(" endoffset {end} crc64 0000000000000000"));
    let damaged = tool(&["check-aof", &manifest]).ends(1);
    assert!(
        damaged.out.contains("is damaged: the checksum of its"),
        "{}",
        damaged.out
    );
    tool(&[
        "check-aof",
        "--to-offset",
        &(end - 1).to_string(),
        &manifest,
    ])
    .ends(0);
    let cut = length(&folder, 1);
    assert!(cut < bytes - 15, "before MULTI: {cut} of {bytes}");
    let kept = fs::read_to_string(&manifest).expect("it is there");
    assert!(!kept.contains("crc64") && !kept.contains("endoffset") && kept.contains("prelude 23"));
    tool(&["check-aof", &manifest]).ends(0);
    fs::remove_dir_all(folder).expect("it is removed");
}
