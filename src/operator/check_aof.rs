//! `sluice check-aof`: reads an AOF as strictly as loading does, reports in the manner of `redis-check-aof`, and cuts on
//! request: a damaged end, what came after a time, what came after an offset.
//!
//! Only the last file of a set is ever cut, and always at the boundary of a unit. What a manifest notes about the end of a
//! file that is cut is taken out first. RDB parts go through the checker of `check-rdb`; damage there cannot be cut off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write, stdin};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;

use sluice::aof::crc::Crc;
use sluice::aof::file_scan::FileScan;
use sluice::aof::manifest::{Facts, FileLine, Manifest};
use sluice::aof::repair::{self, Closing};
use sluice::aof::scan::{Batch, Ending, Outcome};
use sluice::aof::set;
use sluice::clock::Clock;
use sluice::config::Config;
use sluice::io::atomic_file::AtomicFile;
use sluice::journal::position::Offset;
use sluice::rdb::value_decoder::Limits;
use sluice::snapshot::check::Checker;

use crate::check_rdb::{progress_bar, report_error};

#[derive(Args)]
pub struct CheckAofArguments {
    /// Cut off a damaged end, of the last file only, after asking
    #[arg(long)]
    fix: bool,
    /// Do not ask
    #[arg(long, requires = "fix")]
    yes: bool,
    /// Cut at the first annotation that is later than this time
    #[arg(long, value_name = "UNIX_SECONDS", conflicts_with_all = ["fix", "to_offset"])]
    truncate_to_timestamp: Option<i64>,
    /// Cut behind the last command that ends at or before this replication offset
    #[arg(long, value_name = "OFFSET", conflicts_with = "fix")]
    to_offset: Option<u64>,
    /// A manifest, or an AOF of one file
    file: PathBuf,
}

/// Writes the report to `out`; true if all is well, at the end.
pub fn check_aof(arguments: &CheckAofArguments, out: &mut dyn Write) -> io::Result<bool> {
    let path = &arguments.file;
    let mut check = Check {
        arguments,
        out,
        manifest: None,
    };
    if is_manifest(path)? {
        return check.set();
    }
    writeln!(check.out, "Start checking Old-Style AOF")?;
    let name = path.display().to_string();
    let line = FileLine::new(name, 1);
    check.file(path, &line, "AOF", true)
}

struct Check<'a> {
    arguments: &'a CheckAofArguments,
    out: &'a mut dyn Write,
    /// Where the set's manifest lies and what it says.
    manifest: Option<(PathBuf, Manifest)>,
}

