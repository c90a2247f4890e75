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
