//! The log: one line per event, in the form of Redis, to standard output or to `logfile`.
//!
//! ```text
//! 4711:M 05 Jul 2025 12:30:00.123 * Ready to accept connections
//! pid  |                          level: . debug   - verbose   * notice   # warning
//!      role: M master, S replica
//! ```
//!
//! Whoever logs may hold the engine's lock, so a line is only put into a queue; a thread of its own writes it. The queue is
//! bounded: where the disk cannot keep up, lines are dropped and counted. The file is opened for each burst of lines, so
//! that it may be moved away at any time.
//!
//! Started first of all by boot, from where [`init`] is called once; ends with the process, after a last
//! `log::logger().flush()`.

use std::fs::OpenOptions;
use std::io::{self, Write, stdout};
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use log::{Level, Log, Metadata, Record};

use crate::clock::Clock;
use crate::config::Config;
use crate::engine::log_role;
use crate::io::local_time::local_time;

/// Bytes of lines that may wait to be written.
const QUEUE_BYTES_MAX: usize = 1 << 20;

/// How long [`Log::flush`] waits for a disk that does not answer.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// Begins to log as `config` says. A second call changes nothing.
///
/// # Errors
/// `logfile` cannot be opened, or the thread cannot be started.
pub fn init(config: &Config) -> io::Result<()> {
    let file = (!config.logfile.as_os_str().is_empty()).then(|| config.logfile.clone());
    if let Some(file) = &file {
        append(file, b"")?;
    }
    log::set_max_level(config.loglevel.filter());
    if LOGGER.set(Logger::new(Clock::system())).is_err() {
        return Ok(());
    }
    let Some(logger) = LOGGER.get() else {
        return Ok(());
    };
    thread::Builder::new()
        .name("log".into())
        .spawn(move || logger.write_for_ever(file))?;
    if log::set_logger(logger).is_ok() {
        report_panics();
    }
    Ok(())
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// A panic that ends the process is the last thing in the log.
fn report_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        log::error!("The server has met a state that it cannot go on from: {panic}");
        log::logger().flush();
        before(panic);
    }));
}

struct Logger {
    clock: Clock,
    process_id: u32,
    queue: Mutex<Queue>,
    /// The queue has lines.
    filled: Condvar,
    /// The queue has none, and the last ones are written.
    drained: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    dropped: u64,
    writing: bool,
}

impl Logger {
    fn new(clock: Clock) -> Self {
        Logger {
            clock,
            process_id: std::process::id(),
            queue: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_for_ever(&self, file: Option<PathBuf>) {
        loop {
            let mut queue = self.queue();
            while queue.lines.is_empty() {
                queue.writing = false;
                self.drained.notify_all();
                queue = self
                    .filled
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            queue.writing = true;
            let (mut lines, dropped) = (take(&mut queue.lines), take(&mut queue.dropped));
            drop(queue);
            if dropped > 0 {
                let text = format_args!("{dropped} lines of this log were dropped");
                self.line(Level::Warn, text, &mut lines);
            }
            // There is no other place to say that the log cannot be written.
            let _ = match &file {
                Some(file) => append(file, &lines),
                None => stdout().write_all(&lines).and_then(|()| stdout().flush()),
            };
        }
    }

    fn line(&self, level: Level, text: std::fmt::Arguments, out: &mut Vec<u8>) {
        let micros = self.clock.unix_micros();
        let time = local_time(micros.div_euclid(1_000_000));
        // Writing to memory cannot fail.
        let _ = writeln!(
            out,
            "{}:{} {:02} {} {} {:02}:{:02}:{:02}.{:03} {} {text}",
            self.process_id,
            log_role::letter(),
            time.day,
            MONTHS[usize::from(time.month - 1) % 12],
            time.year,
            time.hour,
            time.minute,
            time.second,
            micros.rem_euclid(1_000_000) / 1_000,
            mark(level),
        );
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        // What libraries tell each other is not for the operator.
        metadata.level() <= log::max_level() && metadata.target().starts_with("sluice")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = Vec::with_capacity(128);
        self.line(record.level(), *record.args(), &mut line);
        let mut queue = self.queue();
        if queue.lines.len() + line.len() > QUEUE_BYTES_MAX {
            queue.dropped += 1;
            return;
        }
        queue.lines.extend_from_slice(&line);
        drop(queue);
        self.filled.notify_one();
    }

    fn flush(&self) {
        let queue = self.queue();
        let busy = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        drop(self.drained.wait_timeout_while(queue, FLUSH_PATIENCE, busy));
    }
}

fn append(file: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    file.write_all(lines)
}

fn mark(level: Level) -> char {
    match level {
        Level::Error | Level::Warn => '#',
        Level::Info => '*',
        Level::Debug => '-',
        Level::Trace => '.',
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;

    #[test]
    fn a_line_has_process_role_local_time_and_level() {
        let logger = Logger::new(Clock::manual(UnixMillis(1_721_044_800_042)));
        let mut line = Vec::new();
        logger.line(Level::Info, format_args!("Hello {}", 1), &mut line);
        let line = String::from_utf8(line).unwrap();
        let (head, tail) = line.split_once(' ').unwrap();
        assert_eq!(head, format!("{}:M", std::process::id()));
        assert!(tail[3..].starts_with("Jul 2024 "), "{line}");
        assert!(tail.ends_with(":00.042 * Hello 1\n"), "{line}");
    }

    #[test]
    fn a_full_queue_drops_lines_and_the_writer_says_how_many() {
        let directory = std::env::temp_dir().join(format!("sluice-log-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("log");
        let logger: &'static Logger = Box::leak(Box::new(Logger::new(Clock::system())));
        let long = "x".repeat(QUEUE_BYTES_MAX / 2);
        log::set_max_level(log::LevelFilter::Info);
        for target in ["sluice", "sluice::tasks", "sluice", "other"] {
            let mut record = Record::builder();
            record.level(Level::Info).target(target);
            logger.log(&record.args(format_args!("{long}")).build());
        }
        let writes_to = Some(file.clone());
        thread::spawn(move || logger.write_for_ever(writes_to));
        logger.flush();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.ends_with("# 2 lines of this log were dropped\n"));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
