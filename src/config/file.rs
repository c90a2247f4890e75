//! Configuration files: lines of words, read in order; what is read last counts.
//!
//! The order is file, standard input, command line. `include` stands for the lines of other files, at its place; a
//! relative path is relative to the working directory of the process. Only `save` adds up: its first line drops the
//! default, `save ""` drops all before it, every other line adds. An unknown name is an error, so that no typing mistake
//! goes unnoticed. Every length is bounded: bytes of a file, files in all, files inside each other.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::arguments::Arguments;
use super::kinds::{Kind, system_text};
use super::parameter::{Flag, Parameter, find};
use super::values::{Reason, SavePoint};
use super::{Config, VERSION, words};
use crate::glob;

/// All that the files and the command line say.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// The file that CONFIG REWRITE writes, as an absolute path.
    pub path: Option<PathBuf>,
    /// In order. Whether such commands exist is not known here.
    pub renamed_commands: Vec<RenamedCommand>,
    /// In order. Whether the rules make sense is not known here.
    pub users: Vec<UserLine>,
}

/// `rename-command from to`; an empty `to` takes the command away.
#[derive(Debug)]
pub struct RenamedCommand {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
    pub line: Line,
}

/// `user name rule...`
#[derive(Debug)]
pub struct UserLine {
    pub name: Vec<u8>,
    pub rules: Vec<Vec<u8>>,
    pub line: Line,
}

impl Loaded {
    /// The one line about settings that are accepted and change nothing, if a file has any.
    pub fn warning(&self) -> Option<String> {
        let names = self.config.without_effect();
        (!names.is_empty()).then(|| {
            format!(
                "These settings are accepted, but change nothing here: {}",
                names.join(", ")
            )
        })
    }
}

/// Reads everything that the command line names.
///
/// # Errors
/// The first file that cannot be read, or the first line that is refused. Nothing of what was read counts then.
pub fn load(
    arguments: &Arguments,
    standard_input: &mut dyn Read,
) -> Result<Loaded, ConfigFileError> {
    let mut reader = Reader {
        assembly: Assembly::default(),
        renamed_commands: vec![],
        users: vec![],
        open: vec![],
        files: 0,
    };
    let mut path = None;
    if let Some(file) = &arguments.file {
        // Without a working directory there is no absolute path; opening the file then says what is wrong.
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        reader.file(&absolute, Origin::File)?;
        path = Some(absolute);
    }
    if arguments.standard_input {
        let text =
            read_bounded(standard_input).map_err(|error| unreadable(Path::new("-"), &error))?;
        reader.text(&text, &Origin::StandardInput)?;
    }
    for option in &arguments.options {
        reader.line(Line {
            origin: Origin::CommandLine,
            number: 0,
            text: option.clone(),
        })?;
    }
    let Reader {
        assembly,
        renamed_commands,
        users,
        ..
    } = reader;
    Ok(Loaded {
        config: assembly.config,
        path,
        renamed_commands,
        users,
    })
}

/// A line and where it stands, to tell the operator.
#[derive(Clone, Debug)]
pub struct Line {
    pub origin: Origin,
    /// From 1; without meaning on the command line.
    pub number: usize,
    pub text: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File,
    Included(PathBuf),
    StandardInput,
    CommandLine,
}

impl Line {
    /// The error of this line, for a reason.
    pub fn refused(self, reason: impl Into<Reason>) -> ConfigFileError {
        ConfigFileError::Line {
            line: self,
            reason: reason.into(),
        }
    }
}

/// Why the server does not start.
#[derive(Debug)]
pub enum ConfigFileError {
    Unreadable { path: PathBuf, reason: Reason },
    Line { line: Line, reason: Reason },
}

impl fmt::Display for ConfigFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, reason) = match self {
            ConfigFileError::Unreadable { path, reason } => {
                return write!(
                    f,
                    "Fatal error, can't open config file '{}': {reason}",
                    path.display()
                );
            }
            ConfigFileError::Line { line, reason } => (line, reason),
        };
        writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Sluice {VERSION}) ***")?;
        match &line.origin {
            Origin::File => writeln!(f, "Reading the configuration file, at line {}", line.number)?,
            Origin::Included(path) => {
                writeln!(
                    f,
                    "Reading the configuration file {}, at line {}",
                    path.display(),
                    line.number
                )?;
            }
            Origin::StandardInput => {
                writeln!(f, "Reading the standard input, at line {}", line.number)?
            }
            Origin::CommandLine => writeln!(f, "Reading the command line")?,
        }
        writeln!(f, ">>> '{}'", without_secrets(&line.text))?;
        write!(f, "{reason}")
    }
}

impl std::error::Error for ConfigFileError {}

/// A configuration in the making, to which lines are applied in order.
#[derive(Default)]
pub(super) struct Assembly {
    pub config: Config,
    save_points_given: bool,
}

impl Assembly {
    pub fn apply(
        &mut self,
        parameter: &'static Parameter,
        words: &[Vec<u8>],
    ) -> Result<(), Reason> {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let words = super::unfolded(&words, parameter.kind.takes_words());
        if !matches!(parameter.kind, Kind::SavePoints) {
            return self.config.put(parameter, &words);
        }
        let points = SavePoint::parse(&words)?;
        if points.is_empty() || !self.save_points_given {
            self.config.save.clear();
        }
        self.save_points_given = true;
        self.config.save.extend(points);
        Ok(())
    }
}

