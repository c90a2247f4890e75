//! The few things that the AOF does with files, behind a trait: the real disk here, one that fails on demand in tests.
//!
//! Every method blocks. Paths are whole; nothing here knows what the files mean.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::io::atomic_file;

/// A place for files.
pub trait Disk: fmt::Debug + Send + Sync {
    /// An empty file to write to; one of this name is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// An existing file, to be read and to be written behind its end.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the directory unless it is there.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory last through a loss of power.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Names and lengths in bytes of the files of a directory, in no order; a missing directory is `NotFound`.
    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>>;
}

/// An open file. Bytes are written at its end only.
pub trait DiskFile: fmt::Debug + Send {
    /// As `write(2)`: may take less than all.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// What was written lasts through a loss of power once this returns (`fdatasync`).
    fn sync(&self) -> io::Result<()>;

    /// Another handle of the same file, for a thread that syncs while this one writes.
    fn another(&self) -> io::Result<Box<dyn DiskFile>>;

    /// Cuts the file to `length` bytes; what is written next follows there.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    fn length(&self) -> io::Result<u64>;

    /// Reads up to the length of `buffer` from byte `at`; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let file = options.open(path)?;
        file.set_len(0)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).append(true).open(path)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            made => made,
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        atomic_file::sync_directory(path).map_err(|error| error.cause)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            // A name that is not UTF-8 is none of ours.
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }
}

impl DiskFile for File {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_vectored(slices)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn another(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.try_clone()?))
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, at)
    }
}
