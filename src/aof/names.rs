//! Names: which file of the directory is what, and where it lies.
//!
//! ```text
//! dir/                            temp-rewriteaof-PID.aof, temp-rewriteaof-bg-PID.aof (Redis), F (an old single file)
//! dir/appenddirname/              F.1.base.rdb  F.1.base.aof  F.1.incr.aof  F.manifest
//!                                 temp-F.manifest  temp-F.incr  temp-rewriteaof-PID-NUMBER.aof (ours)
//! ```
//!
//! F is `appendfilename`. Servers with different F may share the directories, so a name that does not carry our F is none
//! of ours, except the files that Redis names by its process alone. Source: Redis 7. Knows no file, only names.

use std::fmt;
use std::path::{Path, PathBuf};

/// The names of one file set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    working_directory: PathBuf,
    directory: PathBuf,
    prefix: String,
}

/// What a name in the set's directory says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Manifest,
    Base {
        seq: u64,
        format: BaseFormat,
    },
    Segment {
        seq: u64,
    },
    /// A manifest that was being written.
    TempManifest,
    /// The segment of an AOF that was being switched on, as Redis names it.
    TempSegment,
    /// A base that was being written, by the process of this number.
    TempBase {
        process: u32,
    },
}

/// How a base says what the dataset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseFormat {
    Rdb,
    Commands,
}

impl Names {
    /// From the settings `dir`, `appenddirname` and `appendfilename`.
    pub fn new(dir: &Path, append_dir_name: &str, append_file_name: &str) -> Self {
        Names {
            working_directory: dir.to_owned(),
            directory: dir.join(append_dir_name),
            prefix: append_file_name.to_owned(),
        }
    }

    /// `appendfilename`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where the set lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `dir`, which holds the set's directory.
    pub fn working_directory(&self) -> &Path {
        &self.working_directory
    }

    /// The path of a file of the set.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where Redis before 7.0 keeps its only file.
    pub fn single_file(&self) -> PathBuf {
        self.working_directory.join(&self.prefix)
    }

    pub fn base(&self, seq: u64, format: BaseFormat) -> String {
        format!("{}.{seq}.base.{format}", self.prefix)
    }

    pub fn segment(&self, seq: u64) -> String {
        format!("{}.{seq}.incr.aof", self.prefix)
    }

    pub fn manifest(&self) -> String {
        format!("{}.manifest", self.prefix)
    }

    pub fn temp_manifest(&self) -> String {
        format!("temp-{}.manifest", self.prefix)
    }

    pub fn temp_segment(&self) -> String {
        format!("temp-{}.incr", self.prefix)
    }

    /// Bases that one process writes at the same time differ by `number`.
    pub fn temp_base(&self, process: u32, number: u64) -> String {
        format!("{TEMP_BASE}{process}-{number}.aof")
    }

    /// What a file in the set's directory is by its name; `None` where it is none of ours.
    pub fn parse(&self, name: &str) -> Option<Name> {
        if let Some(name) = self.parse_lasting(name) {
            return Some(name);
        }
        if let Some(process) = temp_base_process(name) {
            return Some(Name::TempBase { process });
        }
        let rest = name.strip_prefix("temp-")?;
        match rest.strip_prefix(&self.prefix) {
            Some(".manifest") => Some(Name::TempManifest),
            Some(".incr") => Some(Name::TempSegment),
            _ => self.parse_atomic(rest),
        }
    }

    /// The names of files that are there to stay.
    fn parse_lasting(&self, name: &str) -> Option<Name> {
        let rest = name.strip_prefix(&self.prefix)?.strip_prefix('.')?;
        if rest == "manifest" {
            return Some(Name::Manifest);
        }
        let (digits, kind) = rest.split_once('.')?;
        let seq = parse_seq(digits)?;
        let base = |format| Name::Base { seq, format };
        Some(match kind {
            "base.rdb" => base(BaseFormat::Rdb),
            "base.aof" => base(BaseFormat::Commands),
            "incr.aof" => Name::Segment { seq },
            _ => return None,
        })
    }

    /// A base under the name that writing a file atomically gives it, behind `temp-`: `PID-NUMBER-` and the final name.
    fn parse_atomic(&self, rest: &str) -> Option<Name> {
        let (process, rest) = rest.split_once('-')?;
        let (number, name) = rest.split_once('-')?;
        number.parse::<u64>().ok()?;
        match self.parse_lasting(name)? {
            Name::Base { .. } => Some(Name::TempBase {
                process: process.parse().ok()?,
            }),
            _ => None,
        }
    }
}

