//! A node's life on a disk that fails: appends and every order in between, operations that fail, power that goes, restarts.
//!
//! After each restart the set loads, its files join up in ids and offsets, what they hold is a prefix of what was appended,
//! and it reaches as far as the policy has promised.

use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use super::*;
use crate::aof::durability::Hold;
use crate::aof::file_scan::FileScan;
use crate::aof::log::SyncJob;
use crate::aof::scan::{Batch, Ending};
use crate::aof::set::survey;

const SEEDS: u64 = 2000;

/// `everysec` may lose what is so old: a second, a sync that takes its time, and the steps of this test.
const LOST_AT_MOST: Duration = Duration::from_millis(2200);

/// One history, as it was meant to be written.
#[derive(Clone, Debug)]
struct Story {
    number: u32,
    start: Offset,
    stream: Vec<u8>,
    /// Which name the bytes from an offset on belong to.
    ids: Vec<(Offset, ReplId)>,
}

impl Story {
    fn end(&self) -> Offset {
        self.start.plus(self.stream.len())
    }

    fn id_at(&self, offset: Offset) -> ReplId {
        let from = self.ids.iter().rev().find(|(from, _)| *from <= offset);
        from.expect("a name from the start on").1
    }

    /// Whether all from `start` to `end` belongs to `id`.
    fn has_name(&self, id: Option<ReplId>, start: Offset, end: Offset) -> bool {
        let mut names = self.ids.iter().enumerate();
        names.any(|(index, (from, name))| {
            let next = self
                .ids
                .get(index + 1)
                .map_or(Offset::MAX, |(next, _)| *next);
            Some(*name) == id && *from <= start && end <= next
        })
    }

    fn base_text(&self, at: Offset) -> String {
        format!("story {} at {at}", self.number)
    }
}

/// A write that was answered, or will be.
struct Write {
    end: Offset,
    hold: Hold,
    answered_at: Option<Duration>,
}

struct Life {
    context: String,
    random: Random,
    disk: SimulatedDisk,
    clock: Clock,
    policy: Policy,
    story: Story,
    /// Histories that were to take the place of the one on disk, and whose outcome is not known.
    attempts: Vec<Story>,
    /// What the set on disk holds for certain, and of what it promises to hold more.
    settled: Story,
    stories: u32,
    bases: u64,
    journal: Journal,
    driver: Option<Driver>,
    writer: Writer,
    jobs: Receiver<Job>,
    outcomes: Sender<Outcome>,
    job: Option<SyncJob>,
    writes: Vec<Write>,
    /// Confirmed by the thread: under `always`, and by orders.
    promised: Offset,
    /// The disk has failed since, and no sync has worked afterwards.
    failing_since: Option<Duration>,
    synced_seen: Offset,
    answers: Arc<Mutex<Vec<Answered>>>,
    is_closing: bool,
    ended: bool,
}

type Answered = (Asked, Result<Done, String>);

/// What an answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Rotated(Position),
    Adopted,
    Replaced(u32),
    Synced(Offset),
    Closed(Offset),
}

