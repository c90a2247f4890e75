//! The types that settings have inside the server, each with the syntax that people write it in.
//!
//! `parse` takes the words behind the parameter's name and answers with the reason why they will not do, in the words
//! of Redis 7.0.15; `words` gives the text that CONFIG GET prints. The bridge between these types and the table is
//! [`Field`].

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::events::KeyspaceEvents;
use crate::number::{parse_i64, parse_memory_size};

/// Why a value is refused: the end of the sentence that a client or the operator reads.
pub type Reason = String;

/// The value of any parameter, as the table handles it.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    Bool(bool),
    /// Every integer: plain, memory in bytes, seconds, octal.
    Number(i128),
    /// One of the words of an enumeration, in the spelling of the table.
    Word(&'static str),
    Text(Vec<u8>),
    MemoryShare(MemoryShare),
    SavePoints(Vec<SavePoint>),
    Bind(Vec<BindAddress>),
    OutputBufferLimits([OutputBufferLimit; 3]),
    Master(Option<MasterAddress>),
    Events(KeyspaceEvents),
    Percentiles(Vec<f64>),
    Scores([i32; 3]),
    Shutdown(ShutdownOptions),
}

/// A type that a field of [`Config`](super::Config) can have.
pub trait Field {
    /// # Panics
    /// If the table gives the field a kind that does not fit its type; a test reads every row.
    fn from_setting(setting: Setting) -> Self;
    fn to_setting(&self) -> Setting;
}

/// A closed list of words, with the enumeration that the engine matches on. Further words behind `|` are read but never
/// printed.
macro_rules! choices {
    ($($(#[$about:meta])* pub enum $name:ident { $($variant:ident = $word:literal $(| $other:literal)*),+ $(,)? })+) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const WORDS: &'static [&'static str] = &[$($word $(, $other)*),+];

            /// The word that CONFIG GET prints.
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl Field for $name {
            fn from_setting(setting: Setting) -> Self {
                match setting {
                    $(Setting::Word($word $(| $other)*) => $name::$variant,)+
                    other => unreachable!("{other:?} is not a word of {}", stringify!($name)),
                }
            }

            fn to_setting(&self) -> Setting {
                Setting::Word(self.word())
            }
        }
    )+};
}

choices! {
    /// When the AOF is forced to disk.
    pub enum AppendFsync { Everysec = "everysec", Always = "always", No = "no" }

    /// What becomes of an RDB file that is newer than the AOF and does not belong to it.
    pub enum NewerRdb { Refuse = "refuse", Load = "load", Ignore = "ignore" }

    /// What becomes of a replica that is further behind than memory may keep for it.
    pub enum SlowReplica { Disk = "disk", Drop = "drop" }

    /// What to drop when `maxmemory` is reached.
    pub enum MaxmemoryPolicy {
        VolatileLru = "volatile-lru",
        VolatileLfu = "volatile-lfu",
        VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl",
        AllkeysLru = "allkeys-lru",
        AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random",
        Noeviction = "noeviction",
    }

    /// How a replica loads a snapshot that arrives without a file.
    pub enum DisklessLoad {
        Disabled = "disabled",
        OnEmptyDb = "on-empty-db",
        Swapdb = "swapdb",
        Flushdb = "flushdb" | "flush-before-load",
    }

    /// What is worth a line in the log.
    pub enum LogLevel {
        Debug = "debug",
        Verbose = "verbose",
        Notice = "notice",
        Warning = "warning",
        Nothing = "nothing",
    }

    /// Who may use a dangerous command: nobody, everybody, or connections from this machine.
    pub enum Permission { No = "no", Yes = "yes", Local = "local" }

    /// The channels that a new ACL user may use.
    pub enum PubsubDefault { Allchannels = "allchannels", Resetchannels = "resetchannels" }
}

impl LogLevel {
    /// The level of the `log` crate from which on lines are written: verbose is its `debug`, notice its `info`.
    pub fn filter(self) -> log::LevelFilter {
        match self {
            LogLevel::Debug => log::LevelFilter::Trace,
            LogLevel::Verbose => log::LevelFilter::Debug,
            LogLevel::Notice => log::LevelFilter::Info,
            LogLevel::Warning => log::LevelFilter::Warn,
            LogLevel::Nothing => log::LevelFilter::Off,
        }
    }
}

impl Permission {
    /// Whether a connection may; `local` says that it came over loopback or the Unix socket.
    pub fn allows(self, local: bool) -> bool {
        self == Permission::Yes || (self == Permission::Local && local)
    }
}

/// Take a snapshot when `changes` writes have gathered and `seconds` have passed since the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    pub seconds: u64,
    pub changes: u64,
}

