use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::{Base, Log, LogError};
use crate::aof::crc::Crc;
use crate::aof::disk::Disk;
use crate::aof::manifest::{self, Manifest};
use crate::aof::names::{BaseFormat, Names};
use crate::aof::simulated::{Fault, SimulatedDisk, Trouble};
use crate::journal::position::{Offset, Position, ReplId};
use crate::random::Random;

/// A history as it was meant to be written: what the log must hold a prefix of.
#[derive(Clone)]
struct Story {
    number: usize,
    start: Offset,
    stream: Vec<u8>,
    /// Ends of units, as lengths of `stream`.
    boundaries: Vec<usize>,
    id: ReplId,
    /// What a sync has confirmed.
    confirmed: Offset,
}

impl Story {
    fn new(number: usize, start: Offset, random: &mut Random) -> Self {
        Story {
            number,
            start,
            stream: Vec::new(),
            boundaries: vec![0],
            id: ReplId::random(random),
            confirmed: start,
        }
    }

    /// The next units behind `from`: those that were taken back come again.
    fn units(&mut self, from: Offset, random: &mut Random) -> Vec<Bytes> {
        let from = from.since(self.start) as usize;
        let count = 1 + random.below(3) as usize;
        let at = self.boundaries.binary_search(&from).expect("a boundary");
        while self.boundaries.len() <= at + count {
            let length = random.below(60) as usize;
            self.stream
                .extend([b'0' + (length / 10) as u8, b'0' + (length % 10) as u8]);
            for _ in 0..length {
                self.stream.push(random.next_u64() as u8);
            }
            self.boundaries.push(self.stream.len());
        }
        let mut bytes = &self.stream[from..self.boundaries[at + count]];
        let mut parts = Vec::new();
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(1 + random.below(bytes.len() as u64) as usize);
            parts.push(Bytes::copy_from_slice(part));
            bytes = rest;
        }
        parts
    }

    fn position(&self, offset: Offset, random: &mut Random) -> Position {
        Position {
            id: self.id,
            offset,
            stream_db: random.chance(1, 2).then(|| random.below(20) as u32),
        }
    }

    fn base_text(&self, offset: Offset) -> String {
        format!("dataset of story {} at {offset}", self.number)
    }
}

/// What a restart finds.
struct Found {
    manifest: Manifest,
    story: usize,
    end: Offset,
    id: ReplId,
}

fn names() -> Names {
    Names::new(Path::new("/data"), "appendonlydir", "appendonly.aof")
}

fn new_disk(seed: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    disk.create_directory(Path::new("/data")).unwrap();
    disk.create_directory(names().directory()).unwrap();
    disk
}

/// The journal's bytes of a segment that end with a unit, and how many bytes of the file that takes.
fn whole_units(bytes: &[u8], annotated: bool) -> (Vec<u8>, usize) {
    let (mut units, mut at) = (Vec::new(), 0);
    loop {
        let rest = &bytes[at..];
        if annotated && rest.starts_with(b"#") {
            match rest.windows(2).position(|pair| pair == b"\r\n") {
                Some(end) => at += end + 2,
                None => return (units, at),
            }
            continue;
        }
        let Some(digits) = rest.get(..2) else {
            return (units, at);
        };
        let length = 2 + usize::from(digits[0] - b'0') * 10 + usize::from(digits[1] - b'0');
        let Some(unit) = rest.get(..length) else {
            return (units, at);
        };
        units.extend_from_slice(unit);
        at += length;
    }
}

