//! One data command after the other against an engine of their own, to see what each brings about. For tests only.

use crate::clock::{Clock, UnixMillis};
use crate::config::Config;
use crate::journal::effect::Framing;
use crate::keyspace::access::AccessRule;
use crate::protocol::reply::{Reply, ReplyBuffer, Resp};
use crate::protocol::request::OwnedRequest;
use crate::random::Random;

use super::data::{Event, ExpiryRule};
use super::spec::Run;
use super::{Engine, table};

pub struct Trial {
    pub engine: Engine,
}

/// What a request has brought about.
#[derive(Debug, PartialEq)]
pub struct Done {
    /// As `lpop l, del l`; events of new keys are left out.
    pub events: String,
    pub changes: u64,
    /// What is recorded in place of the request, if that is so: as `SREM s 1 2; DEL s`.
    pub effect: Option<String>,
}

impl Done {
    /// A request that is recorded as it is, if it has changed anything.
    pub fn verbatim(events: &str, changes: u64) -> Self {
        Done {
            events: events.into(),
            changes,
            effect: None,
        }
    }
}

impl Default for Trial {
    fn default() -> Self {
        Self::new()
    }
}

impl Trial {
    pub fn new() -> Self {
        let clock = Clock::manual(UnixMillis(1_000));
        let mut engine = Engine::new(Config::default(), clock, Random::from_seed(1));
        engine.journal.create_backlog(1 << 20);
        engine.unit.effects.set_stream_db(Some(0));
        engine.unit.notifying = true;
        engine.unit.recording = true;
        Trial { engine }
    }

    /// Runs a request whose words are divided by single spaces.
    ///
    /// # Panics
    /// If it is no data command, or refused.
    pub fn run(&mut self, request: &str) -> Done {
        let request = OwnedRequest::new(request.split(' ').map(str::as_bytes));
        let argv = request.argv();
        let command = table::lookup(argv).command(argv).expect("a known command");
        let Run::OnData(run) = command.spec.run else {
            panic!("a data command");
        };
        let engine = &mut self.engine;
        let start = engine.journal.end();
        engine.unit.replaced = false;
        let mut buffer = ReplyBuffer::default();
        run(
            &mut engine.data(0, ExpiryRule::Delete, AccessRule::Lru),
            argv,
            &mut Reply::new(&mut buffer, Resp::Two),
        )
        .expect("no refusal");
        let events = std::mem::take(&mut engine.unit.events);
        let events: Vec<String> = events
            .iter()
            .filter(|event| event.class != Event::New && event.class != Event::Miss)
            .map(|event| format!("{} {}", event.name, String::from_utf8_lossy(&event.key)))
            .collect();
        let effects = &mut engine.unit.effects;
        effects.finish(Framing::Together, &mut engine.journal);
        let mut blocks = Vec::new();
        let mut cursor = engine.journal.reader_at(start).expect("in the backlog");
        cursor.next(1 << 20, &mut blocks).expect("in the backlog");
        let recorded = String::from_utf8(blocks.concat()).expect("text");
        // An effect begins with its number of words; its words stand behind their lengths.
        let effects: Vec<String> = recorded
            .split_terminator('*')
            .skip(1)
            .map(|effect| {
                let words: Vec<&str> = effect.split("\r\n").skip(2).step_by(2).collect();
                words.join(" ")
            })
            .collect();
        Done {
            events: events.join(", "),
            changes: std::mem::take(&mut engine.unit.dirty),
            effect: engine.unit.replaced.then(|| effects.join("; ")),
        }
    }

    /// Runs requests that are recorded as they are, and compares their events and numbers of changes.
    pub fn check(&mut self, expected: &[(&str, &str, u64)]) {
        for &(request, events, changes) in expected {
            let done = self.run(request);
            assert_eq!(done, Done::verbatim(events, changes), "{request}");
        }
    }
}
