//! A file that appears whole or not at all: temp name, incremental sync, rename, sync of the directory.
//!
//! Invariants: the target is touched only by the rename, and only after all bytes are on disk; a temp file never outlives
//! its `AtomicFile`, except when the process dies. Everything here blocks: it runs on a thread that may.
//!
//! A file written at full speed and synced once at the end would leave gigabytes to one call, during which every other
//! fsync of the disk waits. So write-out starts every `WINDOW_BYTES`, and the writer waits for the window before: no more
//! than two are ever dirty.
#![allow(
    unsafe_code,
    reason = "sync_file_range has no safe wrapper in the crates we use"
)]

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file under way. Dropped before [`AtomicFile::publish`], it removes what it has written.
pub struct AtomicFile {
    file: File,
    temp: PathBuf,
    target: PathBuf,
    buffer: Vec<u8>,
    /// Bytes given to the kernel; those in `buffer` are not among them.
    written: u64,
    /// Where the window whose write-out has been started begins and ends.
    started: (u64, u64),
    incremental_sync: bool,
    published: bool,
}

impl AtomicFile {
    /// Creates a temp file beside `target`, named `temp-<pid>-<number>-<name of the target>`. `incremental_sync` spreads the
    /// writing to disk over the time that the file takes (`rdb-save-incremental-fsync`).
    ///
    /// # Errors
    /// Where the directory is missing or does not let us.
    pub fn create(target: &Path, incremental_sync: bool) -> Result<Self, FileError> {
        let name = target
            .file_name()
            .ok_or_else(|| FileError::new("create", target)(io::ErrorKind::InvalidInput.into()))?;
        let mut temp_name = std::ffi::OsString::from(format!("temp-{}-", unique()));
        temp_name.push(name);
        let temp = directory_of(target).join(temp_name);
        Self::create_temp(temp, target.to_owned(), incremental_sync)
    }

    /// Creates a file in `directory` that somebody else will give its name, called `<prefix><pid>-<number><suffix>` until then;
    /// it ends with [`AtomicFile::seal`].
    ///
    /// # Errors
    /// As [`AtomicFile::create`].
    pub fn create_unnamed(
        directory: &Path,
        prefix: &str,
        suffix: &str,
        incremental_sync: bool,
    ) -> Result<Self, FileError> {
        let temp = directory.join(format!("{prefix}{}{suffix}", unique()));
        Self::create_temp(temp.clone(), temp, incremental_sync)
    }

    fn create_temp(
        temp: PathBuf,
        target: PathBuf,
        incremental_sync: bool,
    ) -> Result<Self, FileError> {
        let open = || OpenOptions::new().write(true).create_new(true).open(&temp);
        let file = match open() {
            // Ours by its number, but not made by us: a process of the same id, as in every container, has died.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&temp).map_err(FileError::new("remove", &temp))?;
                open()
            }
            opened => opened,
        };
        Ok(AtomicFile {
            file: file.map_err(FileError::new("create", &temp))?,
            temp,
            target,
            buffer: Vec::new(),
            written: 0,
            started: (0, 0),
            incremental_sync,
            published: false,
        })
    }

    /// Puts `bytes` in the place of `target` in one go, for manifests and the config file.
    pub fn replace(target: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let mut file = Self::create(target, false)?;
        file.write(bytes)?;
        file.publish()?;
        Ok(())
    }

    /// Appends. Small pieces are gathered, large ones go straight to the kernel.
    ///
    /// # Errors
    /// The disk is full or fails. Nothing can be said about the file then: drop it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        if self.buffer.len() + bytes.len() < BUFFER_BYTES {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        if bytes.len() < BUFFER_BYTES {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        // In steps of a window, so that one huge value is spread out as well.
        for piece in bytes.chunks(WINDOW_BYTES as usize) {
            self.write_through(piece)?;
        }
        Ok(())
    }

    /// Bytes accepted so far.
    pub fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn temp_path(&self) -> &Path {
        &self.temp
    }

    pub fn target_path(&self) -> &Path {
        &self.target
    }

    /// Writes the rest, waits until all of it is on disk, and gives the file its name. Returns its length.
    ///
    /// # Errors
    /// The step and the path that failed. The old target is untouched, unless the step is `sync directory`: then the new
    /// file is in its place, but might not be after a loss of power.
    pub fn publish(mut self) -> Result<u64, FileError> {
        self.flush()?;
        self.file
            .sync_all()
            .map_err(FileError::new("sync", &self.temp))?;
        fs::rename(&self.temp, &self.target).map_err(FileError::new("rename", &self.temp))?;
        self.published = true;
        sync_directory(directory_of(&self.target))?;
        Ok(self.written)
    }

    /// Writes the rest and waits until all of it is on disk. The file keeps its temp name, and whoever called this has to
    /// rename or to remove it: returned with its length.
    ///
    /// # Errors
    /// The step and the path that failed; the file is removed then.
    pub fn seal(mut self) -> Result<(PathBuf, u64), FileError> {
        self.flush()?;
        self.file
            .sync_all()
            .map_err(FileError::new("sync", &self.temp))?;
        self.published = true;
        Ok((std::mem::take(&mut self.temp), self.written))
    }

    fn flush(&mut self) -> Result<(), FileError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.write_through(&buffer)?;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    fn write_through(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file
            .write_all(bytes)
            .map_err(FileError::new("write", &self.temp))?;
        self.written += bytes.len() as u64;
        if self.incremental_sync && self.written - self.started.1 >= WINDOW_BYTES {
            self.sync_window()
                .map_err(FileError::new("sync", &self.temp))?;
        }
        Ok(())
    }

    /// Starts the write-out of what has come since the last window, and waits for that window.
    fn sync_window(&mut self) -> io::Result<()> {
        let before = self.started;
        self.started = (before.1, self.written);
        let start = libc::SYNC_FILE_RANGE_WRITE;
        let wait = libc::SYNC_FILE_RANGE_WAIT_BEFORE | start | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        let synced = sync_range(&self.file, self.started, start);
        let synced = synced.and_then(|()| sync_range(&self.file, before, wait));
        match synced.as_ref().map_err(io::Error::raw_os_error) {
            // This file system cannot; the sync at the end is what counts.
            Err(Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL | libc::ESPIPE)) => {
                self.incremental_sync = false;
                Ok(())
            }
            _ => synced,
        }
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.temp);
        }
    }
}