/// The process that was writing a base, if this is the name of one: also in `dir`, where Redis writes.
pub fn temp_base_process(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(TEMP_BASE)?.strip_suffix(".aof")?;
    let rest = rest.strip_prefix("bg-").unwrap_or(rest);
    let process = match rest.split_once('-') {
        Some((process, number)) => {
            number.parse::<u64>().ok()?;
            process
        }
        None => rest,
    };
    process.parse().ok()
}

/// A sequence number in the one form in which it is written: from 1, without sign and leading zeros.
pub fn parse_seq(digits: &str) -> Option<u64> {
    let first = *digits.as_bytes().first()?;
    if first == b'0' || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&seq| seq <= SEQ_MAX)
}

/// Redis counts in 64 bits with sign.
pub const SEQ_MAX: u64 = i64::MAX as u64;

const TEMP_BASE: &str = "temp-rewriteaof-";

impl fmt::Display for BaseFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BaseFormat::Rdb => "rdb",
            BaseFormat::Commands => "aof",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str) -> Names {
        Names::new(Path::new("/data"), "appendonlydir", prefix)
    }

    #[test]
    fn names_are_those_of_redis_and_are_read_back() {
        for prefix in ["appendonly.aof", "a b", "temp-x", "x.1", "1-2-x"] {
            let names = names(prefix);
            let cases = [
                (names.manifest(), Name::Manifest),
                (names.temp_manifest(), Name::TempManifest),
                (names.temp_segment(), Name::TempSegment),
                (names.segment(17), Name::Segment { seq: 17 }),
                (
                    names.base(1, BaseFormat::Rdb),
                    Name::Base {
                        seq: 1,
                        format: BaseFormat::Rdb,
                    },
                ),
                (
                    names.base(SEQ_MAX, BaseFormat::Commands),
                    Name::Base {
                        seq: SEQ_MAX,
                        format: BaseFormat::Commands,
                    },
                ),
                (names.temp_base(4711, 2), Name::TempBase { process: 4711 }),
            ];
            for (text, name) in cases {
                assert_eq!(names.parse(&text), Some(name), "{text}");
            }
        }
        let names = names("appendonly.aof");
        assert_eq!(names.base(3, BaseFormat::Rdb), "appendonly.aof.3.base.rdb");
        assert_eq!(names.segment(2), "appendonly.aof.2.incr.aof");
        assert_eq!(names.temp_manifest(), "temp-appendonly.aof.manifest");
        let path = names.path(&names.manifest());
        assert_eq!(
            path,
            Path::new("/data/appendonlydir/appendonly.aof.manifest")
        );
        assert_eq!(names.single_file(), Path::new("/data/appendonly.aof"));
    }

    #[test]
    fn temporary_bases_are_known_by_all_names_that_they_are_given() {
        let names = names("appendonly.aof");
        for text in [
            "temp-rewriteaof-77.aof",
            "temp-rewriteaof-bg-77.aof",
            "temp-rewriteaof-77-0.aof",
            "temp-77-3-appendonly.aof.9.base.rdb",
        ] {
            let parsed = names.parse(text);
            assert_eq!(parsed, Some(Name::TempBase { process: 77 }), "{text}");
        }
    }

    #[test]
    fn names_of_others_are_left_alone() {
        let names = names("appendonly.aof");
        for text in [
            "",
            "appendonly.aof",
            "appendonly.aof.",
            "appendonly.aof.incr.aof",
            "appendonly.aof.0.incr.aof",
            "appendonly.aof.01.incr.aof",
            "appendonly.aof.+1.incr.aof",
            "appendonly.aof.9223372036854775808.incr.aof",
            "appendonly.aof.1.incr.rdb",
            "appendonly.aof.1.incr.aof.bak",
            "other.aof.1.incr.aof",
            "temp-other.aof.manifest",
            "temp-rewriteaof-.aof",
            "temp-rewriteaof-x.aof",
            "temp-1-2-other.aof.1.base.rdb",
            "temp-1-2-dump.rdb",
        ] {
            assert_eq!(names.parse(text), None, "{text}");
        }
    }
}
