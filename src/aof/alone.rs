//! A base without segments: what BGREWRITEAOF leaves while the AOF is off and nobody writes to the set.
//!
//! The new manifest names the base and nothing that is loaded before it or after it; what was loaded so far is history, and is
//! deleted. Interrupted at any step, the directory holds the old set or the new one.

use std::io;

use super::disk::Disk;
use super::log::Base;
use super::manifest::{self, Facts, FileLine, Manifest};
use super::names::{Name, Names};

/// Puts `base` in the place of the set that is in the directory, which exists.
///
/// # Errors
/// What failed on which file: the old set is still there then.
pub fn put(disk: &dyn Disk, names: &Names, base: &Base) -> Result<(), String> {
    let parsed = manifest::read(disk, names).map_err(|error| error.to_string())?;
    let old = parsed.unwrap_or_default().manifest;
    let seq = next_base(names, &old);
    let line = FileLine {
        facts: Facts {
            id: Some(base.at.id),
            start: Some(base.at.offset),
            start_db: base.at.stream_db,
            crc64: base.crc64,
            ..Facts::default()
        },
        ..FileLine::new(names.base(seq, base.format), seq)
    };
    let path = names.path(&line.name);
    let failed = |step: &str, error: io::Error| format!("{step} {}: {error}", path.display());
    disk.rename(&base.temp, &path)
        .map_err(|error| failed("rename to", error))?;
    disk.sync_directory(names.directory())
        .map_err(|error| failed("sync the directory of", error))?;
    let Manifest {
        base: old_base,
        mut history,
        segments,
    } = old;
    history.extend(old_base.into_iter().chain(segments));
    let replace = |manifest: &Manifest| {
        manifest::replace(disk, names, manifest).map_err(|error| error.to_string())
    };
    let mut next = Manifest {
        base: Some(line),
        history,
        segments: Vec::new(),
    };
    replace(&next)?;
    // What cannot be deleted now stays history, and goes with the next rewrite.
    next.history.retain(|line| {
        let removed = disk.remove(&names.path(&line.name));
        removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
    });
    if let Err(reason) = replace(&next) {
        log::warn!("AOF: the files that are not needed any more are still listed: {reason}");
    }
    Ok(())
}

/// One more than any that the manifest has.
fn next_base(names: &Names, manifest: &Manifest) -> u64 {
    let is_base = |line: &&FileLine| matches!(names.parse(&line.name), Some(Name::Base { .. }));
    let old = manifest.history.iter().filter(is_base);
    old.chain(&manifest.base)
        .map(|line| line.seq)
        .max()
        .unwrap_or(0)
        + 1
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::aof::log::write_all;
    use crate::aof::names::BaseFormat;
    use crate::aof::simulated::{Fault, SimulatedDisk, Trouble};
    use crate::journal::position::{Offset, Position, ReplId};

    fn names() -> Names {
        Names::new(Path::new("/data"), "appendonlydir", "appendonly.aof")
    }

    fn write(disk: &SimulatedDisk, name: &str, text: &str) {
        let mut file = disk.create(&names().path(name)).unwrap();
        write_all(&mut *file, &[text.as_bytes()]).unwrap();
        file.sync().unwrap();
    }

    /// A disk with a set of a base and two segments, and a base that is to take its place.
    fn disk_with_set(seed: u64) -> (SimulatedDisk, Base) {
        let disk = SimulatedDisk::new(seed);
        disk.create_directory(Path::new("/data")).unwrap();
        disk.create_directory(names().directory()).unwrap();
        let line = |name: String, seq, text: &str| {
            write(&disk, &name, text);
            FileLine::new(name, seq)
        };
        let manifest = Manifest {
            base: Some(line(names().base(6, BaseFormat::Rdb), 6, "old")),
            history: vec![line(names().base(5, BaseFormat::Rdb), 5, "older")],
            segments: vec![
                line(names().segment(8), 8, "old"),
                line(names().segment(9), 9, "old"),
            ],
        };
        manifest::replace(&disk, &names(), &manifest).unwrap();
        let temp = names().temp_base(1, 1);
        write(&disk, &temp, "new");
        disk.sync_directory(names().directory()).unwrap();
        disk.sync_directory(Path::new("/data")).unwrap();
        let base = Base {
            temp: names().path(&temp),
            at: Position {
                id: ReplId::parse(&[b'a'; 40]).unwrap(),
                offset: Offset(70),
                stream_db: None,
            },
            format: BaseFormat::Commands,
            bytes: 3,
            crc64: None,
        };
        (disk, base)
    }

    /// What is loaded: the text of each file, which is there.
    fn loaded(disk: &SimulatedDisk) -> Vec<String> {
        let manifest = manifest::read(disk, &names()).unwrap().unwrap().manifest;
        let lines = manifest.base.iter().chain(&manifest.segments);
        lines
            .map(|line| {
                let bytes = disk.read(&names().path(&line.name)).expect("it is listed");
                String::from_utf8(bytes).unwrap()
            })
            .collect()
    }

    #[test]
    fn the_base_is_all_that_is_left() {
        let (disk, base) = disk_with_set(1);
        put(&disk, &names(), &base).unwrap();
        assert_eq!(loaded(&disk), ["new"]);
        let mut files: Vec<String> = disk
            .list(names().directory())
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        files.sort();
        assert_eq!(
            files,
            ["appendonly.aof.7.base.aof", "appendonly.aof.manifest"]
        );
    }

    #[test]
    fn interrupted_anywhere_the_old_set_or_the_new_one_is_found() {
        let (mut old, mut new) = (0, 0);
        for seed in 0..300 {
            let (disk, base) = disk_with_set(seed);
            let what = match seed % 2 {
                0 => Fault::PowerLoss,
                _ => Fault::Fails {
                    errno: libc::EIO,
                    operations: 1 + seed % 3,
                },
            };
            let from = disk.operations() + seed / 2 % 20;
            disk.set_trouble(Some(Trouble { from, what }));
            let outcome = put(&disk, &names(), &base);
            let found = match what {
                Fault::PowerLoss => disk.after_power_loss(),
                Fault::Fails { .. } => disk,
            };
            match loaded(&found).as_slice() {
                [text] if text == "new" => new += 1,
                [base, first, second] if [base, first, second].iter().all(|it| *it == "old") => {
                    assert!(outcome.is_err(), "seed {seed}");
                    old += 1;
                }
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert!(old > 20 && new > 20, "{old} and {new}");
    }
}
