//! A disk that takes nothing: what was saved stays, writes are refused, and all is well again once it takes something.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::server::{self, Server, Setup};
use crate::support::wait;

/// A script that starts the server so that a file which grows too large is an error, and not its end.
fn spared_by_limits(home: &Path) -> PathBuf {
    let path = home.join("start");
    let binary = server::sluice_binary();
    let text = format!(
        "#!/bin/sh\ntrap '' XFSZ\nexec {} \"$@\"\n",
        binary.display()
    );
    fs::write(&path, text).expect("ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    path
}

/// As if the disk had room for files of so many bytes only.
fn limit_files(server: &Server, bytes: Option<u64>) {
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    let pid = Pid::from_raw(server.pid() as i32);
    prlimit(pid, Resource::Fsize, limit).expect("a child of ours");
}

fn files(home: &Path) -> Vec<String> {
    let entries = fs::read_dir(home).expect("ours");
    let names = entries.map(|entry| entry.expect("ours").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into()).collect();
    names.retain(|name| name.contains("rdb"));
    names
}

fn node() -> Setup {
    server::sluice().set("save", "3600 1000000")
}

/// Saves fail, writes are refused, what was saved before is untouched; then `mend` makes saves work again.
fn fails_and_recovers(server: &mut Server, said: &str, mend: impl FnOnce(&Server)) {
    let saved = fs::read(server.home().join("dump.rdb")).expect("it was saved");
    assert!(server.call("SAVE").is_error());
    server.must("SET before refusal");
    server.must("BGSAVE");
    wait::until("the save has failed", || {
        server.info("rdb_last_bgsave_status") == "err"
    });
    server.await_log(said);
    let refused = server.call("SET after refusal").text();
    assert!(refused.starts_with("MISCONF "), "{refused}");
    assert_eq!(server.must("GET before").text(), "refusal");
    assert_eq!(files(server.home()), ["dump.rdb"]);
    let left = fs::read(server.home().join("dump.rdb")).expect("still there");
    assert!(left == saved, "the old file should be untouched");
    mend(server);
    server.must("BGSAVE");
    wait::until("the save has worked", || {
        server.info("rdb_last_bgsave_status") == "ok"
    });
    server.must("SET after recovery");
    server.must("SAVE");
    server.kill();
    server.start_again();
    assert_eq!(server.must("GET after").text(), "recovery");
}

#[test]
fn a_full_disk_fails_saves_and_harms_nothing() {
    let home = server::fresh_directory();
    let script = spared_by_limits(&home);
    let mut server = node()
        .started_by(&script)
        .set("rdbcompression", "no")
        .start();
    server.must("SET small v");
    server.must("SAVE");
    server.must("DEBUG POPULATE 3000 key 1000");
    limit_files(&server, Some(1_000_000));
    fails_and_recovers(&mut server, "File too large", |server| {
        limit_files(server, None);
    });
    fs::remove_dir_all(home).expect("ours");
}

#[test]
fn a_directory_that_takes_no_files_fails_saves_and_harms_nothing() {
    let mut server = node().set("enable-protected-configs", "yes").start();
    server.must("SET small v");
    server.must("SAVE");
    // Where nobody may create a file, whoever one is.
    server.must("CONFIG SET dir /proc");
    fails_and_recovers(&mut server, "/proc", |server| {
        server.must(&format!("CONFIG SET dir {}", server.home().display()));
    });
}

#[test]
fn a_replica_that_cannot_save_goes_on_or_ends_as_told() {
    let quick = || node().set("repl-diskless-sync-delay", "0");
    let master = quick().start();
    let mut replica = quick().set("repl-diskless-load", "swapdb").start();
    replica.follow(&master);
    fs::create_dir(replica.home().join("dump.rdb")).expect("ours");
    replica.must("BGSAVE");
    wait::until("the save has failed", || {
        replica.info("rdb_last_bgsave_status") == "err"
    });
    assert!(replica.call("PING").text().starts_with("MISCONF "));
    assert!(replica.call("SET k v").text().starts_with("MISCONF "));
    replica.must("CONFIG SET replica-ignore-disk-write-errors yes");
    master.must("SET k first");
    wait::until("it is applied", || replica.must("EXISTS k").integer() == 1);
    replica.must("CONFIG SET replica-ignore-disk-write-errors no");
    master.must("SET k second");
    assert!(!replica.await_exit().success());
}
