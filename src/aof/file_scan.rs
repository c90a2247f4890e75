//! A file read window by window, each window's commands handed out where they lie.
//!
//! Invariant: the buffer holds one window, or one command where that is larger; a command that claims more than the file
//! still has is not waited for. The checksum is computed over what is read on the way.

use std::fmt;
use std::io;

use super::crc::Crc;
use super::disk::DiskFile;
use super::scan::{Batch, Outcome, Scanned, Scanner};

/// How much is read at once.
pub const WINDOW_BYTES: usize = 1 << 20;

/// A file on its way through a [`Scanner`].
pub struct FileScan<'a> {
    file: &'a dyn DiskFile,
    scanner: Scanner,
    /// `buffer[consumed..filled]` is still to be scanned.
    buffer: Vec<u8>,
    consumed: usize,
    filled: usize,
    /// How many more bytes the scanner needs.
    wanted: usize,
    /// Behind what was read.
    read_to: u64,
    file_bytes: u64,
    crc: Crc,
    crc_bytes: u64,
}

impl<'a> FileScan<'a> {
    /// Scans all of a file.
    ///
    /// # Errors
    /// Where its length cannot be told.
    pub fn new(file: &'a dyn DiskFile) -> io::Result<Self> {
        Self::behind(file, Crc::new())
    }

    /// Scans what stands behind an RDB part, which has gone into `crc`.
    ///
    /// # Errors
    /// Where the length of the file cannot be told.
    pub fn behind(file: &'a dyn DiskFile, crc: Crc) -> io::Result<Self> {
        let (file_bytes, from) = (file.length()?, crc.bytes());
        Ok(FileScan {
            file,
            scanner: Scanner::new(from, file_bytes),
            buffer: Vec::new(),
            consumed: 0,
            filled: 0,
            wanted: 1,
            read_to: from,
            file_bytes,
            crc,
            crc_bytes: u64::MAX,
        })
    }

    /// Lets the checksum end after this many bytes of the file: where it was closed, if others have written behind that.
    pub fn checksum_to(mut self, bytes: u64) -> Self {
        self.crc_bytes = bytes;
        self
    }

    /// Reads on until there are commands or annotations, and gives what the batch lies in; `None` at the end.
    ///
    /// # Errors
    /// Those of reading.
    pub fn next(&mut self, batch: &mut Batch) -> io::Result<Option<&[u8]>> {
        loop {
            if self.wanted == 0 {
                batch.clear();
                return Ok(None);
            }
            if !self.fill()? {
                batch.clear();
                return Ok(None);
            }
            let start = self.consumed;
            let input = &self.buffer[start..self.filled];
            let Scanned { consumed, wanted } = self.scanner.scan(input, batch);
            self.consumed += consumed;
            self.wanted = wanted;
            if !batch.is_empty() || !batch.stamps().is_empty() {
                return Ok(Some(&self.buffer[start..self.filled]));
            }
        }
    }

    /// What was found; complete once [`FileScan::next`] has given `None`.
    pub fn outcome(&self) -> Outcome {
        self.scanner.outcome()
    }

    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    pub fn bytes_read(&self) -> u64 {
        self.read_to
    }

    /// The checksum of all bytes, or of those up to where it was to end; reads what the scan has left. `None` if the file is
    /// shorter.
    ///
    /// # Errors
    /// Those of reading.
    pub fn checksum(mut self) -> io::Result<Option<u64>> {
        let to = self.crc_bytes.min(self.file_bytes);
        while self.crc.bytes() < to {
            (self.consumed, self.filled) = (0, 0);
            if !self.fill()? {
                break;
            }
        }
        let is_whole = self.crc_bytes == u64::MAX || self.crc.bytes() == self.crc_bytes;
        Ok(is_whole.then(|| self.crc.value()))
    }

    /// Makes room behind what is left and reads; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.consumed..self.filled, 0);
        self.filled -= self.consumed;
        self.consumed = 0;
        let size = WINDOW_BYTES.max(self.filled + self.wanted);
        if self.buffer.len() < size {
            // Not more at once than was already there, so that a file which shrinks meanwhile costs no more than it has.
            let step = size.min((2 * self.filled).max(WINDOW_BYTES));
            self.buffer.resize(step, 0);
        } else if self.buffer.len() > 4 * size {
            self.buffer.truncate(size);
            self.buffer.shrink_to_fit();
        }
        let left = self.file_bytes.saturating_sub(self.read_to);
        let room =
            (self.buffer.len() - self.filled).min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = loop {
            let room = &mut self.buffer[self.filled..][..room];
            match self.file.read_at(room, self.read_to) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        let fresh = &self.buffer[self.filled..][..read];
        let summed = self.crc_bytes.saturating_sub(self.crc.bytes());
        self.crc
            .update(&fresh[..read.min(usize::try_from(summed).unwrap_or(usize::MAX))]);
        self.filled += read;
        self.read_to += read as u64;
        Ok(read > 0)
    }
}

impl fmt::Debug for FileScan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileScan({:?} at {})", self.file, self.read_to)
    }
}
