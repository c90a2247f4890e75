//! A disk in memory that forgets what was not synced, and fails when it is told to.
//!
//! What lasts through a loss of power: of a file, what was synced and a prefix of what was done to it since, cut at any
//! byte; of a directory, the names as it was synced and any part of what was done to them since, in order. A name whose file
//! never reached the disk shows an empty file. If that is asked for, what a failing sync was to bring to disk may
//! never get there, though it can be read: a sync that works later leaves zeros in its place. Everything that changes something is an *operation* and is counted; an
//! operation can be made to fail, once or for a while, or to be the last.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::random::Random;

use super::disk::{Disk, DiskFile};

/// Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

/// What goes wrong, from the operation with this number on, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub from: u64,
    pub what: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// So many operations fail with this error number; a write among them takes a part first.
    Fails { errno: i32, operations: u64 },
    /// The operation is done in part, and everything afterwards fails.
    PowerLoss,
}

#[derive(Debug)]
struct State {
    files: Vec<SimulatedFile>,
    names: BTreeMap<PathBuf, usize>,
    directories: BTreeMap<PathBuf, Names>,
    operations: u64,
    trouble: Option<Trouble>,
    random: Random,
    is_off: bool,
    /// See [`SimulatedDisk::lose_what_a_sync_fails_on`].
    loses: bool,
}

