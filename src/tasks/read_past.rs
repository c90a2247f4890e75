//! The journal's last bytes, from its segments: with them a restarted node serves replicas that are behind where it stands.
//!
//! A segment without annotations is the journal byte for byte behind its prelude. One with annotations is scanned, and what lies
//! between its commands is left out. What cannot be read, or is not what the manifest says, ends the search: replicas that
//! would need it get a full sync, as if it were not there.

use std::io;

use bytes::Bytes;

use crate::aof::disk::{Disk, DiskFile};
use crate::aof::scan::{Batch, Scanner};

use super::find_aof::Span;

/// Up to `bytes_max` bytes before the end of the first span, in the order of the journal. The spans are contiguous, the latest
/// first.
pub fn read_past(disk: &dyn Disk, past: &[Span], bytes_max: u64) -> Vec<Bytes> {
    let mut parts = Vec::new();
    let mut left = bytes_max;
    for span in past {
        if left == 0 {
            break;
        }
        let length = span.end.since(span.start);
        let wanted = length.min(left);
        match read_end(disk, span, wanted) {
            Ok(bytes) => parts.extend(bytes.into_iter().rev()),
            Err(error) => {
                log::warn!(
                    "{}: its bytes are of no use to replicas: {error}",
                    span.path.display()
                );
                break;
            }
        }
        left -= wanted;
    }
    parts.reverse();
    parts
}

/// The last `wanted` bytes of a span, in pieces.
fn read_end(disk: &dyn Disk, span: &Span, wanted: u64) -> io::Result<Vec<Bytes>> {
    let file = disk.open(&span.path)?;
    if span.facts.annotated {
        return read_between(&*file, span, wanted);
    }
    let end = span.facts.prelude_bytes + span.end.since(span.start);
    let mut at = end - wanted;
    let mut pieces = Vec::new();
    while at < end {
        let count = PIECE_BYTES.min(end - at);
        pieces.push(Bytes::from(read_exactly(&*file, at, count)?));
        at += count;
    }
    Ok(pieces)
}

/// As [`read_end`], of a segment in which annotations stand between the commands.
fn read_between(file: &dyn DiskFile, span: &Span, wanted: u64) -> io::Result<Vec<Bytes>> {
    let (facts, length) = (&span.facts, file.length()?);
    let mut scanner = Scanner::new(facts.prelude_bytes, length);
    let mut journal = Vec::new();
    let (mut kept, mut batch) = (Vec::new(), Batch::default());
    let mut need = 1;
    while need > 0 && (journal.len() as u64) < span.end.since(span.start) {
        let at = scanner.place().byte + kept.len() as u64;
        let count = PIECE_BYTES.max(need as u64).min(length - at);
        if count == 0 {
            break;
        }
        kept.extend(read_exactly(file, at, count)?);
        let scanned = scanner.scan(&kept, &mut batch);
        let mut from = 0;
        for command in batch.commands(&kept) {
            // What stands before a command and is none begins with `#`.
            while kept.get(from) == Some(&b'#') {
                let newline = memchr::memchr(b'\n', &kept[from..command.end]);
                from += newline.map_or(command.end - from, |newline| newline + 1);
            }
            journal.extend_from_slice(&kept[from..command.end]);
            from = command.end;
        }
        kept.drain(..scanned.consumed);
        need = scanned.wanted;
    }
    if (journal.len() as u64) < span.end.since(span.start) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    journal.truncate(span.end.since(span.start) as usize);
    let from = journal.len() - wanted as usize;
    Ok(vec![Bytes::from(journal).slice(from..)])
}

fn read_exactly(file: &dyn DiskFile, at: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Pieces of the size of the journal's larger blocks, so that its window moves as usual.
const PIECE_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::aof::disk::RealDisk;
    use crate::aof::manifest::Facts;
    use crate::journal::position::{Offset, ReplId};
    use crate::tasks::find_aof::former;

    /// A file with these bytes, which holds the journal from `start` to `end`.
    fn span(place: &Path, id: u8, content: &str, prelude: usize, range: (i64, i64)) -> Span {
        let path = place.join(format!("{}", range.0));
        fs::write(&path, content).expect("writable");
        Span {
            path,
            facts: Facts {
                id: ReplId::parse(&[id; 40]),
                prelude_bytes: prelude as u64,
                annotated: content.contains('#'),
                ..Facts::default()
            },
            start: Offset(range.0),
            end: Offset(range.1),
        }
    }

    #[test]
    fn the_last_bytes_come_without_what_is_not_of_the_journal() {
        let place = std::env::temp_dir().join(format!("sluice-past-{}", std::process::id()));
        fs::create_dir_all(&place).expect("a temp directory");
        let (prelude, ping) = ("*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n", "*1\r\n$4\r\nPING\r\n");
        let annotated = format!("#TS:1\r\n{ping}#TS:2\r\n#TS:3\r\n{ping}");
        let past = [
            span(
                &place,
                b'b',
                &format!("{prelude}{ping}"),
                prelude.len(),
                (128, 142),
            ),
            span(&place, b'b', &annotated, 0, (100, 128)),
            span(&place, b'a', &ping.repeat(2), 0, (72, 100)),
        ];
        let journal = ping.repeat(5);
        for wanted in 0..100 {
            let bytes = read_past(&RealDisk, &past, wanted).concat();
            let expected = &journal[journal.len().saturating_sub(wanted as usize)..];
            assert_eq!(String::from_utf8_lossy(&bytes), expected, "{wanted}");
        }
        let former = former(&past);
        assert_eq!(former.len(), 1);
        assert_eq!(
            (former[0].id, former[0].until),
            (ReplId::parse(&[b'a'; 40]).expect("an id"), Offset(100))
        );
        fs::remove_file(&past[1].path).expect("ours");
        assert_eq!(read_past(&RealDisk, &past, 100).concat().len(), ping.len());
        fs::remove_dir_all(place).expect("ours");
    }
}
