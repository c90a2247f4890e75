//! The kinds of values: how words become a [`Setting`], how a setting is printed, and how a file writes it.
//!
//! A kind knows syntax and range, never a parameter: what the table says about a name stays in the table. Error texts
//! are those of Redis 7.0.15.

use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::events::KeyspaceEvents;
use super::values::{
    BindAddress, ClientClass, MasterAddress, MemoryShare, OutputBufferLimit, Reason, SavePoint,
    Setting, ShutdownOptions, parse_percentiles, parse_scores, percentile_word,
};
use super::words;
use crate::number::{parse_i64, parse_memory_size};

/// The syntax and the range of a parameter's value.
pub enum Kind {
    /// `yes` or `no`, in any case.
    Bool,
    /// Only this one word: what would have to be built for any other is missing, as the reason says.
    Only {
        word: &'static str,
        reason: &'static str,
    },
    /// An integer in `min..=max`. Values outside `kept_min..=kept_max` are moved to the nearer end.
    Int {
        min: i64,
        max: i64,
        kept_min: i64,
        kept_max: i64,
    },
    /// Seconds: a plain number, or a duration as people write it (`90s`, `15min`, `2h 30min`).
    Seconds {
        max: i64,
    },
    /// Bytes, with an optional unit: `1k` is 1000 bytes and `1kb` is 1024, and so on. Below `kept_min` it is `kept_min`.
    Memory {
        min: u64,
        max: u64,
        kept_min: u64,
    },
    /// Bytes, or a share of `maxmemory`.
    MemoryShare,
    /// Permission bits.
    Octal {
        max: u32,
    },
    /// One of these words, in any case.
    Words(&'static [&'static str]),
    /// Any UTF-8 text that the check lets pass.
    Text(fn(&str) -> Result<(), &'static str>),
    /// Any bytes: passwords and user names.
    Bytes,
    /// A directory that exists; kept as its absolute path.
    Directory,
    KeyspaceEvents,
    ShutdownOptions,
    SavePoints,
    Bind,
    OutputBufferLimits,
    Master,
    Percentiles,
    Scores,
}

/// An integer in `min..=max`.
pub const fn int(min: i64, max: i64) -> Kind {
    Kind::Int {
        min,
        max,
        kept_min: min,
        kept_max: max,
    }
}

/// Bytes in `min..=max`.
pub const fn memory(min: u64, max: u64) -> Kind {
    Kind::Memory {
        min,
        max,
        kept_min: min,
    }
}

/// Any UTF-8 text.
pub const TEXT: Kind = Kind::Text(|_| Ok(()));

impl Kind {
    /// Whether the value is several words: CONFIG SET then splits its one argument at spaces.
    pub fn takes_words(&self) -> bool {
        matches!(
            self,
            Kind::ShutdownOptions
                | Kind::SavePoints
                | Kind::Bind
                | Kind::OutputBufferLimits
                | Kind::Master
                | Kind::Percentiles
                | Kind::Scores
        )
    }

    /// The setting that these words mean. `current` matters where words change a part of it.
    pub fn parse(&self, words: &[&[u8]], current: &Setting) -> Result<Setting, Reason> {
        match (self, current) {
            (Kind::SavePoints, _) => SavePoint::parse(words).map(Setting::SavePoints),
            (Kind::Bind, _) => BindAddress::parse(words).map(Setting::Bind),
            (Kind::Master, _) => MasterAddress::parse(words).map(Setting::Master),
            (Kind::Percentiles, _) => parse_percentiles(words).map(Setting::Percentiles),
            (Kind::Scores, _) => parse_scores(words).map(Setting::Scores),
            (Kind::ShutdownOptions, _) => ShutdownOptions::parse(words).map(Setting::Shutdown),
            (Kind::OutputBufferLimits, Setting::OutputBufferLimits(current)) => {
                OutputBufferLimit::parse(words, current).map(Setting::OutputBufferLimits)
            }
            (kind, _) => match words {
                [word] => kind.parse_word(word),
                _ => Err("wrong number of arguments".into()),
            },
        }
    }