fn names() -> Names {
    super::names()
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = Random::from_seed(seed);
        let disk = SimulatedDisk::new(seed);
        disk.create_directory(Path::new("/data")).unwrap();
        let policy = match random.below(5) {
            0..=1 => Policy::Always,
            2..=3 => Policy::EverySecond,
            _ => Policy::System,
        };
        let start = Offset(random.below(5000) as i64);
        let story = Story {
            number: 0,
            start,
            stream: Vec::new(),
            ids: vec![(start, ReplId::random(&mut random))],
        };
        let clock = Clock::manual(UnixMillis(1_700_000_000_000));
        let annotates = random.chance(1, 4);
        let at = Position {
            id: story.id_at(start),
            offset: start,
            stream_db: None,
        };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut log = Log::begin(shared, names(), Manifest::default(), at, annotates).unwrap();
        log.adopt(&base(&disk, &story, at, 0).unwrap()).unwrap();
        let (writer, _) = Writer::new(Waker::noop().clone());
        let (_, jobs, outcomes) = Syncer::pair();
        let mut life = Life {
            context: format!("seed {seed} {policy:?}"),
            disk,
            clock,
            policy,
            settled: story.clone(),
            story,
            attempts: Vec::new(),
            stories: 0,
            bases: 0,
            journal: Journal::new(start),
            driver: None,
            writer,
            jobs,
            outcomes,
            job: None,
            writes: Vec::new(),
            promised: start,
            failing_since: None,
            synced_seen: start,
            answers: Arc::default(),
            is_closing: false,
            ended: false,
            random,
        };
        life.drive(log);
        life
    }

    fn drive(&mut self, log: Log) {
        let at = log.end();
        self.journal = Journal::new(at);
        let cursor = self.journal.reader_at(at).unwrap();
        let (writer, orders) = Writer::new(Waker::noop().clone());
        writer.set_policy(self.policy);
        writer.exit_on_error(false);
        let durability = Arc::new(Durability::default());
        durability.begin(at, self.policy);
        let (syncer, jobs, outcomes) = Syncer::pair();
        let clock = self.clock.clone();
        self.disk
            .lose_what_a_sync_fails_on(self.policy != Policy::System);
        let mut driver = Driver::new(log, cursor, orders, durability, clock, syncer);
        driver.history_bytes_max = self.random.below(3) * 1000;
        self.driver = Some(driver);
        (self.writer, self.jobs, self.outcomes) = (writer, jobs, outcomes);
        self.job = None;
        self.writes.clear();
        self.promised = at;
        self.synced_seen = at;
        self.failing_since = None;
        self.answers = Arc::default();
        (self.is_closing, self.ended) = (false, false);
    }

    fn driver(&mut self) -> &mut Driver {
        self.driver.as_mut().expect("a node that runs")
    }

    fn position(&mut self) -> Position {
        Position {
            id: self.story.id_at(self.story.end()),
            offset: self.story.end(),
            stream_db: None,
        }
    }

    fn order(&self, asked: Asked, order: impl FnOnce(Answer) -> Order) {
        let answers = Arc::clone(&self.answers);
        self.writer.order(order(Box::new(move |outcome| {
            answers.lock().unwrap().push((asked, outcome));
        })));
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0..=7 => self.append(),
            8 => {
                if self.random.chance(1, 3) {
                    let id = ReplId::random(&mut self.random);
                    let end = self.story.end();
                    self.story.ids.push((end, id));
                }
                let at = self.position();
                self.order(Asked::Rotated(at), |answer| Order::Rotate { at, answer });
            }
            9 => {
                let at = self.story.end();
                self.order(Asked::Synced(at), |answer| Order::Sync { at, answer });
            }
            10 => {
                let bytes = self.random.below(5000);
                self.writer.order(Order::KeepHistory { bytes });
            }
            11 => {
                let annotates = self.random.chance(1, 2);
                self.writer.order(Order::Annotate { annotates });
            }
            12 if self.random.chance(1, 4) => self.replace(),
            13 if self.random.chance(1, 6) => {
                let at = self.story.end();
                self.is_closing = true;
                self.order(Asked::Closed(at), |answer| Order::Close { at, answer });
            }
            14 if self.random.chance(1, 2) => self.fail(),
            15..=16 => self.sync_elsewhere(),
            17..=18 => {
                let millis = 1 + self.random.below(200);
                self.clock.advance(Duration::from_millis(millis));
                self.rounds();
            }
            _ => self.rounds(),
        }
        self.look();
    }

    fn append(&mut self) {
        let value = "v".repeat(self.random.below(120) as usize);
        let number = self.random.below(1000);
        let set = format!(
            "*3\r\n$3\r\nSET\r\n$4\r\nk{number:03}\r\n${}\r\n{value}\r\n",
            value.len()
        );
        let bytes = match self.random.chance(1, 5) {
            true => format!("*1\r\n$5\r\nMULTI\r\n{set}{set}*1\r\n$4\r\nEXEC\r\n"),
            false => set,
        };
        self.journal.append(bytes.as_bytes());
        self.story.stream.extend_from_slice(bytes.as_bytes());
        let end = self.story.end();
        if let Some(hold) = self.driver().durability.hold(end) {
            self.writes.push(Write {
                end,
                hold,
                answered_at: None,
            });
        }
    }

    /// Another history takes the place of this one, as after a full sync.
    fn replace(&mut self) {
        self.stories += 1;
        let start = Offset(self.random.below(5000) as i64);
        self.story = Story {
            number: self.stories,
            start,
            stream: Vec::new(),
            ids: vec![(start, ReplId::random(&mut self.random))],
        };
        self.journal.reset(start);
        self.writes.clear();
        let _kept = self.journal.reader_at(start);
        for _ in 0..self.random.below(4) {
            self.append();
            self.rounds();
        }
        self.writes.clear();
        let at = self.position();
        let cursor = self.journal.reader_at(at.offset).unwrap();
        self.bases += 1;
        let number = self.stories;
        if let Ok(base) = base(&self.disk, &self.story, at, self.bases) {
            self.attempts.push(self.story.clone());
            self.order(Asked::Replaced(number), |answer| Order::Replace {
                base,
                cursor,
                answer,
            });
        }
    }

    fn fail(&mut self) {
        let errno = match self.random.chance(1, 2) {
            true => libc::EIO,
            false => libc::ENOSPC,
        };
        let operations = 1 + self.random.below(4);
        let what = match self.random.chance(1, 5) {
            true => Fault::PowerLoss,
            false => Fault::Fails { errno, operations },
        };
        let from = self.disk.operations() + self.random.below(12);
        self.disk.set_trouble(Some(Trouble { from, what }));
        self.failing_since.get_or_insert(self.clock.monotonic());
    }

    /// The second thread takes a job, or is done with it.
    fn sync_elsewhere(&mut self) {
        if let Some(job) = self.job.take() {
            let outcome = job.run();
            let _ = self.outcomes.send((job, outcome));
        }
        while let Ok(job) = self.jobs.try_recv() {
            if let Job::Sync(job) = job {
                self.job = Some(job);
            }
        }
    }

    fn rounds(&mut self) {
        for _ in 0..1 + self.random.below(12) {
            if self.ended {
                return;
            }
            self.ended = self.driver().round() == Round::Ended;
        }
    }

    /// What has been answered is noted, and what the answers make possible is asked for.
    fn look(&mut self) {
        let now = self.clock.monotonic();
        let durability = Arc::clone(&self.driver().durability);
        for write in &mut self.writes {
            if write.answered_at.is_none() && durability.is_passed(write.hold) {
                write.answered_at = Some(now);
                if self.policy == Policy::Always {
                    self.promised = self.promised.max(write.end);
                }
            }
        }
        let synced = self.driver().log.synced();
        if synced != self.synced_seen {
            self.synced_seen = synced;
            self.failing_since = None;
        }
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        for (asked, outcome) in answers {
            let Ok(done) = outcome else {
                continue;
            };
            match asked {
                Asked::Rotated(at) => {
                    assert_eq!(done.at, at.offset, "{}", self.context);
                    self.adopt(at);
                }
                Asked::Replaced(number) if number == self.story.number => {
                    self.settled = self.story.clone();
                    self.attempts.clear();
                    self.promised = done.at;
                }
                Asked::Synced(at) | Asked::Closed(at) if self.is_settled() => {
                    self.promised = self.promised.max(at);
                }
                _ => {}
            }
        }
        if self.is_settled() {
            self.settled.clone_from(&self.story);
        }
    }

    fn is_settled(&self) -> bool {
        self.settled.number == self.story.number
    }

    /// A base for a segment that has been begun, sometimes.
    fn adopt(&mut self, at: Position) {
        if self.random.chance(1, 2) && self.story.has_name(Some(at.id), at.offset, at.offset) {
            self.bases += 1;
            if let Ok(base) = base(&self.disk, &self.story, at, self.bases) {
                self.order(Asked::Adopted, |answer| Order::Adopt { base, answer });
            }
        }
    }

    /// The power goes, or only the process; what is found is what was promised, and life goes on with it.
    fn restart(&mut self) {
        let now = self.clock.monotonic();
        let mut stories = vec![self.settled.clone()];
        stories.append(&mut self.attempts);
        if let Some(attempt) = stories
            .iter_mut()
            .find(|one| one.number == self.story.number)
        {
            attempt.clone_from(&self.story);
        }
        drop(self.driver.take());
        self.disk.set_trouble(None);
        self.disk = self.disk.after_power_loss();
        let (found, manifest) = load(&self.disk, &stories, &self.context);
        if found.number == self.settled.number && self.is_settled() {
            assert!(
                found.end() >= self.promised,
                "{}: {} found, {} promised",
                self.context,
                found.end(),
                self.promised
            );
            let since = self.failing_since.unwrap_or(now).min(now);
            for write in &self.writes {
                let is_old = |at: Duration| at + LOST_AT_MOST < since;
                assert!(
                    self.policy != Policy::EverySecond
                        || found.end() >= write.end
                        || !write.answered_at.is_some_and(is_old),
                    "{}: {} found, {} answered at {:?}, now {now:?}",
                    self.context,
                    found.end(),
                    write.end,
                    write.answered_at
                );
            }
        }
        let end = found.end();
        self.story = found;
        // A master gets another name, a replica stays in its history.
        if self.random.chance(1, 2) {
            let id = ReplId::random(&mut self.random);
            self.story.ids.push((end, id));
        }
        self.settled.clone_from(&self.story);
        let at = self.position();
        let shared: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let annotates = self.random.chance(1, 4);
        let log = Log::open(shared, names(), manifest, at, annotates).unwrap();
        assert_eq!(log.end(), end, "{}", self.context);
        self.drive(log);
    }
}

