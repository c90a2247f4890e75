//! The command line of `sluice-server`: `[file] [--name value ...] [-]`, read as redis-server 7 reads it.
//!
//! Each option becomes a line of configuration, which is then read like any line of a file, after the file and the
//! standard input. An option is one argument (`"--save 60 100"`) or several (`--save 60 100`); what follows a bare name
//! is its value even if it begins with dashes, as passwords may.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::words;
use super::{REDIS_VERSION, VERSION};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    Serve(Arguments),
    /// Print this and stop, with success.
    Print(String),
}

/// Where the settings come from, in the order in which they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    pub file: Option<PathBuf>,
    /// Read settings from the standard input too.
    pub standard_input: bool,
    /// Lines of configuration.
    pub options: Vec<Vec<u8>>,
}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// A sentence for the operator, where they ask for something that this server does not do.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, String> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match arguments.first().map(|first| first.as_bytes()) {
        Some(b"-v" | b"--version") => return Ok(Invocation::Print(version())),
        Some(b"-h" | b"--help") => return Ok(Invocation::Print(help())),
        Some(b"--test-memory") => {
            return Err("Sluice does not test memory; memtester and memtest86 do.".into());
        }
        Some(b"--check-system") => {
            return Err("Sluice has no system check; it needs no tuning of the kernel.".into());
        }
        _ => {}
    }
    if arguments.iter().any(|argument| argument == "--sentinel") {
        return Err("Sluice is no Sentinel; redis-sentinel can watch over Sluice.".into());
    }

    let mut parsed = Arguments::default();
    let mut rest = arguments.as_slice();
    if let [first, others @ ..] = rest
        && first.as_bytes().first() != Some(&b'-')
    {
        parsed.file = Some(PathBuf::from(first));
        rest = others;
    }
    if let [first, others @ ..] = rest
        && first == "-"
    {
        parsed.standard_input = true;
        rest = others;
    }
    if let [others @ .., last] = rest
        && last == "-"
    {
        parsed.standard_input = true;
        rest = others;
    }
    parsed.options = options(rest);
    Ok(Invocation::Serve(parsed))
}

fn options(arguments: &[OsString]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut has_value = true;
    for argument in arguments {
        let argument = argument.as_bytes();
        let name = argument
            .strip_prefix(b"--")
            .filter(|_| has_value || takes_nothing(lines.last()));
        match (name, lines.last_mut()) {
            (Some(name), last) => {
                if let Some(last) = last.filter(|_| !has_value) {
                    last.extend(b" \"\"");
                }
                has_value = words::split(name).is_none_or(|words| words.len() != 1);
                lines.push(name.to_vec());
            }
            (None, Some(line)) => {
                line.push(b' ');
                line.extend(words::quoted(argument));
                has_value = true;
            }
            (None, None) => lines.push(words::quoted(argument)),
        }
    }
    if !has_value && takes_nothing(lines.last()) {
        lines
            .last_mut()
            .expect("takes_nothing has just seen it")
            .extend(b" \"\"");
    }
    lines
}

/// `--save` with nothing behind it switches snapshots off; no other name goes without a value.
fn takes_nothing(line: Option<&Vec<u8>>) -> bool {
    line.is_some_and(|line| line.eq_ignore_ascii_case(b"save"))
}

fn version() -> String {
    let bits = usize::BITS;
    format!(
        "Sluice server v={VERSION} malloc=jemalloc bits={bits} (redis {REDIS_VERSION} compatible)\n"
    )
}

fn help() -> String {
    "\
Usage: sluice-server [/path/to/sluice.conf] [options] [-]
       sluice-server - (read settings from the standard input)
       sluice-server -v or --version
       sluice-server -h or --help

An option is --name value, for every name that the configuration file knows. Options count more than the standard
input, and that counts more than the file.

Examples:
       sluice-server (serve with the defaults, on port 6379)
       echo 'maxmemory 128mb' | sluice-server -
       sluice-server /etc/sluice/sluice.conf
       sluice-server --port 7777 --replicaof 127.0.0.1 6379
       sluice-server /etc/sluice/sluice.conf --loglevel verbose --save 3600 1 300 100
       sluice-server --save \"\" --appendonly yes
"
    .to_owned()
}

