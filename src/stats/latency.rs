//! The latency monitor: what took longer than `latency-monitor-threshold`, by Redis's names of events.
//!
//! Of each event the last [`SAMPLES_MAX`] samples are kept, at most one for each second: the longest.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// Samples kept of one event.
pub const SAMPLES_MAX: usize = 160;

/// A command that may take long, or that never should.
pub const COMMAND: &str = "command";
pub const FAST_COMMAND: &str = "fast-command";
/// A slice of the work on expiry.
pub const EXPIRE_CYCLE: &str = "expire-cycle";

/// What was too slow, when, and how long it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub unix_seconds: i64,
    pub millis: u64,
}

/// The samples of one event, the oldest first; there is at least one.
#[derive(Clone, Debug, Default)]
pub struct Event {
    samples: VecDeque<Sample>,
    longest_millis: u64,
}

/// All events that have happened.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    events: BTreeMap<&'static str, Event>,
}

impl Latency {
    pub fn note(&mut self, event: &'static str, sample: Sample) {
        let event = self.events.entry(event).or_default();
        event.longest_millis = event.longest_millis.max(sample.millis);
        match event.samples.back_mut() {
            Some(last) if last.unix_seconds == sample.unix_seconds => {
                last.millis = last.millis.max(sample.millis);
            }
            _ => {
                if event.samples.len() == SAMPLES_MAX {
                    event.samples.pop_front();
                }
                event.samples.push_back(sample);
            }
        }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'static str, &Event)> {
        self.events.iter().map(|(name, event)| (*name, event))
    }

    pub fn get(&self, name: &[u8]) -> Option<&Event> {
        self.events.get(known(name, &self.events)?)
    }

    /// Forgets an event; false if there is none of that name.
    pub fn forget(&mut self, name: &[u8]) -> bool {
        known(name, &self.events).is_some_and(|name| self.events.remove(name).is_some())
    }

    /// Forgets all, and says how many there were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.events).len()
    }

    /// What LATENCY DOCTOR says: what has happened, and what usually helps. `threshold_ms` 0: nothing is watched.
    pub fn report(&self, threshold_ms: u64, now_unix_seconds: i64) -> String {
        let mut text = String::new();
        if threshold_ms == 0 {
            text.push_str("The latency monitor is off: CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n");
        }
        if self.events.is_empty() {
            text.push_str("No latency event is on record.\n");
            return text;
        }
        for (number, (name, event)) in self.iter().enumerate() {
            let last = event.last();
            // A line of a text cannot fail to be written.
            let _ = writeln!(
                text,
                "{}. {name}: {} samples, mean {} ms, mean deviation {} ms, {} s apart. Longest ever {} ms, last {} ms, {} s ago.",
                number + 1,
                event.samples.len(),
                event.mean_millis(),
                event.mean_deviation_millis(),
                event.period_seconds(),
                event.longest_millis,
                last.millis,
                now_unix_seconds - last.unix_seconds,
            );
        }
        text.push('\n');
        let has = |names: &[&str]| names.iter().any(|name| self.events.contains_key(name));
        for (names, advice) in ADVICE {
            if has(names) {
                let _ = writeln!(text, "- {advice}");
            }
        }
        text
    }
}

impl Event {
    pub fn samples(&self) -> impl ExactSizeIterator<Item = &Sample> {
        self.samples.iter()
    }

    /// Of all that there ever were.
    pub fn longest_millis(&self) -> u64 {
        self.longest_millis
    }

    pub fn last(&self) -> Sample {
        let nothing = Sample {
            unix_seconds: 0,
            millis: 0,
        };
        self.samples.back().copied().unwrap_or(nothing)
    }

    fn mean_millis(&self) -> u64 {
        let sum: u64 = self.samples.iter().map(|sample| sample.millis).sum();
        sum / self.samples.len().max(1) as u64
    }

    fn mean_deviation_millis(&self) -> u64 {
        let mean = self.mean_millis();
        let deviations = self.samples.iter().map(|it| it.millis.abs_diff(mean));
        deviations.sum::<u64>() / self.samples.len().max(1) as u64
    }

    /// Between two samples, in the mean.
    fn period_seconds(&self) -> i64 {
        let first = self.samples.front().map_or(0, |first| first.unix_seconds);
        let gaps = self.samples.len().saturating_sub(1).max(1) as i64;
        (self.last().unix_seconds - first) / gaps
    }