fn base(disk: &SimulatedDisk, story: &Story, at: Position, number: u64) -> io::Result<Base> {
    let temp = names().path(&names().temp_base(7, number));
    let text = story.base_text(at.offset);
    let mut file = disk.create(&temp)?;
    crate::aof::log::write_all(&mut *file, &[text.as_bytes()])?;
    file.sync()?;
    Ok(Base {
        temp,
        at,
        format: BaseFormat::Rdb,
        bytes: text.len() as u64,
        crc64: None,
    })
}

/// Reads the set as a start does: the story that it holds, as far as it holds it.
fn load(disk: &SimulatedDisk, stories: &[Story], context: &str) -> (Story, Manifest) {
    let plan =
        survey(disk, &names(), &|_| false).unwrap_or_else(|error| panic!("{context}: {error}"));
    let manifest = plan.manifest.clone();
    let base = manifest
        .base
        .as_ref()
        .unwrap_or_else(|| panic!("{context}: no base"));
    let text = String::from_utf8(disk.read(&names().path(&base.name)).unwrap()).unwrap();
    let start = base.facts.start.unwrap();
    let mut story = stories
        .iter()
        .find(|story| story.base_text(start) == text)
        .unwrap_or_else(|| panic!("{context}: a base of nobody: {text}"))
        .clone();
    assert!(story.has_name(base.facts.id, start, start), "{context}");
    let mut end = start;
    for file in plan.files.iter().skip(1) {
        let line = manifest.segments.iter().find(|line| line.name == file.name);
        let facts = &line.expect("in the manifest").facts;
        assert_eq!(facts.start, Some(end), "{context}: {}", file.name);
        let handle = disk.open(&file.path).unwrap();
        let mut scan = FileScan::new(&*handle).unwrap();
        let (mut batch, mut stamps) = (Batch::default(), 0);
        while scan.next(&mut batch).unwrap().is_some() {
            stamps += batch.stamps().len();
        }
        assert!(facts.annotated || stamps == 0, "{context}: {}", file.name);
        let outcome = scan.outcome();
        let bytes = disk.read(&file.path).unwrap();
        let whole = without_stamps(&bytes[..outcome.good.byte as usize]);
        assert_eq!(
            whole.len() as u64 + outcome.good.annotation_bytes,
            outcome.good.byte
        );
        let from = end.since(story.start) as usize;
        assert_eq!(
            story.stream.get(from..from + whole.len()),
            Some(&whole[..]),
            "{context}: {} is not what was appended",
            file.name
        );
        end = end.plus(whole.len());
        match outcome.ending {
            Ending::Whole => {}
            Ending::Torn { .. } | Ending::OpenTransaction { .. } if file.is_last => {
                disk.cut(&file.path, outcome.good.byte as usize);
            }
            other => panic!("{context}: {} {other:?}", file.name),
        }
        if let Some(known) = facts.end {
            assert_eq!(known, end, "{context}: {}", file.name);
        }
        assert!(
            story.has_name(facts.id, facts.start.unwrap(), end),
            "{context}: another name in {}",
            file.name
        );
    }
    story.stream.truncate(end.since(story.start) as usize);
    story.ids.retain(|(from, _)| *from <= end);
    (story, manifest)
}

