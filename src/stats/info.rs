//! The form of INFO: sections, and `field:value` lines in them. Knows no value.

use std::fmt::{Display, Write};

/// A section of INFO, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Server,
    Clients,
    Memory,
    Persistence,
    Stats,
    Replication,
    Cpu,
    Engine,
    Modules,
    Commandstats,
    Errorstats,
    Latencystats,
    Cluster,
    Keyspace,
}

impl Section {
    pub const ALL: [Section; 14] = [
        Section::Server,
        Section::Clients,
        Section::Memory,
        Section::Persistence,
        Section::Stats,
        Section::Replication,
        Section::Cpu,
        Section::Engine,
        Section::Modules,
        Section::Commandstats,
        Section::Errorstats,
        Section::Latencystats,
        Section::Cluster,
        Section::Keyspace,
    ];

    /// The word that stands above it; in any case, the word that asks for it.
    pub fn title(self) -> &'static str {
        match self {
            Section::Server => "Server",
            Section::Clients => "Clients",
            Section::Memory => "Memory",
            Section::Persistence => "Persistence",
            Section::Stats => "Stats",
            Section::Replication => "Replication",
            Section::Cpu => "CPU",
            Section::Engine => "Engine",
            Section::Modules => "Modules",
            Section::Commandstats => "Commandstats",
            Section::Errorstats => "Errorstats",
            Section::Latencystats => "Latencystats",
            Section::Cluster => "Cluster",
            Section::Keyspace => "Keyspace",
        }
    }

    /// Told to whoever asks for nothing special.
    fn is_default(self) -> bool {
        !matches!(
            self,
            Section::Engine | Section::Commandstats | Section::Latencystats
        )
    }

    /// The sections that these words ask for: none of them is an error, and none is told twice.
    pub fn wanted<'w>(words: impl ExactSizeIterator<Item = &'w [u8]>) -> Vec<Section> {
        let mut wanted = [false; Section::ALL.len()];
        let no_words = words.len() == 0;
        let mut take = |fits: &dyn Fn(Section) -> bool| {
            for (place, section) in wanted.iter_mut().zip(Section::ALL) {
                *place |= fits(section);
            }
        };
        if no_words {
            take(&Section::is_default);
        }
        for word in words {
            match &word.to_ascii_lowercase()[..] {
                b"default" => take(&Section::is_default),
                b"all" | b"everything" => take(&|_| true),
                word => take(&|section| section.title().as_bytes().eq_ignore_ascii_case(word)),
            }
        }
        let told = Section::ALL.into_iter().zip(wanted);
        told.filter_map(|(section, wanted)| wanted.then_some(section))
            .collect()
    }
}

/// The text of INFO on its way.
#[derive(Default)]
pub struct InfoText(pub String);

impl InfoText {
    /// Begins a section; an empty line stands between two.
    pub fn section(&mut self, section: Section) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        self.line(format_args!("# {}", section.title()));
    }

    pub fn field(&mut self, name: impl Display, value: impl Display) {
        self.line(format_args!("{name}:{value}"));
    }

    /// A number of bytes, and again under `<name>_human` in a unit that people read.
    pub fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(format_args!("{name}_human"), human_bytes(bytes));
    }

    pub fn flag(&mut self, name: &str, value: bool) {
        self.field(name, u8::from(value));
    }

    fn line(&mut self, text: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{text}\r\n");
    }
}

/// `1023B`, `1.00K`, `23.54G`.
pub fn human_bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1024.0 && unit < 4 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", ["K", "M", "G", "T", "P"][unit])
}

/// `part` of `whole`; 0 where there is no whole.
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&str]) -> String {
        let sections = Section::wanted(words.iter().map(|word| word.as_bytes()));
        let titles: Vec<&str> = sections.into_iter().map(Section::title).collect();
        titles.join(" ")
    }

    #[test]
    fn words_choose_sections_in_their_fixed_order() {
        assert_eq!(told(&["keyspace", "SERVER", "server"]), "Server Keyspace");
        assert_eq!(told(&["nonsense"]), "");
        assert_eq!(told(&[]), told(&["default"]));
        assert!(!told(&[]).contains("Commandstats"));
        assert_eq!(told(&["default", "engine"]).matches("Engine").count(), 1);
        assert_eq!(told(&["all"]), told(&["everything"]));
        assert_eq!(told(&["all"]).split(' ').count(), Section::ALL.len());
    }

    #[test]
    fn bytes_are_told_in_the_unit_below_their_size() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (25_276_502_016, "23.54G"),
            (u64::MAX, "16384.00P"),
        ] {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