    /// The setting of the table's default, which is written as a line of a file would have it.
    ///
    /// # Panics
    /// If the text is not of this kind; a test reads every row of the table.
    pub fn parse_default(&self, text: &'static str) -> Setting {
        if matches!(self, Kind::Directory) {
            // A process may stand in a directory that is gone; the first write will then say so.
            let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
            return Setting::Text(here.into_os_string().into_encoded_bytes());
        }
        let words =
            words::split(text.as_bytes()).expect("the defaults of the table have balanced quotes");
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let none = OutputBufferLimit {
            hard_bytes: 0,
            soft_bytes: 0,
            soft_seconds: 0,
        };
        self.parse(&words, &Setting::OutputBufferLimits([none; 3]))
            .unwrap_or_else(|reason| {
                panic!("the default {text:?} of the table is refused: {reason}")
            })
    }

    fn parse_word(&self, word: &[u8]) -> Result<Setting, Reason> {
        match self {
            Kind::Bool if word.eq_ignore_ascii_case(b"yes") => Ok(Setting::Bool(true)),
            Kind::Bool if word.eq_ignore_ascii_case(b"no") => Ok(Setting::Bool(false)),
            Kind::Bool => Err("argument must be 'yes' or 'no'".into()),
            Kind::Only { word: only, .. } if word.eq_ignore_ascii_case(only.as_bytes()) => {
                Ok(Setting::Word(only))
            }
            Kind::Only { word, reason } => Err(format!("argument must be '{word}': {reason}")),
            Kind::Int {
                min,
                max,
                kept_min,
                kept_max,
            } => {
                let number =
                    parse_i64(word).ok_or("argument couldn't be parsed into an integer")?;
                let number = in_range(number, *min, *max)?;
                Ok(Setting::Number(number.clamp(*kept_min, *kept_max).into()))
            }
            Kind::Seconds { max } => {
                let seconds =
                    seconds(word).ok_or("argument must be a number of seconds or a duration")?;
                Ok(Setting::Number(in_range(seconds, 0, *max)?.into()))
            }
            Kind::Memory { min, max, kept_min } => {
                let bytes = parse_memory_size(word).ok_or("argument must be a memory value")?;
                Ok(Setting::Number(
                    in_range(bytes, *min, *max)?.max(*kept_min).into(),
                ))
            }
            Kind::Octal { max } => {
                let bits = octal(word).ok_or("argument couldn't be parsed as an octal number")?;
                if bits > *max {
                    return Err(format!("argument must be between 0 and {max:o} inclusive"));
                }
                Ok(Setting::Number(bits.into()))
            }
            Kind::Words(known) => {
                let found = known
                    .iter()
                    .find(|known| word.eq_ignore_ascii_case(known.as_bytes()));
                let unknown = || {
                    format!(
                        "argument(s) must be one of the following: {}",
                        known.join(", ")
                    )
                };
                found.map(|word| Setting::Word(word)).ok_or_else(unknown)
            }
            Kind::Text(check) => {
                let text = std::str::from_utf8(word).map_err(|_| "argument must be UTF-8 text")?;
                check(text)?;
                Ok(Setting::Text(word.to_vec()))
            }
            Kind::Bytes => Ok(Setting::Text(word.to_vec())),
            Kind::MemoryShare => MemoryShare::parse(word).map(Setting::MemoryShare),
            Kind::KeyspaceEvents => KeyspaceEvents::parse(word).map(Setting::Events),
            Kind::Directory => directory(word),
            _ => unreachable!("kinds of several words have their own parser"),
        }
    }