/// Reads the set as a loader does, and cuts a torn tail. None where there is no set.
fn load(disk: &SimulatedDisk, stories: &[Story], context: &str) -> Option<Found> {
    let names = names();
    let parsed =
        manifest::read(disk, &names).unwrap_or_else(|error| panic!("{context}: {error}"))?;
    assert!(
        parsed.warnings.is_empty(),
        "{context}: {:?}",
        parsed.warnings
    );
    let manifest = parsed.manifest;
    let Some(base) = &manifest.base else {
        assert!(
            manifest.segments.is_empty(),
            "{context}: segments without a base"
        );
        return None;
    };
    let bytes = disk
        .read(&names.path(&base.name))
        .unwrap_or_else(|| panic!("{context}: {} is missing", base.name));
    assert_eq!(base.facts.crc64, Some(Crc::of(&bytes)), "{context}: base");
    let text = String::from_utf8(bytes).unwrap();
    let start = base.facts.start.unwrap();
    let story = stories
        .iter()
        .find(|story| story.base_text(start) == text)
        .unwrap_or_else(|| panic!("{context}: a base of nobody: {text}"));
    let mut stream = Vec::new();
    let mut end = start;
    let last = manifest.segments.len() - 1;
    for (index, line) in manifest.segments.iter().enumerate() {
        let path = names.path(&line.name);
        let bytes = disk
            .read(&path)
            .unwrap_or_else(|| panic!("{context}: {} is missing", line.name));
        let prelude = line.facts.prelude_bytes as usize;
        assert_eq!(line.facts.start, Some(end), "{context}: {}", line.name);
        assert!(
            bytes.len() >= prelude,
            "{context}: {} has no prelude",
            line.name
        );
        let (units, used) = whole_units(&bytes[prelude..], line.facts.annotated);
        end = end.plus(units.len());
        if index < last || line.facts.end.is_some() {
            assert_eq!(line.facts.end, Some(end), "{context}: {}", line.name);
            assert_eq!(
                line.facts.crc64,
                Some(Crc::of(&bytes)),
                "{context}: {}",
                line.name
            );
            assert_eq!(used + prelude, bytes.len(), "{context}: {}", line.name);
        } else if used + prelude < bytes.len() {
            disk.cut(&path, used + prelude);
        }
        stream.extend(units);
    }
    let from = start.since(story.start) as usize;
    let expected = story.stream.get(from..from + stream.len());
    assert_eq!(
        expected,
        Some(&stream[..]),
        "{context}: not what was appended"
    );
    Some(Found {
        id: manifest.segments[last].facts.id.unwrap(),
        manifest,
        story: story.number,
        end,
    })
}

fn make_base(
    disk: &SimulatedDisk,
    story: &Story,
    at: Position,
    number: u64,
) -> Result<Base, LogError> {
    let temp = names().path(&names().temp_base(7, number));
    let text = story.base_text(at.offset);
    let error = |cause| LogError::new("base", &temp)(cause);
    let mut file = disk.create(&temp).map_err(error)?;
    super::segment::write_all(&mut *file, &[text.as_bytes()]).map_err(error)?;
    file.sync().map_err(error)?;
    Ok(Base {
        at,
        format: BaseFormat::Rdb,
        bytes: text.len() as u64,
        crc64: Some(Crc::of(text.as_bytes())),
        temp,
    })
}

/// One node's life on one disk: random work until something goes wrong, again and again.
struct Life {
    disk: SimulatedDisk,
    random: Random,
    story: Story,
    /// Stories that were to replace it, which failed: they may be on disk all the same until something is appended.
    attempts: Vec<Story>,
    stories: usize,
    /// The story is on disk as a set that can be loaded.
    is_set: bool,
    log: Option<Log>,
    bases: u64,
    /// A base for which a segment was begun.
    due: Option<Position>,
    annotates: bool,
    seconds: i64,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = Random::from_seed(seed);
        Life {
            disk: new_disk(seed),
            annotates: random.chance(1, 4),
            story: Story::new(0, Offset(0), &mut random),
            attempts: Vec::new(),
            stories: 0,
            random,
            is_set: false,
            log: None,
            bases: 0,
            due: None,
            seconds: 1_700_000_000,
        }
    }

    fn new_story(&mut self) -> Story {
        self.stories += 1;
        let start = Offset(self.random.below(5000) as i64);
        Story::new(self.stories, start, &mut self.random)
    }

    fn make_base(&mut self, story: &Story, at: Position) -> Result<Base, LogError> {
        self.bases += 1;
        make_base(&self.disk, story, at, self.bases)
    }

    fn load(&self, context: &str) -> Option<Found> {
        let mut stories = self.attempts.clone();
        stories.push(self.story.clone());
        load(&self.disk, &stories, context)
    }

    /// After a start: what is on disk is taken up, or a set is begun.
    fn start(&mut self, context: &str) -> Result<(), LogError> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        self.due = None;
        let Some(found) = self.load(context) else {
            assert!(!self.is_set, "{context}: the set is gone");
            self.story = self.new_story();
            let at = self.story.position(self.story.start, &mut self.random);
            let manifest = Manifest::default();
            self.log = Some(Log::begin(disk, names(), manifest, at, self.annotates)?);
            self.due = Some(at);
            return Ok(());
        };
        if found.story == self.story.number {
            let known = self.story.confirmed;
            assert!(
                found.end >= known,
                "{context}: {} found, {known} confirmed",
                found.end
            );
        } else {
            let attempt = self
                .attempts
                .iter()
                .find(|story| story.number == found.story);
            self.story = attempt.expect("one of them").clone();
        }
        // What has not lasted is forgotten: from here on the story is what was found.
        self.attempts.clear();
        self.is_set = true;
        let length = found.end.since(self.story.start) as usize;
        self.story.stream.truncate(length);
        self.story.boundaries.retain(|&boundary| boundary <= length);
        self.story.id = match self.random.chance(1, 2) {
            true => ReplId::random(&mut self.random),
            false => found.id,
        };
        let at = self.story.position(found.end, &mut self.random);
        let log = Log::open(disk, names(), found.manifest, at, self.annotates)?;
        assert_eq!(log.end(), found.end, "{context}");
        self.story.confirmed = found.end;
        self.log = Some(log);
        Ok(())
    }

    fn step(&mut self) -> Result<(), LogError> {
        let Some(mut log) = self.log.take() else {
            return Ok(());
        };
        let outcome = self.work(&mut log);
        if log.sync_has_failed() {
            log.cut_back();
        }
        self.log = Some(log);
        outcome
    }

    fn work(&mut self, log: &mut Log) -> Result<(), LogError> {
        self.seconds += self.random.below(2) as i64;
        match self.random.below(20) {
            0..=8 => {
                let parts = self.story.units(log.end(), &mut self.random);
                log.append(&parts, self.seconds)?;
                self.attempts.clear();
            }
            9..=12 => {
                log.sync()?;
            }
            13 => {
                let job = log.sync_job()?;
                let more = self.story.units(log.end(), &mut self.random);
                let appended = log.append(&more, self.seconds);
                match job.run() {
                    Ok(()) => log.note_synced(&job),
                    Err(_) => log.note_sync_failed(&job),
                }
                appended?;
                self.attempts.clear();
            }
            14 | 15 => {
                let mut story = self.story.clone();
                if self.random.chance(1, 3) {
                    story.id = ReplId::random(&mut self.random);
                }
                let at = story.position(log.end(), &mut self.random);
                log.rotate(at)?;
                self.story.id = story.id;
                if self.is_set {
                    self.due = Some(at);
                }
            }
            16 | 17 => {
                let Some(at) = self.due else {
                    return Ok(());
                };
                let base = self.make_base(&self.story.clone(), at)?;
                log.adopt(&base)?;
                self.is_set = true;
                self.due = None;
            }
            18 => {
                if self.random.chance(1, 2) {
                    return Ok(());
                }
                let story = self.new_story();
                let at = story.position(story.start, &mut self.random);
                let base = self.make_base(&story, at)?;
                self.attempts.push(story.clone());
                if log.replace(&base).is_err() {
                    log.replace(&base)?;
                }
                self.attempts.clear();
                self.story = story;
                self.is_set = true;
                self.due = None;
            }
            _ => {
                let budget = self.random.below(400);
                log.prune(budget)?;
                assert!(log.sizes().history <= budget);
            }
        }
        if self.is_set {
            self.story.confirmed = self.story.confirmed.max(log.synced());
        }
        Ok(())
    }
}

