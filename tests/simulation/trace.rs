//! What happened, one aligned line per event, for a person to read.
//!
//! Nothing is kept unless somebody asks: a failing seed is run a second time with its story recorded. What the engine logs goes
//! into the same story, under the name of the node whose lock is held.

use std::cell::{Cell, RefCell};
use std::sync::Once;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};

thread_local! {
    static STORY: RefCell<Option<Vec<Line>>> = const { RefCell::new(None) };
    static SPEAKER: Cell<&'static str> = const { Cell::new("?") };
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

pub struct Line {
    pub at: Duration,
    /// A node, `a -> b`, or `!`.
    pub who: String,
    pub what: String,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>10.3}  {:<7} {}",
            self.at.as_secs_f64(),
            self.who,
            self.what
        )
    }
}

/// Records from now on, in this thread.
pub fn begin() {
    static LOGGER: Once = Once::new();
    LOGGER.call_once(|| {
        log::set_logger(&Logger).expect("this binary has no other logger");
    });
    log::set_max_level(LevelFilter::Info);
    STORY.with_borrow_mut(|story| *story = Some(Vec::new()));
}

/// Stops, and returns what was recorded.
pub fn end() -> Vec<Line> {
    STORY.take().unwrap_or_default()
}

pub fn is_on() -> bool {
    STORY.with_borrow(Option::is_some)
}

pub fn line(at: Duration, who: &str, what: &str) {
    STORY.with_borrow_mut(|story| {
        if let Some(story) = story {
            story.push(Line {
                at,
                who: who.to_owned(),
                what: what.to_owned(),
            });
        }
    });
}

/// As [`line`], where making the words costs something.
pub fn with(at: Duration, who: impl FnOnce() -> String, what: impl FnOnce() -> String) {
    if is_on() {
        line(at, &who(), &what());
    }
}

/// Takes what has been recorded since the last call, and goes on.
pub fn take() -> Vec<Line> {
    STORY.with_borrow_mut(|story| story.as_mut().map(std::mem::take).unwrap_or_default())
}

/// Whose lock is held from now on.
pub fn speaker(name: &'static str, now: Duration) {
    SPEAKER.set(name);
    NOW.set(now);
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        is_on()
    }

    fn log(&self, record: &Record<'_>) {
        if is_on() {
            line(NOW.get(), SPEAKER.get(), &format!("log: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Requests and lines as they go over the wire: `PING | REPLCONF ACK 57`, cut where they are long.
pub fn shown(bytes: &[u8]) -> String {
    let mut words = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        match request(rest) {
            Some((argv, after)) => {
                words.push(argv.join(" "));
                rest = after;
            }
            None => {
                words.push(plain(rest));
                break;
            }
        }
        if words.len() == 12 && !rest.is_empty() {
            words.push(format!("... {} more bytes", rest.len()));
            break;
        }
    }
    words.join(" | ")
}

/// As [`shown`], for a piece of the stream, which may begin inside a command.
pub fn shown_stream(bytes: &[u8]) -> String {
    match bytes.starts_with(b"*") {
        true => shown(bytes),
        false => format!("({} bytes more)", bytes.len()),
    }
}

fn request(bytes: &[u8]) -> Option<(Vec<String>, &[u8])> {
    let (count, mut rest) = header(bytes, b'*')?;
    let mut argv = Vec::new();
    for _ in 0..count {
        let (length, after) = header(rest, b'$')?;
        let word = after.get(..length)?;
        argv.push(plain(word));
        rest = after.get(length + 2..)?;
    }
    Some((argv, rest))
}

fn header(bytes: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let digits = bytes[..end].strip_prefix(&[kind])?.strip_suffix(b"\r")?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, &bytes[end + 1..]))
}

fn plain(bytes: &[u8]) -> String {
    let trimmed = bytes.strip_suffix(b"\r\n").unwrap_or(bytes);
    let shown = &trimmed[..trimmed.len().min(72)];
    let dots = if shown.len() < trimmed.len() {
        format!("... ({} bytes)", bytes.len())
    } else {
        String::new()
    };
    let text = shown.escape_ascii().to_string().replace("\\'", "'");
    format!("{text}{dots}")
}