impl SavePoint {
    /// No word, or one empty word, is no save point.
    pub fn parse(words: &[&[u8]]) -> Result<Vec<SavePoint>, Reason> {
        let invalid = || Reason::from("Invalid save parameters");
        if matches!(words, [] | [[]]) {
            return Ok(Vec::new());
        }
        if !words.len().is_multiple_of(2) || words.len() / 2 > SAVE_POINTS_MAX {
            return Err(invalid());
        }
        let number = |word: &[u8], min| {
            parse_i64(word)
                .filter(|&number| number >= min)
                .map(|number| number as u64)
        };
        let point = |pair: &[&[u8]]| {
            Some(SavePoint {
                seconds: number(pair[0], 1)?,
                changes: number(pair[1], 0)?,
            })
        };
        words
            .chunks_exact(2)
            .map(point)
            .collect::<Option<_>>()
            .ok_or_else(invalid)
    }

    pub fn words(points: &[SavePoint]) -> Vec<String> {
        points
            .iter()
            .map(|point| format!("{} {}", point.seconds, point.changes))
            .collect()
    }
}

/// An address to listen on: an IPv4 or IPv6 address, a host name, `*` for every IPv4 and `::*` for every IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAddress {
    pub address: String,
    /// Written with a leading `-`: the server starts even where this address does not exist.
    pub optional: bool,
}

impl BindAddress {
    /// No word, or one empty word, is no TCP listener.
    pub fn parse(words: &[&[u8]]) -> Result<Vec<BindAddress>, Reason> {
        if matches!(words, [] | [[]]) {
            return Ok(Vec::new());
        }
        if words.len() > BIND_ADDRESSES_MAX {
            return Err("Too many bind addresses specified.".into());
        }
        let address = |word: &&[u8]| {
            let text = std::str::from_utf8(word).ok()?;
            let bare = text.strip_prefix('-');
            let address = bare.unwrap_or(text);
            (!address.is_empty()).then(|| BindAddress {
                address: address.to_owned(),
                optional: bare.is_some(),
            })
        };
        let failed = "Failed to bind to specified addresses.";
        words
            .iter()
            .map(address)
            .collect::<Option<_>>()
            .ok_or_else(|| failed.into())
    }

    pub fn word(&self) -> String {
        format!("{}{}", if self.optional { "-" } else { "" }, self.address)
    }
}

/// Which of the three limits of `client-output-buffer-limit` holds for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientClass {
    Normal = 0,
    Replica = 1,
    Pubsub = 2,
}

impl ClientClass {
    pub const ALL: [ClientClass; 3] = [
        ClientClass::Normal,
        ClientClass::Replica,
        ClientClass::Pubsub,
    ];

    /// The word in CONFIG GET, where replicas keep their old name.
    pub fn word_in_get(self) -> &'static str {
        ["normal", "slave", "pubsub"][self as usize]
    }

    /// The word in a file.
    pub fn word(self) -> &'static str {
        ["normal", "replica", "pubsub"][self as usize]
    }
}

/// How many bytes of replies may wait for one client. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputBufferLimit {
    /// Closed at once above this.
    pub hard_bytes: u64,
    /// Closed after `soft_seconds` in a row above this.
    pub soft_bytes: u64,
    pub soft_seconds: u64,
}

impl OutputBufferLimit {
    /// Groups of `class hard soft seconds`; a class that is not named keeps its limit in `current`.
    pub fn parse(words: &[&[u8]], current: &[Self; 3]) -> Result<[Self; 3], Reason> {
        if !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        let mut limits = *current;
        for group in words.chunks_exact(4) {
            let class = match group[0].to_ascii_lowercase().as_slice() {
                b"normal" => ClientClass::Normal,
                b"slave" | b"replica" => ClientClass::Replica,
                b"pubsub" => ClientClass::Pubsub,
                _ => {
                    return Err(
                        "Invalid client class specified in buffer limit configuration.".into(),
                    );
                }
            };
            let limit = || {
                Some(OutputBufferLimit {
                    hard_bytes: parse_memory_size(group[1])?,
                    soft_bytes: parse_memory_size(group[2])?,
                    soft_seconds: parse_i64(group[3])?.try_into().ok()?,
                })
            };
            let invalid =
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
            limits[class as usize] = limit().ok_or(invalid)?;
        }
        Ok(limits)
    }
}

/// Where the master of this replica listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterAddress {
    pub host: String,
    pub port: u16,
}

