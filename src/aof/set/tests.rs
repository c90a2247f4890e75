use std::fs;

use super::*;
use crate::aof::disk::{Disk, RealDisk};
use crate::aof::file_scan::FileScan;
use crate::aof::repair::{self, Policy, Verdict};
use crate::aof::scan::Batch;
use crate::journal::position::ReplId;

/// A working directory that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sluice-set-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("appendonlydir")).unwrap();
        Folder(folder)
    }

    /// A copy of a directory of the fixtures.
    fn of_case(case: &str) -> Self {
        let folder =
            Folder(std::env::temp_dir().join(format!("sluice-aof-{}-{case}", std::process::id())));
        let _ = fs::remove_dir_all(&folder.0);
        copy(&cases().join(case), &folder.0);
        folder
    }

    fn names(&self) -> Names {
        Names::new(&self.0, "appendonlydir", "appendonly.aof")
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).unwrap();
    }

    fn survey(&self) -> Result<Plan, SetError> {
        survey(&RealDisk, &self.names(), &|process| process == 1)
    }

    fn plan(&self) -> Plan {
        self.survey().unwrap_or_else(|error| panic!("{error}"))
    }

    fn leftovers(&self) -> Vec<String> {
        let below = |path: &Path| path.strip_prefix(&self.0).unwrap().display().to_string();
        let describe = |leftover: &Leftover| match leftover {
            Leftover::Remove(path) => format!("remove {}", below(path)),
            Leftover::SetAside { from, to } => format!("{} -> {}", below(from), below(to)),
        };
        self.plan().leftovers.iter().map(describe).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/aof/cases")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// What a start would do with a directory, as far as it can be told without a keyspace; RDB parts are passed over.
fn start(folder: &Folder) -> String {
    let plan = match folder.survey() {
        Err(error) => return format!("refuse: {error}"),
        Ok(plan) => plan,
    };
    if let Some(how) = plan.take_over {
        take_over(&RealDisk, &folder.names(), how).unwrap();
        let again = folder.plan();
        assert_eq!(again.take_over, None);
        assert_eq!(
            (again.files, again.manifest),
            (plan.files.clone(), plan.manifest)
        );
    }
    let policy = Policy {
        load_truncated: true,
        corrupt_tail_bytes_max: 0,
    };
    let mut commands = 0;
    for file in &plan.files {
        let open = RealDisk.open(&file.path).unwrap();
        let mut magic = [0; 5];
        if open.read_at(&mut magic, 0).unwrap() == 5 && magic == *b"REDIS" {
            continue;
        }
        let mut scan = FileScan::new(&*open).unwrap();
        let mut batch = Batch::default();
        while scan.next(&mut batch).unwrap().is_some() {
            commands += batch.len();
        }
        match repair::decide(&file.name, &scan.outcome(), file.is_last, policy) {
            Verdict::Load => {}
            Verdict::Cut { to, .. } => return format!("cut {} to {to}", file.name),
            Verdict::Refuse { reason } => return format!("refuse: {reason}"),
        }
    }
    format!("load {} files, {commands} commands", plan.files.len())
}

#[test]
fn every_directory_of_the_fixtures_is_judged() {
    // Not judged here: RDB parts, and whether a command is known.
    let expected = [
        ("bad-annotation-inside", "byte 54 (line 14): expected '$'"),
        (
            "bad-annotation-long",
            "byte 0 (line 1): expected an annotation of at most 1023 bytes",
        ),
        (
            "bad-argc0",
            "byte 50 (line 13): expected at least one argument",
        ),
        ("bad-bulk-prefix", "byte 54 (line 14): expected '$'"),
        (
            "bad-terminator",
            "expected CR LF behind the argument, found \"xx",
        ),
        ("bad-unknown-command", "load 1 files"),
        ("bad-wrongtype", "load 1 files"),
        ("base-rdb-cut", "load 1 files, 0 commands"),
        (
            "dir-without-manifest",
            "holds appendonly.aof.1.incr.aof but no manifest",
        ),
        ("dump-only", "load 0 files"),
        (
            "man-blank-line",
            "Invalid AOF manifest file format, at line 2: ''",
        ),
        ("man-empty", "Found an empty AOF manifest"),
        (
            "man-long-line",
            "The AOF manifest file contains too long line, at line 1",
        ),
        (
            "man-missing-file",
            "appendonly.aof.2.incr.aof is in the manifest, but is not there",
        ),
        (
            "man-no-newline",
            "The AOF manifest file contains too long line, at line 1",
        ),
        ("man-odd", "Invalid AOF manifest file format, at line 1"),
        (
            "man-path",
            "File can't be a path, just a filename, at line 1",
        ),
        (
            "man-seq-order",
            "Found a non-monotonic sequence number, at line 2",
        ),
        ("man-seq0", "Invalid AOF manifest file format, at line 1"),
        ("man-short", "Invalid AOF manifest file format, at line 1"),
        (
            "man-two-bases",
            "Found duplicate base file information, at line 2",
        ),
        ("man-type", "Unknown AOF file type, at line 1"),
        (
            "mid-cut-first-of-two",
            "Unexpected end of file reading the append only file appendonly.aof.1.incr.aof",
        ),
        (
            "mid-garbage",
            "Bad file format reading the append only file appendonly.aof.1.incr.aof: byte 50",
        ),
        ("ok-base-with-tail", "load 1 files"),
        ("ok-comment", "load 1 files, 2 commands"),
        ("ok-empty-incr", "load 2 files, 2 commands"),
        ("ok-expired-base", "load 2 files, 1 commands"),
        ("ok-extra-keys", "load 1 files, 2 commands"),
        ("ok-history", "load 1 files, 2 commands"),
        ("ok-incr-before-base", "load 2 files"),
        ("ok-incr-rdb", "load 1 files"),
        ("ok-keys-any-order", "load 1 files, 2 commands"),
        ("ok-lf-only", "load 1 files, 3 commands"),
        ("ok-multi", "load 1 files, 6 commands"),
        ("ok-quoted", "load 1 files, 2 commands"),
        ("ok-rdb-base", "load 2 files, 1 commands"),
        ("ok-resp", "load 2 files, 3 commands"),
        ("ok-seq-gap", "load 2 files, 3 commands"),
        ("ok-timestamps", "load 1 files, 3 commands"),
        ("ok-two-incr", "load 3 files, 5 commands"),
        ("old-and-new", "load 1 files, 1 commands"),
        ("old-single-preamble", "load 1 files, 0 commands"),
        ("old-single-resp", "load 1 files, 2 commands"),
        ("old-upgrade-interrupted", "load 1 files, 2 commands"),
        ("tail-cut", "cut appendonly.aof.1.incr.aof to 50"),
        ("tail-cut-crlf", "cut appendonly.aof.1.incr.aof to 50"),
        ("tail-cut-star", "cut appendonly.aof.1.incr.aof to 50"),
        ("tail-multi", "cut appendonly.aof.1.incr.aof to 50"),
        ("tail-multi-cut", "cut appendonly.aof.1.incr.aof to 50"),
        (
            "tail-text",
            "Bad file format reading the append only file appendonly.aof.1.incr.aof: byte 50",
        ),
        (
            "tail-zeros",
            "Bad file format reading the append only file appendonly.aof.1.incr.aof: byte 50",
        ),
    ];
    let mut names: Vec<_> = fs::read_dir(cases())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let judged: Vec<_> = expected.iter().map(|(case, _)| *case).collect();
    assert_eq!(names, judged);
    let mut wrong = Vec::new();
    for (case, expected) in expected {
        let found = start(&Folder::of_case(case));
        let is_refused = !expected.starts_with("load") && !expected.starts_with("cut");
        if !found.contains(expected) || found.starts_with("refuse") != is_refused {
            wrong.push(format!("{case}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";

#[test]
fn an_old_file_is_taken_over_unless_there_is_a_set() {
    let folder = Folder::new("old");
    assert_eq!(folder.plan(), Plan::default());
    folder.write("appendonly.aof", SET);
    for manifest in [None, Some("# nothing\n"), Some("file x seq 4 type h\n")] {
        if let Some(text) = manifest {
            folder.write("appendonlydir/appendonly.aof.manifest", text.as_bytes());
        }
        let plan = folder.plan();
        assert_eq!(plan.take_over, Some(TakeOver::Begin));
        assert_eq!(plan.files.len(), 1);
        assert_eq!(plan.bytes(), 27);
        assert!(plan.files[0].is_last && plan.files[0].kind == Kind::Base);
    }
    folder.write(
        "appendonlydir/appendonly.aof.manifest",
        b"file appendonly.aof seq 1 type b\n",
    );
    assert_eq!(folder.plan().take_over, Some(TakeOver::Finish));
    assert_eq!(start(&folder), "load 1 files, 1 commands");
    assert!(folder.0.join("appendonlydir/appendonly.aof").exists());
    // A new old file beside the set is nobody's.
    folder.write("appendonly.aof", b"stray");
    assert_eq!(folder.plan().take_over, None);
    assert_eq!(start(&folder), "load 1 files, 1 commands");
}

#[test]
fn leftovers_are_found_and_nothing_of_others_is_touched() {
    let folder = Folder::new("leftovers");
    for name in [
        "temp-rewriteaof-9.aof",
        "temp-rewriteaof-1.aof",
        "temp-x.rdb",
        "appendonlydir/temp-rewriteaof-bg-9.aof",
        "appendonlydir/temp-1-0-appendonly.aof.9.base.rdb",
        "appendonlydir/temp-appendonly.aof.manifest",
        "appendonlydir/temp-appendonly.aof.incr",
        "appendonlydir/temp-other.aof.manifest",
        "appendonlydir/other.aof.1.incr.aof",
        "appendonlydir/notes",
        "appendonlydir/appendonly.aof.1.base.aof",
        "appendonlydir/appendonly.aof.2.base.rdb",
        "appendonlydir/appendonly.aof.3.base.rdb",
        "appendonlydir/appendonly.aof.1.incr.aof",
        "appendonlydir/appendonly.aof.2.incr.aof",
        "appendonlydir/appendonly.aof.3.incr.aof",
        "appendonlydir/appendonly.aof.4.incr.aof.unlisted",
    ] {
        folder.write(name, b"x");
    }
    folder.write("appendonlydir/appendonly.aof.4.incr.aof", &SET.repeat(3));
    folder.write(
        "appendonlydir/appendonly.aof.manifest",
        b"file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.1.base.aof seq 1 type h\n\
          file notes seq 1 type h\nfile gone seq 1 type h\nfile appendonly.aof.2.incr.aof seq 2 type i\n",
    );
    let plan = folder.plan();
    assert!(plan.is_changed && plan.manifest.history.is_empty());
    assert_eq!(
        folder.leftovers(),
        [
            "remove appendonlydir/appendonly.aof.1.base.aof",
            "remove appendonlydir/appendonly.aof.1.incr.aof",
            "remove appendonlydir/appendonly.aof.3.base.rdb",
            "remove appendonlydir/appendonly.aof.3.incr.aof",
            "appendonlydir/appendonly.aof.4.incr.aof -> appendonlydir/appendonly.aof.4.incr.aof.unlisted.2",
            "remove appendonlydir/temp-appendonly.aof.incr",
            "remove appendonlydir/temp-appendonly.aof.manifest",
            "remove appendonlydir/temp-rewriteaof-bg-9.aof",
            "remove temp-rewriteaof-9.aof",
        ]
    );
    assert_eq!(plan.warnings.len(), 1);
    manifest::replace(&RealDisk, &folder.names(), &plan.manifest).unwrap();
    assert!(clear_away(&RealDisk, &plan.leftovers).is_empty());
    let after = folder.plan();
    assert_eq!((after.leftovers, after.is_changed), (Vec::new(), false));
    assert_eq!(after.files, plan.files);
}

#[test]
fn history_of_ours_is_kept_for_replicas() {
    let folder = Folder::new("history");
    let line = |seq: u64, kind: char, start: i64| {
        folder.write(&format!("appendonlydir/appendonly.aof.{seq}.incr.aof"), SET);
        let id = ReplId::NONE;
        format!(
            "file appendonly.aof.{seq}.incr.aof seq {seq} type {kind} replid {id} startoffset {start}\n"
        )
    };
    let text = [line(1, 'h', 0), line(2, 'i', 27)].concat();
    folder.write("appendonlydir/appendonly.aof.manifest", text.as_bytes());
    let plan = folder.plan();
    assert_eq!((plan.manifest.history.len(), plan.is_changed), (1, false));
    assert!(plan.leftovers.is_empty());
}

#[test]
fn files_without_a_manifest_are_refused_unless_they_hold_nothing() {
    let folder = Folder::new("orphans");
    folder.write("appendonlydir/appendonly.aof.1.incr.aof", b"");
    folder.write("appendonlydir/other.aof.1.incr.aof", SET);
    assert_eq!(
        folder.leftovers(),
        ["remove appendonlydir/appendonly.aof.1.incr.aof"]
    );
    folder.write("appendonlydir/appendonly.aof.1.base.rdb", b"REDIS");
    assert!(matches!(folder.survey(), Err(SetError::NoManifest { files, .. }) if files.len() == 1));
    // One that names nothing is how a set begins.
    folder.write("appendonlydir/appendonly.aof.manifest", b"# no files\n");
    assert_eq!(folder.leftovers().len(), 2);
}

#[test]
fn a_torn_file_counts_as_the_last_if_those_behind_it_are_empty() {
    let folder = Folder::new("last");
    for (seq, bytes) in [(1, SET), (2, SET), (3, b""), (4, b"")] {
        folder.write(
            &format!("appendonlydir/appendonly.aof.{seq}.incr.aof"),
            bytes,
        );
    }
    let lines = (1..5).map(|seq| format!("file appendonly.aof.{seq}.incr.aof seq {seq} type i\n"));
    let text: String = lines.collect();
    folder.write("appendonlydir/appendonly.aof.manifest", text.as_bytes());
    let last: Vec<_> = folder
        .plan()
        .files
        .iter()
        .map(|file| file.is_last)
        .collect();
    assert_eq!(last, [false, true, true, true]);
}

#[test]
fn offsets_that_do_not_join_up_are_forgotten() {
    let id = "a".repeat(40);
    let plan = |second: &str| {
        let folder = Folder::new("gaps");
        for seq in 1..4 {
            folder.write(&format!("appendonlydir/appendonly.aof.{seq}.incr.aof"), SET);
        }
        let text = format!(
            "file appendonly.aof.1.incr.aof seq 1 type i\n\
             file appendonly.aof.2.incr.aof seq 2 type i {second}\n\
             file appendonly.aof.3.incr.aof seq 3 type i replid {id} startoffset 120\n"
        );
        folder.write("appendonlydir/appendonly.aof.manifest", text.as_bytes());
        folder.plan()
    };
    for second in [
        // Closed; not closed, so that its length says where it ends; without any facts.
        format!("replid {id} startoffset 100 endoffset 120"),
        format!("replid {id} startoffset 100 prelude 7"),
        String::new(),
    ] {
        let plan = plan(&second);
        assert_eq!(plan.warnings, Vec::<String>::new());
        assert_eq!(plan.files[2].facts.start, Some(Offset(120)));
        assert_eq!(plan.files[2].facts.id, ReplId::parse(id.as_bytes()));
    }
    let plan = plan(&format!(
        "replid {id} startoffset 100 endoffset 119 crc64 {}",
        "0".repeat(16)
    ));
    assert_eq!(
        plan.warnings,
        [
            "appendonly.aof.3.incr.aof begins at offset 120, but appendonly.aof.2.incr.aof ends at 119: the \
          history of this AOF is taken as unknown"
        ]
    );
    assert!(
        plan.files
            .iter()
            .all(|file| file.facts.start.is_none() && file.facts.id.is_none())
    );
    assert_eq!(plan.files[1].facts.crc64, Some(0));
    assert!(plan.is_changed);
}
