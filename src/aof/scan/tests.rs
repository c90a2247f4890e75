use super::*;
use crate::random::Random;

/// All commands of a file that arrives in pieces, each as its words, with the byte where it ends if that ends a unit.
type Seen = Vec<(Vec<Vec<u8>>, Option<u64>)>;

fn scan_in_pieces(file: &[u8], mut piece: impl FnMut() -> usize) -> (Seen, Vec<Stamp>, Outcome) {
    let mut scanner = Scanner::new(0, file.len() as u64);
    let mut batch = Batch::default();
    let (mut seen, mut stamps) = (Vec::new(), Vec::new());
    let (mut from, mut to) = (0, 0);
    loop {
        to = file.len().min(to + piece());
        let scanned = scanner.scan(&file[from..to], &mut batch);
        for mut stamp in batch.stamps().iter().copied() {
            stamp.after_commands += seen.len();
            stamps.push(stamp);
        }
        for command in batch.commands(&file[from..to]) {
            let words = command.argv.iter().map(<[u8]>::to_vec).collect();
            let end = (from + command.end) as u64;
            seen.push((words, command.ends_unit.then_some(end)));
        }
        from += scanned.consumed;
        assert_eq!(scanner.place().byte, from as u64);
        if scanned.wanted == 0 || to == file.len() {
            return (seen, stamps, scanner.outcome());
        }
    }
}

fn scan(file: &[u8]) -> (Seen, Vec<Stamp>, Outcome) {
    scan_in_pieces(file, || usize::MAX / 2)
}

fn malformed(file: &[u8]) -> (u64, String) {
    match scan(file).2 {
        Outcome {
            good,
            ending: Ending::Malformed(error),
            ..
        } => (good.byte, error.to_string()),
        other => panic!("{other:?}"),
    }
}

const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
const MULTI: &[u8] = b"*1\r\n$5\r\nmulti\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

#[test]
fn units_end_behind_commands_and_behind_exec() {
    let file = [
        SET,
        b"#TS:17\r\n",
        MULTI,
        SET,
        b"#TS:18\r\n# x\n",
        EXEC,
        b"*1\n$4\nPI\r\n\r\n",
    ]
    .concat();
    let (seen, stamps, outcome) = scan(&file);
    let names: Vec<_> = seen
        .iter()
        .map(|(words, _)| words[0].escape_ascii().to_string())
        .collect();
    assert_eq!(names, ["SET", "multi", "SET", "EXEC", "PI\\r\\n"]);
    let ends: Vec<_> = seen.iter().map(|(_, end)| *end).collect();
    let exec_end = file.len() as u64 - 12;
    let end = file.len() as u64;
    assert_eq!(ends, [Some(27), None, None, Some(exec_end), Some(end)]);
    let stamp = Stamp {
        after_commands: 1,
        byte: 27,
        unix_seconds: 17,
    };
    assert_eq!(stamps, [stamp]);
    assert_eq!(outcome.ending, Ending::Whole);
    let good = Place {
        byte: end,
        line: 1 + 7 + 3 + 7 + 3 + 3,
        annotation_bytes: 20,
    };
    assert_eq!(outcome.good, good);
}

#[test]
fn every_cut_is_torn_at_its_command_and_good_before_its_unit() {
    let file = [SET, MULTI, SET, EXEC, b"#TS:1\r\n", SET].concat();
    // Where units begin, and where commands and annotations do.
    let units = [0, 27, 83, 90];
    let begins = [0, 27, 42, 69, 83, 90];
    for cut in 0..file.len() as u64 {
        let (_, _, outcome) = scan(&file[..cut as usize]);
        let good = *units.iter().rfind(|&&at| at <= cut).unwrap();
        assert_eq!(outcome.good.byte, good, "cut at {cut}");
        let begins = *begins.iter().rfind(|&&at| at <= cut).unwrap();
        let expected = match (begins == cut, good == cut) {
            (true, true) => Ending::Whole,
            (true, false) => Ending::OpenTransaction { begins: 27 },
            _ => Ending::Torn { begins },
        };
        assert_eq!(outcome.ending, expected, "cut at {cut}");
    }
}

