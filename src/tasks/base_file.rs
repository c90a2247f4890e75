//! A file on its way to become the base of the AOF: written and summed in one go, synced, and handed over as a
//! [`Candidate`].
//!
//! Used by the tasks that make a base out of a snapshot and out of what a master sends; everything here blocks.

use std::path::Path;
use std::sync::Arc;

use crate::aof::candidate::Candidate;
use crate::aof::crc::Crc;
use crate::aof::disk::{Disk, RealDisk};
use crate::aof::names::BaseFormat;
use crate::io::atomic_file::{AtomicFile, FileError};

pub struct BaseFile {
    file: AtomicFile,
    sum: Crc,
}

/// `temp-rewriteaof-<pid>-<number>.aof`: by such a name the next start knows what a process that died has left.
const PREFIX: &str = "temp-rewriteaof-";
const SUFFIX: &str = ".aof";

impl BaseFile {
    /// Begins a file in the set's directory, which is made if it is missing.
    ///
    /// # Errors
    /// Where the directory does not let us.
    pub fn create(directory: &Path, incremental_sync: bool) -> Result<Self, FileError> {
        RealDisk
            .create_directory(directory)
            .map_err(FileError::new("create", directory))?;
        Ok(BaseFile {
            file: AtomicFile::create_unnamed(directory, PREFIX, SUFFIX, incremental_sync)?,
            sum: Crc::new(),
        })
    }

    /// # Errors
    /// The disk is full or fails: drop it then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.sum.update(bytes);
        self.file.write(bytes)
    }

    /// Waits until all of it is on disk.
    ///
    /// # Errors
    /// As [`BaseFile::write`].
    pub fn seal(self, format: BaseFormat) -> Result<Candidate, FileError> {
        let sum = self.sum.value();
        let (path, bytes) = self.file.seal()?;
        Ok(Candidate::new(Arc::new(RealDisk), path, format, bytes, sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_knows_the_length_and_the_sum_of_its_bytes() {
        let directory = std::env::temp_dir().join(format!("sluice-base-{}", std::process::id()));
        let mut file = BaseFile::create(&directory, true).unwrap();
        for piece in ["hello ", "world!"] {
            file.write(piece.as_bytes()).unwrap();
        }
        let base = file.seal(BaseFormat::Rdb).unwrap();
        assert_eq!((base.bytes(), base.crc64()), (12, 0x8483_c0fa_3260_7d61));
        assert_eq!(std::fs::read(base.path()).unwrap(), b"hello world!");
        drop(base);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        std::fs::remove_dir(directory).unwrap();
    }
}
