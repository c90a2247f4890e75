//! `sluice check-rdb`: reads a file as deeply as loading does, and reports in the manner of `redis-check-rdb`.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write, stderr};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use sluice::clock::Clock;
use sluice::config::Config;
use sluice::rdb::error::{During, RdbError};
use sluice::rdb::value_decoder::Limits;
use sluice::snapshot::check::{Checker, Note, Totals, doing};
use sluice::types::Type;

/// Writes the report to `out`; true if the file is whole and sound.
pub fn check_rdb(path: &Path, out: &mut dyn Write) -> io::Result<bool> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut file = File::open(path).map_err(named)?;
    let length = file.metadata().map_err(named)?.len();
    writeln!(out, "[offset 0] Checking RDB file {}", path.display())?;
    let limits = Limits::of(&Config::default());
    let mut checker = Checker::new(limits, Some(length), Clock::system().unix_millis());
    let bar = progress_bar(length);
    let mut buffer = vec![0; 256 * 1024];
    let mut lines = Vec::new();
    let checked = loop {
        let read = match file.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(named(error)),
        };
        let note = |at, note| describe(at, &note, &mut lines);
        let checked = match read {
            0 => checker.close(note),
            _ => checker.feed(&buffer[..read], note),
        };
        bar.set_position(checker.offset());
        for line in lines.drain(..) {
            bar.suspend(|| writeln!(out, "{line}"))?;
        }
        if checked.is_err() || checker.is_done() {
            break checked;
        }
    };
    bar.finish_and_clear();
    match &checked {
        Ok(()) => {
            let offset = checker.offset();
            if checker
                .version()
                .is_some_and(|version| version.has_checksum())
            {
                writeln!(out, "[offset {offset}] Checksum OK")?;
            }
            writeln!(out, "[offset {offset}] \\o/ RDB looks OK! \\o/")?;
            if offset < length {
                writeln!(
                    out,
                    "[info] {} bytes behind the end are not read",
                    length - offset
                )?;
            }
        }
        Err(error) => report_error(error, &checker, out)?,
    }
    report_totals(checker.totals(), out)?;
    Ok(checked.is_ok())
}

fn describe(at: u64, note: &Note, lines: &mut Vec<String>) {
    lines.push(match note {
        Note::Aux { name, value } => format!(
            "[offset {at}] AUX FIELD {} = '{}'",
            name.escape_ascii(),
            value.escape_ascii()
        ),
        Note::Database(db) => format!("[offset {at}] Selecting DB ID {db}"),
    });
}

pub fn report_error(error: &RdbError, checker: &Checker, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "--- RDB ERROR DETECTED ---")?;
    writeln!(out, "[offset {}] {}", error.at, error.problem)?;
    writeln!(
        out,
        "[additional info] While doing: {}",
        doing(&error.during)
    )?;
    if let During::Value(key) = &error.during {
        writeln!(
            out,
            "[additional info] Reading key '{}'",
            key.escape_ascii()
        )?;
        if let Some(value_type) = checker.value_type() {
            let (number, name) = (value_type as u8, value_type.name());
            writeln!(out, "[additional info] Reading type {number} ({name})")?;
        }
    }
    Ok(())
}

fn report_totals(totals: &Totals, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "[info] {} keys read", totals.keys)?;
    writeln!(out, "[info] {} expires", totals.expires)?;
    writeln!(out, "[info] {} already expired", totals.expired)?;
    if totals.empty > 0 {
        writeln!(
            out,
            "[info] {} without elements, skipped when loaded",
            totals.empty
        )?;
    }
    for (of, of_type) in Totals::TYPES.iter().zip(&totals.types) {
        if of_type.keys > 0 {
            let unit = match of {
                Type::String => "bytes",
                Type::Hash => "fields",
                Type::Set | Type::SortedSet => "members",
                Type::List => "elements",
            };
            let (name, keys, elements) = (of.name(), of_type.keys, of_type.elements);
            let (bytes, expires) = (of_type.bytes, of_type.expires);
            writeln!(
                out,
                "[info] {name}: {keys} keys, {elements} {unit}, {bytes} bytes in the file, {expires} expires"
            )?;
        }
    }
    Ok(())
}

/// Drawn on standard error, if somebody is there to look at it.
pub fn progress_bar(bytes: u64) -> ProgressBar {
    let target = match stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(bytes), target);
    let style =
        ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