    /// The text that CONFIG GET prints.
    pub fn print(&self, setting: &Setting) -> Vec<u8> {
        let text = match setting {
            Setting::Bool(on) => if *on { "yes" } else { "no" }.to_owned(),
            Setting::Number(number) if matches!(self, Kind::Octal { .. }) => format!("{number:o}"),
            Setting::Number(number) => number.to_string(),
            Setting::Word(word) => (*word).to_owned(),
            Setting::Text(bytes) => return bytes.clone(),
            Setting::MemoryShare(MemoryShare::Bytes(bytes)) => bytes.to_string(),
            Setting::MemoryShare(MemoryShare::Percent(percent)) => format!("{percent}%"),
            Setting::SavePoints(points) => SavePoint::words(points).join(" "),
            Setting::Bind(addresses) => join(addresses.iter().map(BindAddress::word)),
            Setting::OutputBufferLimits(limits) => join(ClientClass::ALL.map(|class| {
                let limit = limits[class as usize];
                let OutputBufferLimit {
                    hard_bytes,
                    soft_bytes,
                    soft_seconds,
                } = limit;
                format!(
                    "{} {hard_bytes} {soft_bytes} {soft_seconds}",
                    class.word_in_get()
                )
            })),
            Setting::Master(None) => String::new(),
            Setting::Master(Some(master)) => format!("{} {}", master.host, master.port),
            Setting::Events(events) => events.letters(),
            Setting::Percentiles(percentiles) => {
                join(percentiles.iter().map(|&number| percentile_word(number)))
            }
            Setting::Scores(scores) => join(scores),
            Setting::Shutdown(options) => options.words().join(" "),
        };
        text.into_bytes()
    }

    /// The lines of a file that give this setting, without the parameter's name; none where absence says it.
    pub fn lines(&self, setting: &Setting) -> Vec<Vec<u8>> {
        let number_of_bytes = matches!(self, Kind::Memory { .. });
        match setting {
            Setting::Number(bytes) if number_of_bytes => {
                vec![memory_word(*bytes as u64).into_bytes()]
            }
            Setting::MemoryShare(MemoryShare::Bytes(bytes)) => {
                vec![memory_word(*bytes).into_bytes()]
            }
            Setting::SavePoints(points) if !points.is_empty() => SavePoint::words(points)
                .into_iter()
                .map(String::into_bytes)
                .collect(),
            Setting::OutputBufferLimits(limits) => {
                let line = |class: &ClientClass| {
                    let limit = limits[*class as usize];
                    let (hard, soft) =
                        (memory_word(limit.hard_bytes), memory_word(limit.soft_bytes));
                    format!("{} {hard} {soft} {}", class.word(), limit.soft_seconds).into_bytes()
                };
                ClientClass::ALL.iter().map(line).collect()
            }
            Setting::Master(None) => Vec::new(),
            Setting::Master(Some(master)) => {
                let mut line = words::quoted_if_needed(master.host.as_bytes());
                line.extend(format!(" {}", master.port).into_bytes());
                vec![line]
            }
            Setting::Bind(addresses) if !addresses.is_empty() => {
                let quoted =
                    |address: &BindAddress| words::quoted_if_needed(address.word().as_bytes());
                vec![addresses.iter().map(quoted).collect::<Vec<_>>().join(&b' ')]
            }
            _ => {
                let text = self.print(setting);
                let several_words = self.takes_words() && !text.is_empty();
                vec![if several_words {
                    text
                } else {
                    words::quoted_if_needed(&text)
                }]
            }
        }
    }
}

/// Bytes in the largest unit that divides them.
fn memory_word(bytes: u64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

fn seconds(word: &[u8]) -> Option<i64> {
    if let Some(number) = parse_i64(word) {
        return Some(number);
    }
    let duration = humantime::parse_duration(std::str::from_utf8(word).ok()?).ok()?;
    (duration.subsec_nanos() == 0)
        .then_some(duration.as_secs())?
        .try_into()
        .ok()
}

fn octal(word: &[u8]) -> Option<u32> {
    let digits = !word.is_empty() && word.iter().all(|byte| (b'0'..=b'7').contains(byte));
    let text = std::str::from_utf8(word).ok().filter(|_| digits)?;
    u32::from_str_radix(text, 8).ok()
}

fn directory(word: &[u8]) -> Result<Setting, Reason> {
    let path = Path::new(std::ffi::OsStr::from_bytes(word));
    let path = path.canonicalize().map_err(|error| system_text(&error))?;
    if !path.is_dir() {
        return Err("Not a directory".into());
    }
    Ok(Setting::Text(path.into_os_string().into_encoded_bytes()))
}

/// What the system says of an error, without the number that the standard library puts behind it.
pub(super) fn system_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .map_or_else(String::new, str::to_owned)
}

