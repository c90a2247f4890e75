//! The reading half of loading an AOF: files to batches of requests that are ready to run, on a thread of its own.
//!
//! ```text
//! files --read--> bytes --> Batch: requests found, looked up, hashed --channel--> the thread that runs them (load_aof.rs)
//!   \--RDB at the head of a file--> Loader (and its own thread) --/   <--emptied batches, to be filled again--
//! ```
//!
//! Reads and decides nothing: where a file does not go on as it should, it says what is wrong and where ([`Fault`]), and how
//! far the file was whole. No file is changed here. A transaction is whole with its EXEC; what stands behind the last whole
//! unit of a batch is marked, so that it is not run before the rest has come.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender};

use crate::aof::crc::Crc;
use crate::aof::disk::{Disk, DiskFile};
use crate::aof::scan::{Ending, Outcome, Scanner};
use crate::engine::replaying::{Batch, Meaningless};
use crate::snapshot::loading::{self, LoadError, Loaded, Loader};

/// A file to be read.
#[derive(Clone, Debug)]
pub struct Source {
    pub path: PathBuf,
    /// So many of its first bytes are summed up, or all.
    pub sum_bytes: Option<u64>,
}

/// One thing for the thread that runs what is read.
pub enum Piece {
    /// Another file begins, and with it database 0.
    Begin,
    /// The RDB at the head of a file.
    Dataset(Box<Loaded>),
    Requests {
        batch: Batch,
        /// Requests up to the end of the last whole unit; those behind it belong to a transaction that is still open.
        whole: usize,
        /// What of the file this is.
        bytes: u64,
    },
}

/// How a file was found to be.
#[derive(Debug)]
pub struct FileEnd {
    /// Bytes of an RDB at its head.
    pub rdb_bytes: u64,
    /// How far it is whole, and how it ends. Everything before its last boundary was handed over. None if the file was not
    /// scanned at all.
    pub outcome: Option<Outcome>,
    /// Of the bytes that were to be summed up, if the file has as many.
    pub crc64: Option<u64>,
    /// Why reading has stopped, besides what the outcome says; no further file was read.
    pub fault: Option<Fault>,
}

/// What is wrong with a file whose commands are well-formed as far as they were scanned.
#[derive(Debug)]
pub enum Fault {
    /// The request at byte `at` means nothing here.
    Meaningless {
        at: u64,
        reason: Meaningless,
    },
    /// The RDB at its head.
    Rdb(LoadError),
    Io(io::Error),
}

impl FileEnd {
    /// Whether it was read to its end, and that end is one of a unit.
    pub fn is_whole(&self) -> bool {
        let ending = self.outcome.as_ref().map(|outcome| &outcome.ending);
        self.fault.is_none() && ending == Some(&Ending::Whole)
    }

    /// Bytes of the journal in it, up to its last boundary.
    pub fn journal_bytes(&self, prelude_bytes: u64) -> u64 {
        self.outcome.as_ref().map_or(0, |outcome| {
            (outcome.good.byte - self.rdb_bytes)
                .saturating_sub(outcome.good.annotation_bytes)
                .saturating_sub(prelude_bytes)
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Meaningless { at, reason } => write!(out, "byte {at}: {reason}"),
            Fault::Rdb(error) => error.fmt(out),
            Fault::Io(error) => error.fmt(out),
        }
    }
}

/// What all files are read with.
pub struct Reader<'a> {
    pub disk: &'a dyn Disk,
    pub options: loading::Options,
    pub pieces: SyncSender<Piece>,
    /// Batches that were run.
    pub spare: Receiver<Batch>,
}