fn without_stamps(mut bytes: &[u8]) -> Vec<u8> {
    let mut rest = Vec::with_capacity(bytes.len());
    while !bytes.is_empty() {
        let end = bytes
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(bytes.len(), |at| at + 1);
        if bytes[0] != b'#' {
            rest.extend_from_slice(&bytes[..end]);
        }
        bytes = &bytes[end..];
    }
    rest
}

#[test]
fn whatever_fails_the_set_loads_and_holds_what_was_promised() {
    // The same seeds each time, or as many that no run has had before.
    let shift: u64 = std::env::var("SLUICE_SHIFT").map_or(0, |text| text.parse().unwrap());
    let (kept, restarts) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for half in 0..2 {
            let (kept, restarts) = (&kept, &restarts);
            scope.spawn(move || {
                for seed in (half..SEEDS).step_by(2) {
                    let mut life = Life::new(shift.wrapping_add(seed));
                    for _ in 0..2 {
                        for _ in 0..20 + life.random.below(80) {
                            if life.ended || life.disk.is_off() {
                                break;
                            }
                            life.step();
                        }
                        life.restart();
                        restarts.fetch_add(1, Ordering::Relaxed);
                        kept.fetch_add(u32::from(!life.story.stream.is_empty()), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    // Otherwise the test would show nothing.
    assert!(kept.into_inner() * 2 > restarts.into_inner());
}