impl MasterAddress {
    /// `no one` in any case is no master.
    pub fn parse(words: &[&[u8]]) -> Result<Option<MasterAddress>, Reason> {
        let &[host, port] = words else {
            return Err("wrong number of arguments".into());
        };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            return Ok(None);
        }
        let port = parse_i64(port)
            .and_then(|port| port.try_into().ok())
            .ok_or("Invalid master port")?;
        let host = std::str::from_utf8(host)
            .ok()
            .filter(|host| !host.is_empty())
            .ok_or("Invalid master host")?;
        Ok(Some(MasterAddress {
            host: host.to_owned(),
            port,
        }))
    }
}

/// A number of bytes, or a share of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryShare {
    Bytes(u64),
    Percent(u8),
}

impl MemoryShare {
    pub fn parse(word: &[u8]) -> Result<MemoryShare, Reason> {
        let neither = || Reason::from("argument must be a memory or percent value");
        let Some(percent) = word.strip_suffix(b"%") else {
            return parse_memory_size(word)
                .map(MemoryShare::Bytes)
                .ok_or_else(neither);
        };
        match parse_i64(percent).ok_or_else(neither)? {
            0 => Ok(MemoryShare::Bytes(0)),
            percent @ 1..=100 => Ok(MemoryShare::Percent(percent as u8)),
            101.. => Err("percentage argument must be less or equal to 100".into()),
            _ => Err(neither()),
        }
    }

    /// Bytes, where the whole is `total_bytes`; 0 is no limit.
    pub fn of(self, total_bytes: u64) -> u64 {
        match self {
            MemoryShare::Bytes(bytes) => bytes,
            MemoryShare::Percent(percent) => {
                (u128::from(total_bytes) * u128::from(percent) / 100) as u64
            }
        }
    }
}

/// How many elements of a list go into one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListpackSize(pub i32);

/// What [`ListpackSize`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListpackLimit {
    Bytes(usize),
    Entries(usize),
}

impl ListpackSize {
    /// -1 to -5 are 4 to 64 KiB, and anything below -5 is -5; a positive number counts entries, and 0 means one.
    pub fn limit(self) -> ListpackLimit {
        match self.0 {
            negative @ ..0 => ListpackLimit::Bytes(2048 << (-negative.max(-5))),
            entries => ListpackLimit::Entries(entries.max(1) as usize),
        }
    }
}

/// What SIGINT and SIGTERM do: the options of SHUTDOWN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// Save, or do not; `None` decides by the save points.
    pub save: Option<bool>,
    /// Do not wait for lagging replicas.
    pub now: bool,
    /// Ignore errors that would otherwise stop the shutdown.
    pub force: bool,
}

impl ShutdownOptions {
    pub const WORDS: &'static [&'static str] = &["default", "save", "nosave", "now", "force"];

    pub fn parse(words: &[&[u8]]) -> Result<Self, Reason> {
        let unknown = || {
            format!(
                "argument(s) must be one of the following: {}",
                Self::WORDS.join(", ")
            )
        };
        if words.is_empty() {
            return Err(unknown());
        }
        let mut options = ShutdownOptions::default();
        for word in words {
            match word.to_ascii_lowercase().as_slice() {
                b"default" => {}
                b"now" => options.now = true,
                b"force" => options.force = true,
                save @ (b"save" | b"nosave") => {
                    let save = save == b"save";
                    if options.save == Some(!save) {
                        return Err(
                            "shutdown options SAVE and NOSAVE can't be used simultaneously".into(),
                        );
                    }
                    options.save = Some(save);
                }
                _ => return Err(unknown()),
            }
        }
        Ok(options)
    }

    pub fn words(self) -> Vec<String> {
        let given = [
            self.save == Some(true),
            self.save == Some(false),
            self.now,
            self.force,
        ];
        let named = Self::WORDS[1..]
            .iter()
            .zip(given)
            .filter_map(|(word, given)| given.then_some(*word));
        let words: Vec<String> = named.map(str::to_owned).collect();
        if words.is_empty() {
            vec!["default".to_owned()]
        } else {
            words
        }
    }
}

/// Percentiles between 0 and 100; one empty word is none.
pub fn parse_percentiles(words: &[&[u8]]) -> Result<Vec<f64>, Reason> {
    if matches!(words, [] | [[]]) {
        return Ok(Vec::new());
    }
    let percentile = |word: &&[u8]| {
        let number = std::str::from_utf8(word)
            .ok()
            .and_then(|text| text.parse::<f64>().ok());
        match number {
            Some(number) if (0.0..=100.0).contains(&number) => Ok(number),
            Some(number) if !number.is_nan() => Err(
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                    .into(),
            ),
            _ => Err("Invalid latency-tracking-info-percentiles parameters".into()),
        }
    };
    if words.len() > PERCENTILES_MAX {
        return Err("Too many latency-tracking-info-percentiles parameters".into());
    }
    words.iter().map(percentile).collect()
}

