//! How one manifest follows another: new files named and on disk first, then the manifest whole, and the way back where a
//! step fails.

use std::io;

use crate::aof::manifest::{self, Facts, FileLine, Manifest};

use super::{Base, Log, LogError};

impl Log {
    /// Gives a base the name that the next manifest knows it by. [`Log::install_base`] comes next, or its failure.
    pub(super) fn place_base(&mut self, base: &Base) -> Result<FileLine, LogError> {
        let seq = self.next_base();
        let name = self.names.base(seq, base.format);
        let path = self.names.path(&name);
        self.disk
            .rename(&base.temp, &path)
            .map_err(LogError::new("rename", &base.temp))?;
        self.stranded = Some((path, base.temp.clone()));
        Ok(FileLine {
            name,
            seq,
            facts: Facts {
                id: Some(base.at.id),
                start: Some(base.at.offset),
                start_db: base.at.stream_db,
                crc64: base.crc64,
                ..Facts::default()
            },
            unknown: Vec::new(),
        })
    }

    /// [`Log::install`] of a manifest with a new base; where that fails the base gets its temp name back, so that the caller
    /// may try again.
    pub(super) fn install_base(&mut self, next: Manifest) -> Result<(), LogError> {
        match self.install(next) {
            Ok(()) => {
                self.stranded = None;
                Ok(())
            }
            Err(error) => {
                // Tried again before anything else is done.
                let _ = self.settle();
                Err(error)
            }
        }
    }

    /// Puts a manifest in place of the present one. New files must have their names on disk before.
    pub(super) fn install(&mut self, next: Manifest) -> Result<(), LogError> {
        let directory = self.names.directory();
        self.disk
            .sync_directory(directory)
            .map_err(LogError::new("sync directory", directory))?;
        self.manifest_is_uncertain = true;
        manifest::replace(&*self.disk, &self.names, &next).map_err(|error| {
            let path = self.names.path(&self.names.manifest());
            match error {
                manifest::FileError::Io { action, cause, .. } => {
                    LogError::new(action, &path)(cause)
                }
                other => LogError::new("replace", &path)(io::Error::other(other.to_string())),
            }
        })?;
        self.manifest_is_uncertain = false;
        self.manifest = next;
        Ok(())
    }

    /// Makes sure that what is on disk is what we believe, after a replacement that failed.
    pub(super) fn settle(&mut self) -> Result<(), LogError> {
        if self.manifest_is_uncertain {
            self.install(self.manifest.clone())?;
        }
        if let Some((path, temp)) = &self.stranded {
            self.disk
                .rename(path, temp)
                .map_err(LogError::new("rename", path))?;
            self.stranded = None;
        }
        Ok(())
    }

    /// What the manifest names, as history that feeds nobody.
    pub(super) fn everything_old(&self) -> Vec<FileLine> {
        let manifest = &self.manifest;
        let old = manifest.base.iter().chain(&manifest.history);
        let forgotten = |line: &FileLine| FileLine {
            facts: Facts::default(),
            ..line.clone()
        };
        old.chain(&manifest.segments).map(forgotten).collect()
    }

    /// The first segment of a set that is being begun gets its own name.
    pub(super) fn name_first_segment(&mut self) -> Result<(), LogError> {
        let Some(beginning) = &mut self.beginning else {
            return Ok(());
        };
        if beginning.first_is_temp {
            let temp = self.names.path(&self.names.temp_segment());
            let path = self.names.path(&beginning.lines[0].name);
            self.disk
                .rename(&temp, &path)
                .map_err(LogError::new("rename", &temp))?;
            beginning.first_is_temp = false;
            if self.segment.path() == temp {
                self.segment.renamed(path);
            } else if let Some(length) = self.lengths.remove(&self.names.temp_segment()) {
                self.lengths.insert(beginning.lines[0].name.clone(), length);
            }
        }
        Ok(())
    }
}