impl Check<'_> {
    fn set(&mut self) -> io::Result<bool> {
        let path = &self.arguments.file;
        writeln!(self.out, "Start checking Multi Part AOF")?;
        let parsed = match Manifest::parse(&fs::read(path).map_err(named(path))?) {
            Ok(parsed) => parsed,
            Err(error) => {
                writeln!(self.out, "{}: {error}", path.display())?;
                return Ok(false);
            }
        };
        let mut is_good = true;
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let bytes = |name: &str| Some(fs::metadata(directory.join(name)).ok()?.len());
        for doubt in parsed
            .warnings
            .iter()
            .cloned()
            .chain(set::gaps(&parsed.manifest, bytes))
        {
            is_good = false;
            writeln!(self.out, "[manifest] {doubt}")?;
        }
        let manifest = parsed.manifest;
        self.manifest = Some((path.clone(), manifest.clone()));
        let last = manifest.segments.last().or(manifest.base.as_ref());
        let last = last.map(|line| line.name.clone());
        if let Some(base) = &manifest.base {
            let path = directory.join(&base.name);
            let format = match has_rdb_part(&path) {
                Ok(true) => "RDB",
                _ => "RESP",
            };
            writeln!(self.out, "Start to check BASE AOF ({format} format).")?;
            is_good &= self.file(&path, base, BASE, last.as_ref() == Some(&base.name))?;
        }
        if !manifest.segments.is_empty() && is_good {
            writeln!(self.out, "Start to check INCR files.")?;
        }
        for line in &manifest.segments {
            if !is_good {
                return Ok(false);
            }
            let path = directory.join(&line.name);
            is_good = self.file(&path, line, "INCR AOF", last.as_ref() == Some(&line.name))?;
        }
        if is_good {
            writeln!(self.out, "All AOF files and manifest are valid")?;
        }
        Ok(is_good)
    }

    /// One file, checked and cut if that is asked for.
    fn file(
        &mut self,
        path: &Path,
        line: &FileLine,
        what: &str,
        is_last: bool,
    ) -> io::Result<bool> {
        let name = &line.name;
        let file = match File::open(path) {
            // The manifest says that it is there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                writeln!(self.out, "Cannot open file {}: {error}", path.display())?;
                return Ok(false);
            }
            opened => opened.map_err(named(path))?,
        };
        let bytes = file.metadata().map_err(named(path))?.len();
        if bytes == 0 {
            writeln!(self.out, "{what} {name} is empty")?;
            return Ok(true);
        }
        let bar = progress_bar(bytes);
        let prefix = self.rdb_part(&file, path, bytes, &bar)?;
        let Some(crc) = prefix else {
            return Ok(false);
        };
        let from = crc.bytes();
        let mut scan = FileScan::behind(&file, crc).map_err(named(path))?;
        if let Some(closed) = repair::checksum_bytes(&line.facts) {
            scan = scan.checksum_to(closed);
        }
        let cut = self
            .scan(&mut scan, &line.facts, what, &bar)
            .map_err(named(path))?;
        bar.finish_and_clear();
        let outcome = scan.outcome();
        match (
            cut,
            self.arguments.truncate_to_timestamp,
            self.arguments.to_offset,
        ) {
            (Some(to), Some(time), _) if to <= from => {
                writeln!(
                    self.out,
                    "AOF {name} has nothing before timestamp {time}, aborting..."
                )?;
                return Ok(false);
            }
            (Some(to), Some(time), _) => {
                return self.cut(path, line, to, is_last, &format!("to timestamp {time}"));
            }
            (None, Some(time), _) => {
                writeln!(
                    self.out,
                    "Truncate nothing in AOF {name} to timestamp {time}"
                )?;
            }
            (Some(to), None, Some(offset)) if to < outcome.good.byte || to < bytes => {
                return self.cut(path, line, to, is_last, &format!("to offset {offset}"));
            }
            (_, None, Some(offset)) => {
                writeln!(
                    self.out,
                    "Truncate nothing in AOF {name} to offset {offset}"
                )?;
            }
            (_, None, None) => self.report(name, &outcome)?,
        }
        if outcome.ending != Ending::Whole {
            return self.fix(path, line, &outcome, is_last);
        }
        let crc64 = scan.checksum().map_err(named(path))?;
        let closing = repair::closing(name, &line.facts, bytes, crc64, is_last);
        match closing {
            Closing::Damaged { reason } => {
                writeln!(self.out, "{reason}")?;
                return Ok(false);
            }
            Closing::Changed { reason } => writeln!(self.out, "[info] {reason}")?,
            Closing::Intact | Closing::Unknown => {}
        }
        writeln!(self.out, "{what} {name} is valid")?;
        Ok(true)
    }

    /// Reads to the end, or to where it is to be cut: then gives that byte.
    fn scan(
        &mut self,
        scan: &mut FileScan<'_>,
        facts: &Facts,
        what: &str,
        bar: &ProgressBar,
    ) -> io::Result<Option<u64>> {
        // A base is a dataset, not a part of the stream.
        let limit = match self.arguments.to_offset {
            Some(offset) if what == BASE => {
                if facts
                    .start
                    .is_some_and(|start| start > Offset(offset as i64))
                {
                    return Err(io::Error::other("the base stands behind that offset"));
                }
                None
            }
            Some(offset) => Some(byte_of(facts, offset).map_err(io::Error::other)?),
            None => None,
        };
        let mut last_before_limit = scan.scanner().place().byte;
        let mut batch = Batch::default();
        loop {
            let begin = scan.scanner().place().byte;
            let Some(input) = scan.next(&mut batch)? else {
                break;
            };
            if let Some(limit) = limit {
                let ends = batch.commands(input).filter(|command| command.ends_unit);
                for byte in ends.map(|command| begin + command.end as u64) {
                    match byte <= limit {
                        true => last_before_limit = byte,
                        false => return Ok(Some(last_before_limit)),
                    }
                }
            }
            if let Some(time) = self.arguments.truncate_to_timestamp {
                let late = batch
                    .stamps()
                    .iter()
                    .find(|stamp| stamp.unix_seconds > time);
                if let Some(stamp) = late {
                    return Ok(Some(stamp.byte));
                }
            }
            bar.set_position(scan.bytes_read());
        }
        Ok(None)
    }

    /// The checksum of the RDB part in front, empty if there is none; `None` if it is damaged.
    fn rdb_part(
        &mut self,
        mut file: &File,
        path: &Path,
        bytes: u64,
        bar: &ProgressBar,
    ) -> io::Result<Option<Crc>> {
        let mut crc = Crc::new();
        if !has_rdb_part(path)? {
            return Ok(Some(crc));
        }
        let limits = Limits::of(&Config::default());
        // How long the RDB part is stands nowhere, only that it is not longer than the file.
        let mut checker = Checker::new(limits, Some(bytes), Clock::system().unix_millis());
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = file.read(&mut buffer).map_err(named(path))?;
            let checked = match read {
                0 => checker.close(|_, _| {}),
                _ => checker.feed(&buffer[..read], |_, _| {}),
            };
            bar.set_position(checker.offset());
            if let Err(error) = checked {
                bar.finish_and_clear();
                report_error(&error, &checker, self.out)?;
                writeln!(self.out, "RDB preamble of AOF file is not sane, aborting.")?;
                return Ok(None);
            }
            let ours = (checker.offset() - crc.bytes()).min(read as u64) as usize;
            if checker.is_done() {
                crc.update(&buffer[..ours]);
                writeln!(self.out, "RDB preamble is OK, proceeding with AOF tail...")?;
                return Ok(Some(crc));
            }
            crc.update(&buffer[..read]);
        }
    }

    fn report(&mut self, name: &str, outcome: &Outcome) -> io::Result<()> {
        match &outcome.ending {
            Ending::Whole => {}
            Ending::Torn { begins } => writeln!(
                self.out,
                "0x{:16x}: Reached EOF inside the command at byte {begins}",
                outcome.bytes
            )?,
            Ending::OpenTransaction { begins } => writeln!(
                self.out,
                "0x{:16x}: Reached EOF before reading EXEC for MULTI at byte {begins}",
                outcome.bytes
            )?,
            Ending::Malformed(error) => {
                writeln!(self.out, "0x{:16x}: {error}", error.byte)?;
                writeln!(self.out, "AOF {name} format error")?;
            }
        }
        let (size, good, line) = (outcome.bytes, outcome.good.byte, outcome.line);
        writeln!(
            self.out,
            "AOF analyzed: filename={name}, size={size}, ok_up_to={good}, ok_up_to_line={line}, diff={}",
            size - good
        )
    }

    fn fix(
        &mut self,
        path: &Path,
        line: &FileLine,
        outcome: &Outcome,
        is_last: bool,
    ) -> io::Result<bool> {
        let name = &line.name;
        if !self.arguments.fix {
            writeln!(
                self.out,
                "AOF {name} is not valid. Use the --fix option to try fixing it."
            )?;
            return Ok(false);
        }
        let (size, good) = (outcome.bytes, outcome.good.byte);
        if is_last && !self.arguments.yes {
            write!(
                self.out,
                "This will shrink the AOF {name} from {size} bytes, with {} bytes, to {good} bytes\n\
                 Continue? [y/N]: ",
                size - good
            )?;
            self.out.flush()?;
            let mut answer = String::new();
            stdin().read_line(&mut answer)?;
            if !answer.trim_start().to_ascii_lowercase().starts_with('y') {
                writeln!(self.out, "Aborting...")?;
                return Ok(false);
            }
        }
        self.cut(path, line, good, is_last, &format!("to byte {good}"))
    }

    fn cut(
        &mut self,
        path: &Path,
        line: &FileLine,
        to: u64,
        is_last: bool,
        where_to: &str,
    ) -> io::Result<bool> {
        let name = &line.name;
        if !is_last {
            writeln!(
                self.out,
                "Failed to truncate AOF {name} {where_to} because it is not the last file"
            )?;
            return Ok(false);
        }
        if let Some((manifest_path, manifest)) = &mut self.manifest {
            let before = manifest.clone();
            let lines = manifest.base.iter_mut().chain(&mut manifest.segments);
            for line in lines.filter(|line| line.name == *name) {
                (line.facts.end, line.facts.crc64) = (None, None);
            }
            if *manifest != before {
                let text = manifest.format().map_err(io::Error::other)?;
                AtomicFile::replace(manifest_path, &text).map_err(io::Error::other)?;
            }
        }
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(named(path))?;
        file.set_len(to).map_err(named(path))?;
        file.sync_all().map_err(named(path))?;
        writeln!(self.out, "Successfully truncated AOF {name} {where_to}")?;
        Ok(true)
    }
}

