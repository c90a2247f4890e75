//! The segment that is being written to: an open file, how much of it counts, how much of that is on disk.
//!
//! Invariant: what counts ends between two units. After a write that failed, bytes may lie behind it; they are cut off before
//! anything else is written, at once if the disk lets us.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::aof::crc::Crc;
use crate::aof::disk::{Disk, DiskFile};
use crate::journal::effect::encode_argv;
use crate::journal::position::{Offset, Position};

use super::LogError;

#[derive(Debug)]
pub struct Segment {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    end: Mark,
    synced: Mark,
    /// Bytes that do not count may lie behind `end`.
    tail_is_dirty: bool,
    /// Bytes between `synced` and `end` may be gone, whatever later syncs say.
    sync_has_failed: bool,
    annotated: bool,
    /// Unix time of the last `#TS:` line.
    annotated_at: i64,
}

/// A place in the segment: in the history, and in the file.
#[derive(Clone, Debug)]
pub struct Mark {
    pub offset: Offset,
    /// Of all bytes of the file before it; knows how many.
    pub crc: Crc,
}

impl Segment {
    /// An empty segment that begins at `at`, with its prelude on disk.
    pub fn create(
        disk: &dyn Disk,
        path: PathBuf,
        at: Position,
        annotated: bool,
    ) -> Result<Self, LogError> {
        let file = disk.create(&path).map_err(LogError::new("create", &path))?;
        let mut segment = Segment::of(file, path, Mark::new(at.offset), annotated);
        let prelude = prelude(at);
        if !prelude.is_empty() {
            segment.write(&[&prelude])?;
            segment.end.crc.update(&prelude);
        }
        segment.sync()?;
        Ok(segment)
    }

    /// An existing file all of whose bytes count, up to `offset`. Reads it through for its checksum, and syncs it.
    pub fn open(disk: &dyn Disk, path: PathBuf, offset: Offset) -> Result<Self, LogError> {
        let file = disk.open(&path).map_err(LogError::new("open", &path))?;
        let mut end = Mark::new(offset);
        end.crc = checksum(&*file).map_err(LogError::new("read", &path))?;
        let mut segment = Segment::of(file, path, end, false);
        segment.sync()?;
        Ok(segment)
    }

    fn of(file: Box<dyn DiskFile>, path: PathBuf, end: Mark, annotated: bool) -> Self {
        Segment {
            file,
            path,
            synced: end.clone(),
            end,
            tail_is_dirty: false,
            sync_has_failed: false,
            annotated,
            annotated_at: 0,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file has another name now.
    pub fn renamed(&mut self, path: PathBuf) {
        self.path = path;
    }

    pub fn end(&self) -> &Mark {
        &self.end
    }

    pub fn synced(&self) -> &Mark {
        &self.synced
    }

    pub fn is_annotated(&self) -> bool {
        self.annotated
    }

    /// All of `parts` or, with an error, nothing that counts.
    pub fn append(&mut self, parts: &[Bytes], unix_seconds: i64) -> Result<(), LogError> {
        self.clean()?;
        let mut annotation = String::new();
        if self.annotated && unix_seconds > self.annotated_at {
            annotation = format!("#TS:{unix_seconds}\r\n");
        }
        let mut slices: Vec<&[u8]> = Vec::with_capacity(parts.len() + 1);
        if !annotation.is_empty() {
            slices.push(annotation.as_bytes());
        }
        slices.extend(parts.iter().map(|part| &part[..]));
        if let Err(error) = self.write(&slices) {
            self.tail_is_dirty = true;
            // If this fails too, it is tried again before the next write.
            let _ = self.clean();
            return Err(error);
        }
        for slice in &slices {
            self.end.crc.update(slice);
        }
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        self.end.offset = self.end.offset.plus(bytes);
        if !annotation.is_empty() {
            self.annotated_at = unix_seconds;
        }
        Ok(())
    }

    /// All that counts is on disk once this returns, and nothing else is in the file.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.clean()?;
        if let Err(error) = self.file.sync() {
            self.note_sync_failed();
            return Err(LogError::new("sync", &self.path)(error));
        }
        self.synced = self.end.clone();
        Ok(())
    }

    /// Another handle, for a sync elsewhere.
    pub fn another(&self) -> Result<Box<dyn DiskFile>, LogError> {
        self.file
            .another()
            .map_err(LogError::new("duplicate", &self.path))
    }

    /// Another handle's sync has brought everything before `mark` to disk.
    pub fn note_synced(&mut self, mark: &Mark) {
        let further = mark.offset > self.synced.offset && mark.offset <= self.end.offset;
        if further {
            self.synced = mark.clone();
        }
    }

    /// A sync has failed, here or on another handle.
    pub fn note_sync_failed(&mut self) {
        self.sync_has_failed = self.end.offset != self.synced.offset;
    }

    pub fn sync_has_failed(&self) -> bool {
        self.sync_has_failed
    }

    /// Only what is on disk counts any more.
    pub fn cut_back(&mut self) -> Result<(), LogError> {
        self.sync_has_failed = false;
        self.tail_is_dirty |= self.end.offset != self.synced.offset;
        self.end = self.synced.clone();
        self.annotated_at = 0;
        self.clean()
    }

    /// Cuts off what does not count.
    fn clean(&mut self) -> Result<(), LogError> {
        if self.tail_is_dirty {
            self.file
                .truncate(self.end.crc.bytes())
                .map_err(LogError::new("truncate", &self.path))?;
            self.tail_is_dirty = false;
        }
        Ok(())
    }

    fn write(&mut self, slices: &[&[u8]]) -> Result<(), LogError> {
        write_all(&mut *self.file, slices).map_err(LogError::new("write", &self.path))
    }
}

impl Mark {
    fn new(offset: Offset) -> Self {
        Mark {
            offset,
            crc: Crc::new(),
        }
    }
}

/// What stands at the head of a segment: the database that the stream has selected, because a loader begins each file in
/// database 0.
pub fn prelude(at: Position) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(db) = at.stream_db {
        encode_argv(
            &[b"SELECT", itoa::Buffer::new().format(db).as_bytes()],
            &mut bytes,
        );
    }
    bytes
}

/// Of the whole file.
pub fn checksum(file: &dyn DiskFile) -> io::Result<Crc> {
    let mut crc = Crc::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read_at(&mut buffer, crc.bytes()) {
            Ok(0) => return Ok(crc),
            Ok(count) => crc.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes all slices, in few calls.
pub fn write_all(file: &mut dyn DiskFile, slices: &[&[u8]]) -> io::Result<()> {
    for group in slices.chunks(SLICES_PER_WRITE) {
        let mut group: Vec<IoSlice<'_>> = group.iter().map(|slice| IoSlice::new(slice)).collect();
        let mut left = &mut group[..];
        // Empty slices at the front would look like a disk that takes nothing.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match file.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut left, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

const READ_BYTES: usize = 256 * 1024;
const SLICES_PER_WRITE: usize = 512;
