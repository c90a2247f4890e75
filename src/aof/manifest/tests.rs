use std::path::Path;

use super::*;
use crate::aof::disk::RealDisk;
use crate::random::Random;

fn parse(text: &str) -> Parsed {
    Manifest::parse(text.as_bytes()).expect("it is taken")
}

fn refused(text: &str) -> (Option<u64>, Reason) {
    let error = Manifest::parse(text.as_bytes()).expect_err("it is refused");
    (error.line, error.reason)
}

const ID: &str = "8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb";

#[test]
fn a_manifest_of_redis_is_read() {
    let parsed = parse(
        "# made by hand\nfile \"a b.2.incr.aof\" seq 2 type i\nTYPE base SEQ 1 FILE x.1.base.rdb\n\
         file old seq 9 type h\nfile y seq 7 type i startoffset 5 color \"light blue\"\n",
    );
    assert!(parsed.warnings.is_empty());
    let manifest = parsed.manifest;
    assert_eq!(manifest.base.as_ref().unwrap().name, "x.1.base.rdb");
    assert_eq!(manifest.history[0].seq, 9);
    assert_eq!(manifest.segments[0].name, "a b.2.incr.aof");
    assert_eq!(manifest.segments[1].facts.start, Some(Offset(5)));
    assert_eq!(
        manifest.segments[1].unknown,
        [("color".to_owned(), "light blue".to_owned())]
    );
    let text = String::from_utf8(manifest.format().unwrap()).unwrap();
    assert_eq!(
        text,
        "file x.1.base.rdb seq 1 type b\nfile old seq 9 type h\nfile \"a b.2.incr.aof\" seq 2 type i\n\
         file y seq 7 type i startoffset 5 color \"light blue\"\n"
    );
}

#[test]
fn a_manifest_is_refused_for_what_redis_refuses() {
    use Reason::*;
    let long = format!("file x seq 1 type i y {}\n", "z".repeat(1002));
    assert_eq!(long.len(), 1025);
    for (text, line, reason) in [
        ("", None, Empty),
        (
            "file x seq 1 type i\n\nfile y seq 2 type i\n",
            Some(2),
            Format,
        ),
        ("file x seq 1 type i", Some(1), TooLong),
        (&long, Some(1), TooLong),
        ("file x seq 0 type i\n", Some(1), Format),
        ("file x seq -1 type i\n", Some(1), Format),
        ("file x seq 9223372036854775808 type i\n", Some(1), Format),
        ("file x seq 1\n", Some(1), Format),
        ("file x seq 1 type i extra\n", Some(1), Format),
        ("file x seq 1 type \"i\n", Some(1), Format),
        ("file x seq 1 typo i\n", Some(1), Format),
        ("file \"\" seq 1 type i\n", Some(1), Format),
        ("file x seq 1 type x\n", Some(1), UnknownType),
        ("file x seq 1 type \"\"\n", Some(1), UnknownType),
        ("file ../x seq 1 type i\n", Some(1), IsPath),
        ("file .. seq 1 type i\n", Some(1), IsPath),
        ("file \"a\\xff\" seq 1 type i\n", Some(1), NotText),
        (
            "file x seq 1 type b\n#\nfile y seq 2 type b\n",
            Some(3),
            SecondBase,
        ),
        (
            "file x seq 2 type i\nfile y seq 2 type i\n",
            Some(2),
            SequenceOrder,
        ),
    ] {
        assert_eq!(refused(text), (line, reason), "{text:?}");
    }
    let error = Manifest::parse(b"file ../x seq 1 type i\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "File can't be a path, just a filename, at line 1: 'file ../x seq 1 type i'"
    );
    // One byte less is taken, and comments may be as long as they like.
    assert!(Manifest::parse(long.replace("zz\n", "z\n").as_bytes()).is_ok());
    assert!(
        parse(&format!("#{long}# x"))
            .manifest
            .names_nothing_to_load()
    );
}

#[test]
fn facts_that_cannot_be_right_are_not_believed() {
    let facts = |keys: &str| {
        let parsed = parse(&format!("file x seq 1 type i {keys}\n"));
        let line = parsed.manifest.segments.into_iter().next().unwrap();
        assert!(line.unknown.is_empty(), "{keys}");
        (line.facts, parsed.warnings)
    };
    let (good, warnings) = facts(&format!(
        "replid {ID} STARTOFFSET 10 endoffset 90 startdb 3 prelude 23 crc64 00000000000000ff"
    ));
    assert!(warnings.is_empty());
    assert_eq!(good.id, ReplId::parse(ID.as_bytes()));
    assert_eq!((good.start, good.end), (Some(Offset(10)), Some(Offset(90))));
    assert_eq!((good.start_db, good.prelude_bytes), (Some(3), 23));
    assert_eq!((good.crc64, good.annotated), (Some(255), false));
    assert_eq!(good.closed_bytes(), Some(103));
    for bad in [
        "replid x",
        "startoffset -1",
        "startoffset 99999999999999999999",
        "endoffset 7",
        "startoffset 9 endoffset 8",
        "startdb 2147483647",
        "startdb x",
        "prelude 4097",
        "annotated maybe",
        "crc64 ff",
        "startoffset 1 startoffset 2",
        "startoffset 1 endoffset 2 prelude -1",
    ] {
        let (facts, warnings) = facts(bad);
        assert_eq!(facts, Facts::default(), "{bad}");
        assert!(!warnings.is_empty(), "{bad}");
    }
    let (_, warnings) = facts("startdb x");
    assert_eq!(
        warnings,
        ["manifest line 1, x: startdb is not believed: it cannot be \"x\""]
    );
    let based = parse("file x seq 1 type b startoffset 1 endoffset 2\n");
    let base = based.manifest.base.unwrap();
    assert_eq!((base.facts.start, base.facts.end), (Some(Offset(1)), None));
    assert_eq!(based.warnings.len(), 1);
}