#[test]
fn what_is_no_aof_is_told_by_its_byte() {
    let behind = |tail: &[u8]| malformed(&[SET, tail].concat());
    for (tail, expected) in [
        (
            &b"\0\0\0\0"[..],
            "byte 27 (line 8): expected '*' or '#', found \"\\x00\\x00\\x00\\x00\"",
        ),
        (
            b"REDIS0011",
            "byte 27 (line 8): expected '*' or '#', found \"REDIS0011\"",
        ),
        (
            b"*0\r\n",
            "byte 27 (line 8): expected at least one argument, found \"*0\\r\\n\"",
        ),
        (
            b"*-1\r\n",
            "byte 27 (line 8): expected '*' and the number of arguments, found \"*-1\\r\\n\"",
        ),
        (
            b"*\r\n",
            "byte 27 (line 8): expected '*' and the number of arguments, found \"*\\r\\n\"",
        ),
        (
            b"*1 \r\n",
            "byte 27 (line 8): expected '*' and the number of arguments, found \"*1 \\r\\n\"",
        ),
        (
            b"*99999999999\r\n",
            "byte 27 (line 8): expected at most 2147483647 arguments, found \"*99999999999\\r\\n\"",
        ),
        (
            b"*1\r\n#TS:1\r\n",
            "byte 31 (line 9): expected '$' and the bytes of the argument, found \"#TS:1\\r\\n\"",
        ),
        (
            b"*2\r\n$1\r\nab",
            "byte 36 (line 9): expected CR LF behind the argument, found \"b\"",
        ),
        (
            b"*2\r\n$1\r\na\nb",
            "byte 36 (line 9): expected CR LF behind the argument, found \"\\nb\"",
        ),
        (
            b"*2\r\n$99999999999\r\na",
            "byte 31 (line 9): expected a command of less than 4 GiB, found \"$99999999999\\r\\na\"",
        ),
        (
            b"*1\r\n$9999999999999999999\r\n",
            "byte 31 (line 9): expected '$' and the bytes of the argument, found \"$999999999999999\"",
        ),
        (
            EXEC,
            "byte 27 (line 8): expected MULTI before EXEC, found \"*1\\r\\n$4\\r\\nEXEC\\r\\n\"",
        ),
    ] {
        assert_eq!(behind(tail), (27, expected.to_owned()));
    }
    let nested = malformed(&[SET, MULTI, SET, MULTI].concat());
    assert_eq!((nested.0, nested.1.contains("byte 69")), (27, true));
    let long = [b"#", vec![b'x'; 1022].as_slice(), b"\n"].concat();
    assert!(
        malformed(&long)
            .1
            .contains("an annotation of at most 1023 bytes")
    );
    assert_eq!(scan(&long[1..]).2.good.byte, 0);
    assert_eq!(scan(&[b"#", &long[2..]].concat()).2.ending, Ending::Whole);
}

#[test]
fn a_claim_beyond_the_end_of_the_file_is_not_waited_for() {
    let file = [SET, b"*2\r\n$3\r\nGET\r\n$1000000000\r\nxyz"].concat();
    let mut scanner = Scanner::new(0, file.len() as u64);
    let mut batch = Batch::default();
    // The claim is known to be wrong before the bytes behind it have been read.
    let scanned = scanner.scan(&file[..file.len() - 3], &mut batch);
    assert_eq!(
        scanned,
        Scanned {
            consumed: 27,
            wanted: 0
        }
    );
    assert_eq!(scanner.outcome().ending, Ending::Torn { begins: 27 });
    let mut scanner = Scanner::new(0, 2_000_000_000);
    let scanned = scanner.scan(&file, &mut batch);
    assert_eq!(
        scanned,
        Scanned {
            consumed: 27,
            wanted: 999_999_999
        }
    );
}

fn random_file(random: &mut Random) -> Vec<u8> {
    let mut file = Vec::new();
    let mut is_open = false;
    for _ in 0..random.below(12) {
        match random.below(8) {
            0 => file.extend_from_slice(b"#TS:12345\r\n"),
            1 => {
                file.extend_from_slice(if is_open { EXEC } else { MULTI });
                is_open = !is_open;
            }
            _ => {
                let words = 1 + random.below(4);
                file.extend(format!("*{words}\r\n").bytes());
                for _ in 0..words {
                    let length = random.below(20);
                    file.extend(format!("${length}\r\n").bytes());
                    file.extend((0..length).map(|_| b"*$\r\n#1a\0"[random.below(8) as usize]));
                    file.extend(b"\r\n");
                }
            }
        }
    }
    file
}