impl<const COUNT: usize> From<[&str; COUNT]> for Arguments {
    /// Options alone: each text is a line of configuration.
    fn from(lines: [&str; COUNT]) -> Self {
        let options = lines.map(|line| OsString::from(line).into_vec()).to_vec();
        Arguments {
            options,
            ..Arguments::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(arguments: &[&str]) -> Arguments {
        match parse(arguments.iter().map(OsString::from)).unwrap() {
            Invocation::Serve(arguments) => arguments,
            Invocation::Print(text) => panic!("{arguments:?} prints {text}"),
        }
    }

    fn check(arguments: &[&str], options: &[&str]) {
        let lines = served(arguments).options;
        let lines: Vec<_> = lines
            .iter()
            .map(|line| String::from_utf8_lossy(line))
            .collect();
        assert_eq!(lines, options, "{arguments:?}");
    }

    #[test]
    fn options_are_lines_of_configuration() {
        check(&[], &[]);
        check(
            &["--port", "7000", "--save", "3600", "1"],
            &[r#"port "7000""#, r#"save "3600" "1""#],
        );
        check(&["--port 7000", "--hz 20"], &["port 7000", "hz 20"]);
        check(
            &["--save 5 6", "7", "8", "--hz", "20"],
            &[r#"save 5 6 "7" "8""#, r#"hz "20""#],
        );
        check(&["--requirepass", "a b\"c"], &[r#"requirepass "a b\"c""#]);
    }

    #[test]
    fn the_first_value_may_begin_with_dashes() {
        check(
            &["--requirepass", "--foo", "--hz", "1"],
            &[r#"requirepass "--foo""#, r#"hz "1""#],
        );
        check(
            &["--maxmemory", "--hz", "10"],
            &[r#"maxmemory "--hz" "10""#],
        );
        check(&["--hz"], &["hz"]);
        check(&["--hz", "-5"], &[r#"hz "-5""#]);
    }

    #[test]
    fn save_alone_switches_snapshots_off() {
        check(&["--save", "--hz", "30"], &[r#"save """#, r#"hz "30""#]);
        check(&["--hz", "30", "--save"], &[r#"hz "30""#, r#"save """#]);
        check(&["--save", "", "--hz", "30"], &[r#"save """#, r#"hz "30""#]);
        check(
            &["--save", "--save", "5", "6"],
            &[r#"save """#, r#"save "5" "6""#],
        );
    }

    #[test]
    fn a_file_comes_first_and_a_dash_first_or_last() {
        assert_eq!(served(&["a.conf"]).file, Some("a.conf".into()));
        assert_eq!(served(&["--port", "1"]).file, None);
        for arguments in [
            &["-"][..],
            &["a.conf", "-"],
            &["a.conf", "-", "--hz", "1"],
            &["a.conf", "--hz", "1", "-"],
        ] {
            assert!(served(arguments).standard_input, "{arguments:?}");
        }
        let middle = served(&["--hz", "1", "-", "--port", "2"]);
        assert!(!middle.standard_input);
        assert_eq!(middle.options[0], br#"hz "1" "-""#);
        check(&["-x"], &["\"-x\""]);
    }

    #[test]
    fn version_and_help_are_printed_and_foreign_modes_refused() {
        for (argument, part) in [
            ("-v", "Sluice server v="),
            ("--version", "compatible"),
            ("--help", "Usage:"),
        ] {
            let Ok(Invocation::Print(text)) = parse([OsString::from(argument)]) else {
                panic!("{argument} prints");
            };
            assert!(text.contains(part), "{text}");
        }
        for argument in ["--sentinel", "--check-system", "--test-memory"] {
            assert!(parse([OsString::from(argument)]).is_err());
        }
        assert!(parse(["a.conf".into(), "--sentinel".into()]).is_err());
    }
}