fn random_text(random: &mut Random, length_max: u64) -> String {
    let alphabet = [
        'a', 'Z', '0', ' ', '"', '\'', '\\', '#', '\n', '\t', 'é', '\u{1}',
    ];
    let length = 1 + random.below(length_max);
    (0..length)
        .map(|_| alphabet[random.below(alphabet.len() as u64) as usize])
        .collect()
}

fn random_line(random: &mut Random, kind: Kind, seq: u64) -> FileLine {
    let mut maybe = |odds: u64| random.below(odds) > 0;
    let has = [
        maybe(2),
        maybe(3),
        maybe(2),
        maybe(2),
        maybe(2),
        maybe(4),
        maybe(2),
    ];
    let start = has[1].then(|| Offset(random.below(1 << 62) as i64));
    let end = start.filter(|_| has[2] && kind != Kind::Base);
    let end =
        end.map(|start| Offset(start.0 + random.below((Offset::MAX.0 - start.0) as u64) as i64));
    FileLine {
        name: random_text(random, 12).replace('\\', "-"),
        seq,
        facts: Facts {
            id: has[0].then(|| ReplId::random(random)),
            start,
            end,
            start_db: has[3].then(|| random.below(16) as u32),
            prelude_bytes: if has[4] {
                random.below(PRELUDE_BYTES_MAX + 1)
            } else {
                0
            },
            annotated: !has[5],
            crc64: has[6].then(|| random.next_u64()),
        },
        unknown: (0..random.below(3))
            .map(|_| {
                (
                    format!("x{}", random_text(random, 5)),
                    random_text(random, 5),
                )
            })
            .collect(),
    }
}

fn random_manifest(random: &mut Random) -> Manifest {
    let mut seq = 0;
    let mut next = |random: &mut Random| {
        seq += 1 + random.below(5);
        seq
    };
    let base = next(random);
    Manifest {
        base: (random.below(3) > 0).then(|| random_line(random, Kind::Base, base)),
        history: (0..random.below(3))
            .map(|_| {
                let seq = 1 + random.below(9);
                random_line(random, Kind::History, seq)
            })
            .collect(),
        segments: (0..random.below(4))
            .map(|_| {
                let seq = next(random);
                random_line(random, Kind::Segment, seq)
            })
            .collect(),
    }
}

#[test]
fn what_is_formatted_parses_back_to_the_same() {
    let mut random = Random::from_seed(31);
    for _ in 0..2000 {
        let manifest = random_manifest(&mut random);
        let text = manifest.format().expect("lines are short");
        let parsed = Manifest::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(parsed.manifest, manifest);
        assert_eq!(parsed.warnings, Vec::<String>::new());
    }
}

#[test]
fn a_line_that_nobody_could_read_is_not_written() {
    let mut manifest = Manifest::default();
    manifest.segments.push(FileLine::new("n".repeat(1005), 1));
    assert_eq!(manifest.format().map(|text| text.len()), Ok(1024));
    manifest.segments[0].name.push('n');
    assert_eq!(manifest.format(), Err(manifest.segments[0].name.clone()));
}

#[test]
fn damaged_manifests_never_panic_and_what_is_taken_is_stable() {
    let mut random = Random::from_seed(32);
    let mut taken = 0;
    for _ in 0..4000 {
        let mut text = random_manifest(&mut random)
            .format()
            .expect("lines are short");
        for _ in 0..=random.below(3) {
            let at = random.below(text.len() as u64) as usize;
            match random.below(3) {
                0 => text[at] = random.below(256) as u8,
                1 => drop(text.remove(at)),
                _ => text.insert(at, b" \"\\x09\n"[random.below(7) as usize]),
            }
        }
        if let Ok(parsed) = Manifest::parse(&text) {
            taken += 1;
            let again = Manifest::parse(&parsed.manifest.format().expect("lines are short"));
            assert_eq!(again.map(|again| again.manifest), Ok(parsed.manifest));
        }
        let noise: Vec<u8> = (0..random.below(60))
            .map(|_| random.below(256) as u8)
            .collect();
        let _ = Manifest::parse(&noise);
    }
    assert!(taken > 100, "{taken}");
}

#[test]
fn a_manifest_on_disk_is_replaced_whole() {
    let folder = std::env::temp_dir().join(format!("sluice-manifest-{}", std::process::id()));
    let names = Names::new(Path::new(&folder), "dir", "f");
    std::fs::create_dir_all(names.directory()).unwrap();
    assert!(read(&RealDisk, &names).unwrap().is_none());
    let mut manifest = Manifest::default();
    for seq in 1..4 {
        replace(&RealDisk, &names, &manifest).unwrap();
        assert_eq!(read(&RealDisk, &names).unwrap().unwrap().manifest, manifest);
        manifest
            .segments
            .push(FileLine::new(names.segment(seq), seq));
    }
    assert_eq!(RealDisk.list(names.directory()).unwrap().len(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
    let error = replace(&RealDisk, &names, &manifest).unwrap_err();
    assert!(
        error.to_string().starts_with("create temp-f.manifest: "),
        "{error}"
    );
}