/// Up to six decimals, without trailing zeros.
pub fn percentile_word(percentile: f64) -> String {
    let text = format!("{percentile:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The three scores of `oom-score-adj-values`: master, replica, background child.
pub fn parse_scores(words: &[&[u8]]) -> Result<[i32; 3], Reason> {
    let words: &[&[u8]; 3] = words.try_into().map_err(|_| "wrong number of arguments")?;
    let score = |word: &[u8]| parse_i64(word).filter(|score| (-2000..=2000).contains(score));
    let scores: Option<Vec<i32>> = words
        .iter()
        .map(|word| score(word).map(|score| score as i32))
        .collect();
    let invalid = "Invalid oom-score-adj-values, elements must be between -2000 and 2000.";
    let scores = scores.ok_or(invalid)?;
    Ok([scores[0], scores[1], scores[2]])
}

const SAVE_POINTS_MAX: usize = 256;
const BIND_ADDRESSES_MAX: usize = 16;
const PERCENTILES_MAX: usize = 64;

/// Types whose setting holds them as they are.
macro_rules! held_as {
    ($($type:ty = $variant:ident),+ $(,)?) => {$(
        impl Field for $type {
            fn from_setting(setting: Setting) -> Self {
                match setting {
                    Setting::$variant(value) => value,
                    other => unreachable!("{other:?} is not a {}", stringify!($variant)),
                }
            }

            fn to_setting(&self) -> Setting {
                Setting::$variant(self.clone())
            }
        }
    )+};
}

held_as! {
    bool = Bool,
    Vec<u8> = Text,
    MemoryShare = MemoryShare,
    Vec<SavePoint> = SavePoints,
    Vec<BindAddress> = Bind,
    [OutputBufferLimit; 3] = OutputBufferLimits,
    Option<MasterAddress> = Master,
    KeyspaceEvents = Events,
    Vec<f64> = Percentiles,
    ShutdownOptions = Shutdown,
}

/// Integers of each width. The range of the parameter's kind fits the type: a test puts both ends through.
macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl Field for $type {
            fn from_setting(setting: Setting) -> Self {
                match setting {
                    Setting::Number(number) => number as $type,
                    other => unreachable!("{other:?} is not a number"),
                }
            }

            fn to_setting(&self) -> Setting {
                Setting::Number(*self as i128)
            }
        }
    )+};
}

numbers!(u16, u32, u64, usize, i32, i64);

impl Field for ListpackSize {
    fn from_setting(setting: Setting) -> Self {
        ListpackSize(i32::from_setting(setting))
    }

    fn to_setting(&self) -> Setting {
        self.0.to_setting()
    }
}

impl Field for PathBuf {
    fn from_setting(setting: Setting) -> Self {
        PathBuf::from(std::ffi::OsString::from_vec(Vec::from_setting(setting)))
    }

    fn to_setting(&self) -> Setting {
        Setting::Text(self.as_os_str().as_bytes().to_vec())
    }
}

/// Only for parameters whose kind asks for UTF-8.
impl Field for String {
    fn from_setting(setting: Setting) -> Self {
        String::from_utf8_lossy(&Vec::from_setting(setting)).into_owned()
    }

    fn to_setting(&self) -> Setting {
        Setting::Text(self.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listpack_sizes_are_bytes_below_zero_and_entries_above() {
        for (size, limit) in [
            (-1, ListpackLimit::Bytes(4096)),
            (-2, ListpackLimit::Bytes(8192)),
            (-5, ListpackLimit::Bytes(65536)),
            (-9, ListpackLimit::Bytes(65536)),
            (i32::MIN, ListpackLimit::Bytes(65536)),
            (0, ListpackLimit::Entries(1)),
            (128, ListpackLimit::Entries(128)),
        ] {
            assert_eq!(ListpackSize(size).limit(), limit);
        }
    }

    #[test]
    fn a_share_of_memory_is_bytes_or_percent() {
        assert_eq!(MemoryShare::parse(b"5%").unwrap().of(1000), 50);
        assert_eq!(MemoryShare::parse(b"100%").unwrap().of(u64::MAX), u64::MAX);
        assert_eq!(MemoryShare::parse(b"1kb").unwrap().of(7), 1024);
        assert_eq!(MemoryShare::parse(b"0%").unwrap(), MemoryShare::Bytes(0));
    }

    #[test]
    fn a_permission_for_local_needs_a_local_connection() {
        assert!(Permission::Yes.allows(false));
        assert!(Permission::Local.allows(true));
        assert!(!Permission::Local.allows(false));
        assert!(!Permission::No.allows(true));
    }
}