fn run(seed: u64) {
    let mut life = Life::new(seed);
    for round in 0..4 {
        let context = format!("seed {seed} round {round}");
        let trouble = match life.random.below(5) {
            0 => None,
            1 | 2 => Some(Fault::PowerLoss),
            _ => Some(Fault::Fails {
                errno: if life.random.chance(1, 2) {
                    libc::ENOSPC
                } else {
                    libc::EIO
                },
                operations: 1 + life.random.below(6),
            }),
        };
        let from = life.disk.operations() + life.random.below(80);
        life.disk
            .set_trouble(trouble.map(|what| Trouble { from, what }));
        // What another process has left unsynced nobody can write again.
        life.disk.lose_what_a_sync_fails_on(false);
        let mut started = life.start(&context).is_ok();
        if !started && !life.disk.is_off() {
            life.disk.set_trouble(None);
            started = life.start(&context).is_ok();
            assert!(started, "{context}: no start without trouble");
        }
        life.disk.lose_what_a_sync_fails_on(true);
        let steps = 10 + life.random.below(60);
        for _ in 0..steps {
            if !started || life.disk.is_off() {
                break;
            }
            let _ = life.step();
        }
        life.disk.set_trouble(None);
        if life.random.chance(1, 3)
            && !life.disk.is_off()
            && let Some(mut log) = life.log.take()
        {
            let (was_set, end) = (!log.is_beginning(), log.end());
            log.close()
                .unwrap_or_else(|error| panic!("{context}: {error}"));
            if was_set {
                life.story.confirmed = end;
            }
        }
        life.log = None;
        let machine_lives = !life.disk.is_off() && !life.disk.has_holes();
        life.disk = match life.random.chance(1, 4) && machine_lives {
            // The process dies and the machine does not.
            true => life.disk.clone(),
            false => life.disk.after_power_loss(),
        };
    }
    life.load(&format!("seed {seed} at the end"));
}

#[test]
fn whatever_fails_and_whenever_the_power_goes_the_set_loads_and_has_what_was_synced() {
    let seeds: u64 = std::env::var("SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(3000);
    let first: u64 = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(0);
    for seed in first..first + seeds {
        run(seed);
    }
}