#[test]
fn pieces_make_no_difference_and_damage_never_panics() {
    let mut random = Random::from_seed(41);
    for round in 0..3000 {
        let mut file = random_file(&mut random);
        if round % 2 == 1 && !file.is_empty() {
            for _ in 0..=random.below(2) {
                let at = random.below(file.len() as u64) as usize;
                match random.below(3) {
                    0 => file[at] = b"*$\r\n#19x\0"[random.below(9) as usize],
                    1 => file.truncate(at + 1),
                    _ => file.insert(at, b"*$\r\n#19x\0"[random.below(9) as usize]),
                }
            }
        }
        let whole = scan(&file);
        if round % 2 == 0 {
            assert!(!matches!(
                whole.2.ending,
                Ending::Torn { .. } | Ending::Malformed(_)
            ));
        }
        let mut sizes = random.fork();
        let pieces = scan_in_pieces(&file, || 1 + sizes.below(9) as usize);
        assert_eq!(pieces.0, whole.0);
        assert_eq!(pieces.1, whole.1);
        assert_eq!(pieces.2.good, whole.2.good);
        match (&pieces.2.ending, &whole.2.ending) {
            // How much of what was found is shown depends on how much there was.
            (Ending::Malformed(one), Ending::Malformed(other)) => {
                assert_eq!((one.byte, one.expected), (other.byte, other.expected));
            }
            (one, other) => assert_eq!(one, other),
        }
        // What is good stays good alone.
        let good = whole.2.good;
        let again = scan(&file[..good.byte as usize]).2;
        assert_eq!((again.ending, again.good), (Ending::Whole, good));
    }
}

#[test]
fn a_file_is_scanned_window_by_window() {
    use crate::aof::crc::Crc;
    use crate::aof::disk::{Disk, RealDisk};
    use crate::aof::file_scan::{FileScan, WINDOW_BYTES};

    let big = vec![b'x'; 3 * WINDOW_BYTES];
    let mut bytes = SET.repeat(WINDOW_BYTES / SET.len() + 2);
    bytes.extend(format!("*2\r\n$3\r\nGET\r\n${}\r\n", big.len()).bytes());
    bytes.extend(big);
    bytes.extend(b"\r\n");
    bytes.extend(SET.repeat(1000));
    bytes.extend(&SET[..9]);
    let path = std::env::temp_dir().join(format!("sluice-scan-{}", std::process::id()));
    std::fs::write(&path, &bytes).unwrap();
    let file = RealDisk.open(&path).unwrap();
    let mut batch = Batch::default();
    let (mut commands, mut end) = (0, 0);
    let mut scan = FileScan::new(&*file).unwrap();
    loop {
        let begin = scan.scanner().place().byte;
        let Some(input) = scan.next(&mut batch).unwrap() else {
            break;
        };
        commands += batch.len();
        end = begin + batch.commands(input).last().unwrap().end as u64;
    }
    let good = bytes.len() as u64 - 9;
    assert_eq!((commands, end), (WINDOW_BYTES / SET.len() + 2 + 1001, good));
    assert_eq!(scan.outcome().ending, Ending::Torn { begins: good });
    assert_eq!(scan.outcome().good.byte, good);
    assert_eq!(scan.checksum().unwrap(), Some(Crc::of(&bytes)));

    let prefix = FileScan::new(&*file).unwrap().checksum_to(100);
    assert_eq!(prefix.checksum().unwrap(), Some(Crc::of(&bytes[..100])));
    let longer = FileScan::new(&*file)
        .unwrap()
        .checksum_to(bytes.len() as u64 + 1);
    assert_eq!(longer.checksum().unwrap(), None);
    // Behind an RDB part that ended inside the buffer of whoever read it.
    let mut crc = Crc::new();
    crc.update(&bytes[..54]);
    let mut scan = FileScan::behind(&*file, crc).unwrap();
    assert!(scan.next(&mut batch).unwrap().is_some());
    assert_eq!(scan.checksum().unwrap(), Some(Crc::of(&bytes)));
    std::fs::remove_file(&path).unwrap();
}