/// What failed on which file: `write /data/temp-7-1-dump.rdb: No space left on device (os error 28)`.
#[derive(Debug)]
pub struct FileError {
    pub step: &'static str,
    pub path: PathBuf,
    pub cause: io::Error,
}

impl FileError {
    /// Puts step and path to an error, for `map_err`.
    pub fn new(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| FileError {
            step,
            path: path.to_owned(),
            cause,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.step, self.path.display(), self.cause)
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Makes creations, renames and removals in a directory last through a loss of power.
///
/// # Errors
/// Not where the file system simply cannot sync directories.
pub fn sync_directory(directory: &Path) -> Result<(), FileError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    match synced.as_ref().map_err(io::Error::raw_os_error) {
        Err(Some(libc::EINVAL | libc::EBADF)) => Ok(()),
        _ => synced.map_err(FileError::new("sync directory", directory)),
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_range(file: &File, (from, to): (u64, u64), flags: libc::c_uint) -> io::Result<()> {
    // A length of zero would mean the whole file.
    if from == to {
        return Ok(());
    }
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and no memory is passed.
    let outcome = unsafe {
        libc::sync_file_range(
            file.as_raw_fd(),
            from as libc::off64_t,
            (to - from) as libc::off64_t,
            flags,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// How many bytes are written between two starts of write-out: Redis's measure.
const WINDOW_BYTES: u64 = 4 * 1024 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;

/// What tells temp files apart: `<pid>-<number>`.
fn unique() -> String {
    let number = CREATED.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}", std::process::id())
}

static CREATED: AtomicU64 = AtomicU64::new(1);

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let name = format!("sluice-file-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_target_keeps_its_old_bytes_until_all_new_ones_are_there() {
        let directory = Directory::new("whole");
        let target = directory.0.join("dump.rdb");
        AtomicFile::replace(&target, b"old").unwrap();
        let mut file = AtomicFile::create(&target, true).unwrap();
        let mut expected = Vec::new();
        // Pieces below and above the buffer, and one above the window.
        for (number, length) in [5, 300_000, 100, 9 << 20, 0, 200_000, 100_000]
            .iter()
            .enumerate()
        {
            let piece = vec![number as u8; *length];
            file.write(&piece).unwrap();
            expected.extend_from_slice(&piece);
            assert_eq!(file.len(), expected.len() as u64);
        }
        assert!(file.incremental_sync);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(directory.names().len(), 2);
        assert_eq!(file.publish().unwrap(), expected.len() as u64);
        assert!(fs::read(&target).unwrap() == expected);
        assert_eq!(directory.names(), ["dump.rdb"]);
    }

    #[test]
    fn no_more_than_two_windows_are_ever_left_to_the_kernel() {
        let directory = Directory::new("windows");
        let mut file = AtomicFile::create(&directory.0.join("dump.rdb"), true).unwrap();
        for _ in 0..60 {
            file.write(&[1; 300_000]).unwrap();
            let (_, end) = file.started;
            assert!(file.written - end < WINDOW_BYTES + 300_000);
        }
        assert!(file.started.0 > 0);
    }

    #[test]
    fn a_file_that_is_given_up_leaves_nothing() {
        let directory = Directory::new("abandon");
        let mut file = AtomicFile::create(&directory.0.join("dump.rdb"), true).unwrap();
        file.write(&[1; 1 << 20]).unwrap();
        assert_eq!(directory.names().len(), 1);
        drop(file);
        assert!(directory.names().is_empty());
    }

    #[test]
    fn a_sealed_file_keeps_its_first_name_and_one_that_is_not_sealed_leaves_nothing() {
        let directory = Directory::new("seal");
        let create = || AtomicFile::create_unnamed(&directory.0, "temp-rewriteaof-", ".aof", true);
        drop(create().unwrap());
        assert!(directory.names().is_empty());
        let mut file = create().unwrap();
        file.write(b"base").unwrap();
        let (path, bytes) = file.seal().unwrap();
        assert_eq!((fs::read(&path).unwrap(), bytes), (b"base".to_vec(), 4));
        let prefix = format!("temp-rewriteaof-{}-", std::process::id());
        let names = directory.names();
        assert!(
            names.len() == 1 && names[0].starts_with(&prefix),
            "{names:?}"
        );
        assert!(names[0].ends_with(".aof"));
    }

    #[test]
    fn a_full_disk_is_named_and_the_old_file_stays() {
        let directory = Directory::new("full");
        let target = directory.0.join("dump.rdb");
        AtomicFile::replace(&target, b"old").unwrap();
        // Found out while writing, or at the last moment by the rest of the buffer.
        for length in [1 << 20, 10] {
            let mut file = AtomicFile::create(&target, true).unwrap();
            file.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
            let temp = file.temp.clone();
            let error = file
                .write(&vec![0; length])
                .and_then(|()| file.publish().map(|_| ()))
                .unwrap_err();
            let expected = format!("write {}: No space left on device", temp.display());
            assert!(error.to_string().starts_with(&expected), "{error}");
            assert_eq!(error.cause.kind(), io::ErrorKind::StorageFull);
            assert_eq!(directory.names(), ["dump.rdb"]);
        }
        assert_eq!(fs::read(&target).unwrap(), b"old");
    }

    #[test]
    fn a_rename_that_fails_is_named_and_leaves_nothing() {
        let directory = Directory::new("rename");
        let target = directory.0.join("dump.rdb");
        fs::create_dir_all(target.join("inside")).unwrap();
        let mut file = AtomicFile::create(&target, false).unwrap();
        file.write(b"new").unwrap();
        let error = file.publish().unwrap_err();
        assert_eq!(error.step, "rename");
        assert_eq!(directory.names(), ["dump.rdb"]);
    }

    #[test]
    fn a_directory_that_is_missing_or_takes_no_files_is_named() {
        for target in ["/nowhere/at/all/dump.rdb", "/proc/dump.rdb"] {
            let error = AtomicFile::create(Path::new(target), false).err().unwrap();
            assert_eq!(error.step, "create");
            assert!(error.path.starts_with(Path::new(target).parent().unwrap()));
        }
        assert!(AtomicFile::create(Path::new("/"), false).is_err());
        assert!(sync_directory(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn a_leftover_of_a_dead_process_with_our_id_is_overwritten() {
        let directory = Directory::new("leftover");
        let target = directory.0.join("dump.rdb");
        let number = CREATED.load(Ordering::Relaxed);
        for ahead in 0..50 {
            let name = format!("temp-{}-{}-dump.rdb", std::process::id(), number + ahead);
            fs::write(directory.0.join(name), "a long leftover").unwrap();
        }
        AtomicFile::replace(&target, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn a_device_that_cannot_sync_ranges_is_written_all_the_same() {
        let directory = Directory::new("device");
        let mut file = AtomicFile::create(&directory.0.join("dump.rdb"), true).unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        file.file = File::from(write);
        let reader = std::thread::spawn(move || io::copy(&mut File::from(read), &mut io::sink()));
        file.write(&vec![0; 9 << 20]).unwrap();
        assert!(!file.incremental_sync);
        drop(file);
        assert_eq!(reader.join().unwrap().unwrap(), 9 << 20);
    }
}