#[derive(Debug, Default)]
struct Names {
    synced: BTreeMap<PathBuf, usize>,
    since: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, usize),
    Move(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

#[derive(Clone, Debug, Default)]
struct SimulatedFile {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    since: Vec<FileChange>,
}

#[derive(Clone, Debug)]
enum FileChange {
    Append(Vec<u8>),
    /// So many bytes that can be read and never reach the disk.
    Lost(usize),
    Truncate(usize),
}

/// What an operation may do.
enum Verdict {
    Go,
    /// Nothing, or for a write so much of it; then the error.
    Fail(io::Error),
    /// In part, and then the power is gone.
    Last,
}

impl SimulatedDisk {
    pub fn new(seed: u64) -> Self {
        SimulatedDisk(Arc::new(Mutex::new(State {
            files: Vec::new(),
            names: BTreeMap::new(),
            directories: BTreeMap::new(),
            operations: 0,
            trouble: None,
            random: Random::from_seed(seed),
            is_off: false,
            loses: false,
        })))
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    pub fn set_trouble(&self, trouble: Option<Trouble>) {
        self.lock().trouble = trouble;
    }

    /// Whether a system that could not write a page forgets it, as Linux does.
    pub fn lose_what_a_sync_fails_on(&self, loses: bool) {
        self.lock().loses = loses;
    }

    /// Something can be read that will never be on disk.
    pub fn has_holes(&self) -> bool {
        let state = self.lock();
        let mut changes = state.files.iter().flat_map(|file| &file.since);
        changes.any(|change| matches!(change, FileChange::Lost(_)))
    }

    /// Whether the power is gone.
    pub fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.lock().is_off = true;
    }

    /// The disk as a machine finds it that starts again. Handles of before go on failing.
    pub fn after_power_loss(&self) -> SimulatedDisk {
        let mut state = self.lock();
        state.is_off = true;
        let mut random = state.random.fork();
        let mut names = BTreeMap::new();
        let mut directories = BTreeMap::new();
        for (path, directory) in &state.directories {
            let mut left = directory.synced.clone();
            let ordered = random.chance(1, 2);
            let count = random.below(directory.since.len() as u64 + 1) as usize;
            for (index, change) in directory.since.iter().enumerate() {
                let lasts = if ordered {
                    index < count
                } else {
                    random.chance(1, 2)
                };
                if lasts {
                    change.apply(&mut left);
                }
            }
            names.extend(left.clone());
            directories.insert(
                path.clone(),
                Names {
                    synced: left,
                    since: Vec::new(),
                },
            );
        }
        let files = state
            .files
            .iter()
            .map(|file| file.after_power_loss(&mut random))
            .collect();
        SimulatedDisk(Arc::new(Mutex::new(State {
            files,
            names,
            directories,
            operations: 0,
            trouble: None,
            random,
            is_off: false,
            loses: false,
        })))
    }

    /// The whole file as it is now.
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.lock();
        let file = *state.names.get(path)?;
        Some(state.files[file].bytes.clone())
    }

    /// Cuts a file, as a loader does that finds a torn tail: at once and for good.
    pub fn cut(&self, path: &Path, length: usize) {
        let mut state = self.lock();
        if let Some(&file) = state.names.get(path) {
            state.files[file].change(FileChange::Truncate(length));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds this")
    }
}

impl State {
    fn begin(&mut self) -> Verdict {
        if self.is_off {
            return Verdict::Fail(io::Error::other("the power is off"));
        }
        let number = self.operations;
        self.operations += 1;
        match self.trouble {
            Some(Trouble { from, what }) if number >= from => match what {
                Fault::PowerLoss => {
                    self.is_off = true;
                    Verdict::Last
                }
                Fault::Fails { errno, operations } if number < from + operations => {
                    Verdict::Fail(io::Error::from_raw_os_error(errno))
                }
                Fault::Fails { .. } => Verdict::Go,
            },
            _ => Verdict::Go,
        }
    }

    /// Like [`State::begin`] for what is done wholly or not at all.
    fn begin_whole(&mut self) -> io::Result<bool> {
        match self.begin() {
            Verdict::Go => Ok(true),
            Verdict::Fail(error) => Err(error),
            Verdict::Last => Ok(self.random.chance(1, 2)),
        }
    }

    fn end(&self) -> io::Result<()> {
        match self.is_off {
            true => Err(io::Error::other("the power went off")),
            false => Ok(()),
        }
    }

    fn directory_of(&mut self, path: &Path) -> io::Result<&mut Names> {
        let parent = path.parent().unwrap_or(Path::new(""));
        self.directories
            .get_mut(parent)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let path = match &change {
            NameChange::Add(path, _) | NameChange::Move(_, path, _) | NameChange::Remove(path) => {
                path.clone()
            }
        };
        change.apply(&mut self.names);
        self.directory_of(&path)?.since.push(change);
        Ok(())
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            NameChange::Add(path, file) => {
                names.insert(path.clone(), *file);
            }
            NameChange::Move(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl SimulatedFile {
    fn change(&mut self, change: FileChange) {
        change.apply(&mut self.bytes);
        self.since.push(change);
    }

    fn sync(&mut self) {
        for change in self.since.drain(..) {
            change.apply(&mut self.synced);
        }
    }

    /// A sync has failed: the system forgets what it was to write.
    fn lose(&mut self, random: &mut Random) {
        for change in &mut self.since {
            if let FileChange::Append(bytes) = change
                && random.chance(1, 2)
            {
                *change = FileChange::Lost(bytes.len());
            }
        }
    }

    /// How many changes can have reached the disk: with what was lost, only once it has been cut off again.
    fn states_without_holes(&self) -> Vec<usize> {
        let mut length = self.synced.len();
        let mut hole = usize::MAX;
        let mut whole = vec![0];
        for (index, change) in self.since.iter().enumerate() {
            match change {
                FileChange::Append(more) => length += more.len(),
                FileChange::Lost(count) => {
                    hole = hole.min(length);
                    length += count;
                }
                FileChange::Truncate(to) => {
                    length = *to;
                    hole = if length <= hole { usize::MAX } else { hole };
                }
            }
            if hole == usize::MAX {
                whole.push(index + 1);
            }
        }
        whole
    }

    fn after_power_loss(&self, random: &mut Random) -> SimulatedFile {
        let mut bytes = self.synced.clone();
        let whole = self.states_without_holes();
        let lasting = whole[random.below(whole.len() as u64) as usize];
        for change in &self.since[..lasting] {
            change.apply(&mut bytes);
        }
        if let Some(FileChange::Append(torn)) = self.since.get(lasting) {
            let count = random.below(torn.len() as u64 + 1) as usize;
            bytes.extend_from_slice(&torn[..count]);
        }
        SimulatedFile {
            synced: bytes.clone(),
            bytes,
            since: Vec::new(),
        }
    }
}

impl FileChange {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            FileChange::Append(more) => bytes.extend_from_slice(more),
            FileChange::Lost(count) => bytes.resize(bytes.len() + count, 0),
            FileChange::Truncate(length) => bytes.resize(*length, 0),
        }
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        if state.begin_whole()? {
            state.directory_of(path)?;
            match state.names.get(path) {
                Some(&file) => state.files[file].change(FileChange::Truncate(0)),
                None => {
                    state.files.push(SimulatedFile::default());
                    let file = state.files.len() - 1;
                    state.change_name(NameChange::Add(path.to_owned(), file))?;
                }
            }
        }
        state.end()?;
        let file = state.names[path];
        Ok(Box::new(Handle {
            disk: self.clone(),
            file,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.lock();
        state.end()?;
        let file = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Handle {
            disk: self.clone(),
            file,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.begin_whole()? {
            let file = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
            state.change_name(NameChange::Move(from.to_owned(), to.to_owned(), file))?;
        }
        state.end()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.begin_whole()? {
            if !state.names.contains_key(path) {
                return Err(io::ErrorKind::NotFound.into());
            }
            state.change_name(NameChange::Remove(path.to_owned()))?;
        }
        state.end()
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.begin_whole()? {
            state.directories.entry(path.to_owned()).or_default();
        }
        state.end()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.begin_whole()?
            && let Some(directory) = state.directories.get_mut(path)
        {
            for change in std::mem::take(&mut directory.since) {
                change.apply(&mut directory.synced);
            }
        }
        state.end()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>> {
        let state = self.lock();
        state.end()?;
        if !state.directories.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state
            .names
            .iter()
            .filter(|(name, _)| name.parent() == Some(path));
        Ok(inside
            .filter_map(|(name, &file)| {
                let name = name.file_name()?.to_str()?.to_owned();
                Some((name, state.files[file].bytes.len() as u64))
            })
            .collect())
    }
}

#[derive(Debug)]
struct Handle {
    disk: SimulatedDisk,
    file: usize,
}

impl DiskFile for Handle {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.disk.lock();
        let bytes: Vec<u8> = slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        let verdict = state.begin();
        let short = state.random.below(bytes.len() as u64) as usize;
        // Even a disk that is well may take less than all.
        let taken = match verdict {
            Verdict::Go if !state.random.chance(1, 4) => bytes.len(),
            Verdict::Go => short.max(1).min(bytes.len()),
            Verdict::Last => short,
            Verdict::Fail(error) => {
                // A disk that runs full takes what fits first.
                if state.is_off || short == 0 || state.random.chance(1, 2) {
                    return Err(error);
                }
                state.operations -= 1;
                state.random.below(short as u64 + 1) as usize
            }
        };
        if taken > 0 {
            let change = FileChange::Append(bytes[..taken].to_vec());
            state.files[self.file].change(change);
        }
        state.end()?;
        match taken {
            0 => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            taken => Ok(taken),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        match state.begin_whole() {
            Ok(true) => state.files[self.file].sync(),
            Ok(false) => {}
            Err(error) => {
                let loses = state.loses;
                let State { files, random, .. } = &mut *state;
                if loses {
                    files[self.file].lose(random);
                }
                return Err(error);
            }
        }
        state.end()
    }

    fn another(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Handle {
            disk: self.disk.clone(),
            file: self.file,
        }))
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        if state.begin_whole()? {
            state.files[self.file].change(FileChange::Truncate(length as usize));
        }
        state.end()
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        state.end()?;
        Ok(state.files[self.file].bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        state.end()?;
        let bytes = &state.files[self.file].bytes;
        let rest = bytes.get(at as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