/// Where in a file an offset lies; `u64::MAX` if all of the file stands before it.
fn byte_of(facts: &Facts, offset: u64) -> Result<u64, String> {
    let wanted = i64::try_from(offset).unwrap_or(i64::MAX);
    let Some(start) = facts.start else {
        return Err("the manifest does not say at which offset this file begins".to_owned());
    };
    if facts.end.is_some_and(|Offset(end)| end <= wanted) {
        return Ok(u64::MAX);
    }
    if facts.annotated {
        return Err("annotated segments are cut by time: use --truncate-to-timestamp".to_owned());
    }
    Ok(facts.prelude_bytes + Offset(wanted).since(start))
}

fn named(path: &Path) -> impl Fn(io::Error) -> io::Error + use<'_> {
    |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn has_rdb_part(path: &Path) -> io::Result<bool> {
    Ok(head(path)?.starts_with(b"REDIS"))
}

/// By its name, or because what stands behind its comments begins like a line of one.
fn is_manifest(path: &Path) -> io::Result<bool> {
    let head = head(path)?;
    let mut lines = head.split(|&byte| byte == b'\n');
    let first = lines.find(|line| line.first() != Some(&b'#'));
    let by_name = path
        .extension()
        .is_some_and(|extension| extension == "manifest");
    Ok(by_name || first.is_some_and(|line| line.starts_with(b"file ")))
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(named(path))?;
    file.take(HEAD_BYTES)
        .read_to_end(&mut head)
        .map_err(named(path))?;
    Ok(head)
}

const BASE: &str = "BASE AOF";

/// Enough for the comments in front of a manifest.
const HEAD_BYTES: u64 = 4096;