fn in_range<N: PartialOrd + Display>(number: N, min: N, max: N) -> Result<N, Reason> {
    if number < min || number > max {
        return Err(format!(
            "argument must be between {min} and {max} inclusive"
        ));
    }
    Ok(number)
}

fn join<W: ToString>(words: impl IntoIterator<Item = W>) -> String {
    words
        .into_iter()
        .map(|word| word.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn bool_is_never_asked() -> Setting {
        Setting::Bool(false)
    }

    fn parse(kind: &Kind, word: &str) -> Result<Setting, Reason> {
        kind.parse(&[word.as_bytes()], &bool_is_never_asked())
    }

    #[test]
    fn bytes_are_written_in_the_largest_unit_that_divides_them() {
        for bytes in [0, 1, 1000, 1024, 1025, 3 << 20, 5 << 30, u64::MAX] {
            assert_eq!(
                parse_memory_size(memory_word(bytes).as_bytes()),
                Some(bytes)
            );
        }
        assert_eq!(memory_word(3 << 20), "3mb");
        assert_eq!(memory_word(5000), "5000");
    }

    #[test]
    fn seconds_are_a_number_or_a_duration() {
        let kind = Kind::Seconds { max: 100_000 };
        for (word, expected) in [("90", 90), ("90s", 90), ("15min", 900), ("2h 30min", 9000)] {
            assert_eq!(parse(&kind, word), Ok(Setting::Number(expected)));
        }
        for word in ["-1", "1ms", "x", "", "2days"] {
            assert!(parse(&kind, word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_directory_exists_and_becomes_absolute() {
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        let expected = Setting::Text(here.into_os_string().into_encoded_bytes());
        assert_eq!(parse(&Kind::Directory, "."), Ok(expected));
        assert_eq!(
            parse(&Kind::Directory, "/no/such"),
            Err("No such file or directory".into())
        );
        assert_eq!(
            parse(&Kind::Directory, "/dev/null"),
            Err("Not a directory".into())
        );
    }

    #[test]
    fn random_words_never_panic_and_what_is_accepted_reads_back() {
        const KINDS: [Kind; 12] = [
            Kind::Bool,
            int(-5, 300),
            Kind::Seconds { max: 99 },
            memory(0, u64::MAX),
            Kind::MemoryShare,
            Kind::Octal { max: 0o777 },
            Kind::KeyspaceEvents,
            Kind::ShutdownOptions,
            Kind::SavePoints,
            Kind::Bind,
            Kind::Percentiles,
            Kind::Scores,
        ];
        let pieces = [
            "1", "-", "%", "g", "kb", "0", "yes", "KE", "A", ".", "now", "save", "\u{ff}", "5",
            "9", "s",
        ];
        let mut random = Random::from_seed(13);
        for _ in 0..20_000 {
            let kind = &KINDS[random.below(KINDS.len() as u64) as usize];
            let mut word = || -> String {
                (0..random.below(4))
                    .map(|_| pieces[random.below(pieces.len() as u64) as usize])
                    .collect()
            };
            let words = [word(), word(), word()];
            let count = random.below(4) as usize;
            let words: Vec<&[u8]> = words[..count].iter().map(|word| word.as_bytes()).collect();
            if let Ok(setting) = kind.parse(&words, &bool_is_never_asked()) {
                let mut file_words = Vec::new();
                for line in kind.lines(&setting) {
                    file_words.extend(words::split(&line).unwrap());
                }
                let file_words: Vec<&[u8]> = file_words.iter().map(Vec::as_slice).collect();
                assert_eq!(kind.parse(&file_words, &setting), Ok(setting), "{words:?}");
            }
        }
    }
}