    /// What LATENCY GRAPH draws: a column for each of the last samples, its height between the lowest and the highest of them,
    /// its age below it, read downwards.
    pub fn graph(&self, name: &str, now_unix_seconds: i64) -> String {
        let skipped = self.samples.len().saturating_sub(GRAPH_COLUMNS);
        let columns: Vec<Sample> = self.samples.iter().skip(skipped).copied().collect();
        let millis = || columns.iter().map(|sample| sample.millis);
        let (high, low) = (millis().max().unwrap_or(0), millis().min().unwrap_or(0));
        let mut text = format!(
            "{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
            self.longest_millis,
            "-".repeat(GRAPH_COLUMNS)
        );
        let height = |sample: &Sample| match high - low {
            0 => 1,
            span => 1 + (sample.millis - low) * (GRAPH_ROWS - 1) / span,
        };
        let mut push_row = |row: String| {
            text.push_str(row.trim_end());
            text.push('\n');
        };
        for row in (1..=GRAPH_ROWS).rev() {
            let sign = |sample| if height(sample) >= row { '#' } else { ' ' };
            push_row(columns.iter().map(sign).collect());
        }
        let ages: Vec<String> = columns
            .iter()
            .map(|sample| short_span(now_unix_seconds - sample.unix_seconds))
            .collect();
        let longest = ages.iter().map(String::len).max().unwrap_or(0);
        for row in 0..longest {
            let letter = |age: &String| age.as_bytes().get(row).map_or(' ', |&byte| byte as char);
            push_row(ages.iter().map(letter).collect());
        }
        text
    }
}

/// The name as it is kept, if there is such an event.
fn known(name: &[u8], events: &BTreeMap<&'static str, Event>) -> Option<&'static str> {
    events.keys().copied().find(|it| it.as_bytes() == name)
}

/// `7s`, `3m`, `12h`, `4d`.
fn short_span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

const GRAPH_COLUMNS: usize = 80;
const GRAPH_ROWS: u64 = 4;

const ADVICE: [(&[&str], &str); 4] = [
    (
        &[COMMAND],
        "command: SLOWLOG GET names the commands, if slowlog-log-slower-than is not above the threshold.",
    ),
    (
        &[FAST_COMMAND],
        "fast-command: commands that never take long did. The machine is short of CPU or memory, or the threshold is too low.",
    ),
    (
        &[EXPIRE_CYCLE],
        "expire-cycle: many keys expire in the same moment, or very large ones. Spread their expiries.",
    ),
    (
        &["aof-write", "aof-fsync-always", "aof-rename"],
        "aof-*: the disk is slow. Nobody waits for it but writers, and under appendfsync everysec only when much has gathered; \
         a disk of its own for the AOF, or appendfsync everysec in place of always, helps.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix_seconds: i64, millis: u64) -> Sample {
        Sample {
            unix_seconds,
            millis,
        }
    }

    fn filled() -> Latency {
        let mut latency = Latency::default();
        for (second, millis) in [(100, 10), (103, 40), (103, 20), (109, 25)] {
            latency.note(COMMAND, at(second, millis));
        }
        latency
    }

    #[test]
    fn the_longest_of_a_second_is_kept_and_the_last_160_of_all() {
        let mut latency = filled();
        let event = latency.get(b"command").expect("it happened");
        let samples: Vec<Sample> = event.samples().copied().collect();
        assert_eq!(samples, [at(100, 10), at(103, 40), at(109, 25)]);
        assert_eq!((event.last(), event.longest_millis()), (at(109, 25), 40));
        for second in 0..500 {
            latency.note(COMMAND, at(1_000 + second, 1));
        }
        let event = latency.get(b"command").expect("it happened");
        assert_eq!(event.samples().len(), SAMPLES_MAX);
        assert_eq!(event.samples().next(), Some(&at(1_340, 1)));
        assert_eq!(event.longest_millis(), 40);
        assert!(latency.get(b"comman").is_none());
        assert!(!latency.forget(b"nothing") && latency.forget(b"command"));
        assert_eq!((latency.clear(), latency.iter().len()), (0, 0));
    }

    #[test]
    fn a_graph_has_a_column_for_each_sample() {
        let latency = filled();
        let graph = latency.get(b"command").unwrap().graph(COMMAND, 169);
        let expected = "command - high 40 ms, low 10 ms (all time high 40 ms)\n";
        let (head, rows) = graph.split_at(expected.len() + 81);
        assert!(head.starts_with(expected) && head.ends_with("-\n"));
        assert_eq!(rows, " #\n #\n ##\n###\n111\nmmm\n");
    }

    #[test]
    fn a_report_names_what_happened_and_nothing_else() {
        let text = filled().report(1, 119);
        let expected = "1. command: 3 samples, mean 25 ms, mean deviation 10 ms, 4 s apart. Longest ever 40 ms, last 25 ms, 10 s ago.\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("SLOWLOG GET") && !text.contains("disk"));
        let text = Latency::default().report(0, 0);
        assert!(text.contains("is off") && text.contains("No latency event"));
    }
}