impl Reader<'_> {
    /// Reads files in order up to the first that is not whole; one [`FileEnd`] for each that was looked at.
    pub fn read_all(&self, sources: &[Source]) -> Vec<FileEnd> {
        let mut ends = Vec::new();
        for source in sources {
            let mut end = FileEnd {
                rdb_bytes: 0,
                outcome: None,
                crc64: None,
                fault: None,
            };
            end.fault = self.read(source, &mut end).err();
            let goes_on = end.is_whole();
            ends.push(end);
            if !goes_on {
                break;
            }
        }
        ends
    }

    fn read(&self, source: &Source, end: &mut FileEnd) -> Result<(), Fault> {
        self.send(Piece::Begin)?;
        let file = self.disk.open(&source.path).map_err(Fault::Io)?;
        let length = file.length().map_err(Fault::Io)?;
        let mut sum = source.sum_bytes.map(|bytes| Sum {
            crc: Crc::new(),
            left: bytes.min(length),
            is_reached: bytes <= length || bytes == u64::MAX,
        });
        let mut head = [0; MAGIC.len()];
        let head_bytes = read_full(&*file, &mut head, 0).map_err(Fault::Io)?;
        if head_bytes == head.len() && head == *MAGIC {
            end.rdb_bytes = self.read_rdb(&*file, length, &mut sum)?;
        }
        let mut scanner = Scanner::new(end.rdb_bytes, length);
        let read = self.read_requests(&*file, &mut scanner, &mut sum);
        end.outcome = Some(scanner.outcome());
        read?;
        if let Some(mut sum) = sum {
            // Behind a fault the rest was not read.
            let from = sum.crc.bytes();
            sum_range(&*file, from, from + sum.left, &mut sum).map_err(Fault::Io)?;
            end.crc64 = sum.is_reached.then(|| sum.crc.value());
        }
        Ok(())
    }

    /// The RDB at the head of a file; where it ends.
    fn read_rdb(
        &self,
        file: &dyn DiskFile,
        length: u64,
        sum: &mut Option<Sum>,
    ) -> Result<u64, Fault> {
        let options = loading::Options {
            payload_bytes: Some(length),
            ..self.options
        };
        let mut loader = Loader::new(options).map_err(Fault::Rdb)?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut at = 0;
        while !loader.is_done() {
            let count = file.read_at(&mut buffer, at).map_err(Fault::Io)?;
            if count == 0 {
                break;
            }
            loader.feed(&buffer[..count]).map_err(Fault::Rdb)?;
            at += count as u64;
        }
        let loaded = loader.finish().map_err(Fault::Rdb)?;
        let rdb_end = loaded.counts.bytes;
        if let Some(sum) = sum {
            sum_range(file, 0, rdb_end, sum).map_err(Fault::Io)?;
        }
        self.send(Piece::Dataset(Box::new(loaded)))?;
        Ok(rdb_end)
    }

    fn read_requests(
        &self,
        file: &dyn DiskFile,
        scanner: &mut Scanner,
        sum: &mut Option<Sum>,
    ) -> Result<(), Fault> {
        // Read and not yet handed over: the beginning of a request.
        let mut kept = Vec::new();
        let mut at = scanner.place().byte;
        let mut wanted = 1;
        while wanted > 0 {
            let spare = self.spare.try_recv();
            let mut batch = spare.unwrap_or_else(|_| Batch::new(self.options.databases));
            let mut bytes = batch.take_source();
            bytes.clear();
            bytes.extend_from_slice(&kept);
            // What is wanted is no more than the file holds, so it is safe to make room for it.
            bytes.resize(kept.len() + wanted.max(CHUNK_BYTES), 0);
            let read = read_full(file, &mut bytes[kept.len()..], at).map_err(Fault::Io)?;
            bytes.truncate(kept.len() + read);
            if let Some(sum) = sum {
                sum.add(&bytes[kept.len()..]);
            }
            at += read as u64;
            let begins = at - bytes.len() as u64;
            let filled = batch.fill(bytes, scanner);
            kept.clear();
            kept.extend_from_slice(&batch.source()[filled.consumed..]);
            wanted = filled.wanted;
            if read == 0 {
                // The file has become shorter meanwhile.
                wanted = 0;
            }
            self.send(Piece::Requests {
                batch,
                whole: filled.whole,
                bytes: filled.consumed as u64,
            })?;
            if let Some((place, reason)) = filled.refused {
                return Err(Fault::Meaningless {
                    at: begins + place as u64,
                    reason,
                });
            }
        }
        Ok(())
    }

    fn send(&self, piece: Piece) -> Result<(), Fault> {
        // Nobody listens any more once the load was given up.
        let gone = |_| Fault::Io(io::ErrorKind::BrokenPipe.into());
        self.pieces.send(piece).map_err(gone)
    }
}

/// The checksum of a file's first bytes.
struct Sum {
    crc: Crc,
    left: u64,
    /// The file has as many.
    is_reached: bool,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let taken = self.left.min(bytes.len() as u64);
        self.crc.update(&bytes[..taken as usize]);
        self.left -= taken;
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &dyn DiskFile, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn sum_range(file: &dyn DiskFile, from: u64, to: u64, sum: &mut Sum) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = from;
    while at < to {
        let want = buffer.len().min((to - at) as usize);
        let count = read_full(file, &mut buffer[..want], at)?;
        if count == 0 {
            break;
        }
        sum.add(&buffer[..count]);
        at += count as u64;
    }
    Ok(())
}

/// Whether a file begins with an RDB.
pub fn is_rdb(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    let mut head = [0; MAGIC.len()];
    let count = read_full(&*disk.open(path)?, &mut head, 0)?;
    Ok(count == head.len() && head == *MAGIC)
}

const MAGIC: &[u8; 5] = b"REDIS";

/// Read at once: about a millisecond of work for the thread that runs it.
const CHUNK_BYTES: usize = 128 * 1024;
