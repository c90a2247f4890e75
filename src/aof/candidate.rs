//! A file that may become the base of the set: whole and on disk, under a name that means nothing yet.
//!
//! It is removed when it is dropped before it has become one: the rewrite was given up, or the dataset that it holds never took
//! its place. Dropping it may take as long as the file system likes: never do it under the engine's lock.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::journal::position::Position;

use super::disk::Disk;
use super::log::Base;
use super::names::BaseFormat;

pub struct Candidate {
    disk: Arc<dyn Disk>,
    temp: PathBuf,
    format: BaseFormat,
    bytes: u64,
    crc64: u64,
    is_base: bool,
}

impl Candidate {
    /// A file of `bytes` bytes that has been synced. `crc64` is what `crc64fast` makes of them.
    pub fn new(
        disk: Arc<dyn Disk>,
        temp: PathBuf,
        format: BaseFormat,
        bytes: u64,
        crc64: u64,
    ) -> Self {
        Candidate {
            disk,
            temp,
            format,
            bytes,
            crc64,
            is_base: false,
        }
    }

    pub fn path(&self) -> &Path {
        &self.temp
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn crc64(&self) -> u64 {
        self.crc64
    }

    /// What an order to the writer names, for a dataset that stands at `at`.
    pub fn base(&self, at: Position) -> Base {
        Base {
            temp: self.temp.clone(),
            at,
            format: self.format,
            bytes: self.bytes,
            crc64: Some(self.crc64),
        }
    }

    /// It has become the base: there is nothing left to remove.
    pub fn adopted(mut self) {
        self.is_base = true;
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if !self.is_base {
            // What cannot be removed now is removed at the next start.
            let _ = self.disk.remove(&self.temp);
        }
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({} bytes)", self.temp.display(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::aof::disk::RealDisk;

    #[test]
    fn a_candidate_that_never_became_a_base_leaves_nothing() {
        let name = format!("sluice-candidate-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let candidate = || {
            fs::write(&path, "base").unwrap();
            Candidate::new(Arc::new(RealDisk), path.clone(), BaseFormat::Rdb, 4, 0)
        };
        drop(candidate());
        assert!(!path.exists());
        candidate().adopted();
        assert!(path.exists());
        fs::remove_file(path).unwrap();
    }
}