/// The meaning of a line's first word, where it is no parameter.
pub(super) const INCLUDE: &[u8] = b"include";
pub(super) const USER: &[u8] = b"user";

struct Reader {
    assembly: Assembly,
    renamed_commands: Vec<RenamedCommand>,
    users: Vec<UserLine>,
    /// The files that are being read, each included by the one before.
    open: Vec<PathBuf>,
    /// Files read so far.
    files: usize,
}

impl Reader {
    fn file(&mut self, path: &Path, origin: Origin) -> Result<(), ConfigFileError> {
        let text = File::open(path)
            .and_then(read_bounded)
            .map_err(|error| unreadable(path, &error))?;
        self.open
            .push(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
        self.text(&text, &origin)?;
        self.open.pop();
        Ok(())
    }

    fn text(&mut self, text: &[u8], origin: &Origin) -> Result<(), ConfigFileError> {
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let text = line.trim_ascii().to_vec();
            self.line(Line {
                origin: origin.clone(),
                number: index + 1,
                text,
            })?;
        }
        Ok(())
    }

    fn line(&mut self, line: Line) -> Result<(), ConfigFileError> {
        if line.text.first() == Some(&b'#') {
            return Ok(());
        }
        let Some(words) = words::split(&line.text) else {
            return Err(line.refused("Unbalanced quotes in configuration line"));
        };
        let Some((name, values)) = words.split_first() else {
            return Ok(());
        };
        if let Some((parameter, _)) = find(name) {
            return self
                .assembly
                .apply(parameter, values)
                .map_err(|reason| line.refused(reason));
        }
        match (name.to_ascii_lowercase().as_slice(), values) {
            (INCLUDE, [pattern]) => self.include(pattern, line),
            (USER, [name, rules @ ..]) => {
                self.users.push(UserLine {
                    name: name.clone(),
                    rules: rules.to_vec(),
                    line,
                });
                Ok(())
            }
            (b"rename-command", [from, to]) => {
                self.renamed_commands.push(RenamedCommand {
                    from: from.clone(),
                    to: to.clone(),
                    line,
                });
                Ok(())
            }
            // Limits of an encoding that lists have not had since Redis 3.2; it still lets them pass.
            (b"list-max-ziplist-entries" | b"list-max-ziplist-value", [_]) => Ok(()),
            (b"loadmodule", [_, ..]) => Err(line.refused("Sluice loads no modules")),
            (b"sentinel", _) => Err(line.refused("sentinel directive while not in sentinel mode")),
            _ => Err(line.refused("Bad directive or wrong number of arguments")),
        }
    }

    fn include(&mut self, pattern: &[u8], line: Line) -> Result<(), ConfigFileError> {
        for path in expand(Path::new(std::ffi::OsStr::from_bytes(pattern))) {
            self.files += 1;
            if self.files > INCLUDED_FILES_MAX {
                return Err(line.refused(format!("more than {INCLUDED_FILES_MAX} included files")));
            }
            if self.open.len() > INCLUDE_DEPTH_MAX {
                return Err(line.refused(format!(
                    "more than {INCLUDE_DEPTH_MAX} files included inside each other"
                )));
            }
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            if self.open.contains(&real) {
                return Err(line.refused(format!("{} includes itself", path.display())));
            }
            self.file(&path, Origin::Included(path.clone()))?;
        }
        Ok(())
    }
}

/// The files that a pattern means, in order of their names. Without wildcards it is the path itself, existing or not.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let wild = |part: &[u8]| part.iter().any(|byte| b"*?[".contains(byte));
    if !wild(pattern.as_os_str().as_bytes()) {
        return vec![pattern.to_owned()];
    }
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let part = component.as_os_str();
        if !matches!(component, Component::Normal(part) if wild(part.as_bytes())) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for parent in found {
            let directory = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &parent
            };
            // A directory that cannot be listed holds nothing that could be included.
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let hidden = name.as_bytes().first() == Some(&b'.')
                    && part.as_bytes().first() != Some(&b'.');
                if !hidden && glob::matches(part.as_bytes(), name.as_bytes(), false) {
                    next.push(parent.join(name));
                }
                if next.len() > INCLUDED_FILES_MAX {
                    break;
                }
            }
        }
        found = next;
    }
    found.retain(|path| path.exists());
    found.sort();
    found
}

fn read_bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    source.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "longer than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(text)
}

fn unreadable(path: &Path, error: &io::Error) -> ConfigFileError {
    ConfigFileError::Unreadable {
        path: path.to_owned(),
        reason: system_text(error),
    }
}

/// The text of a line, for people; what is behind the name of a password is left out.
fn without_secrets(text: &[u8]) -> String {
    let name_length = text
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(text.len());
    let name = &text[..name_length];
    match find(name) {
        Some((parameter, _)) if parameter.has(Flag::Secret) => {
            format!("{} ***", String::from_utf8_lossy(name))
        }
        _ => String::from_utf8_lossy(text).into_owned(),
    }
}

const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const INCLUDED_FILES_MAX: usize = 1000;
const INCLUDE_DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests;
