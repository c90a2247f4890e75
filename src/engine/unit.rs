//! One execution unit: what a command, a transaction or a turn of an active cycle has changed so far.

use crate::journal::effect::Effects;

use super::data::Event;

/// A keyspace event to be published once the unit is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    pub class: Event,
    pub name: &'static str,
    pub db: usize,
    pub key: Vec<u8>,
}

/// Lives as long as the engine; emptied after each unit.
#[derive(Default)]
pub struct Unit {
    pub effects: Effects,
    /// Whether effects have a reader at all; if not, none is encoded.
    pub recording: bool,
    /// The running command has said what to record in its place.
    pub replaced: bool,
    /// Changes since the last save, counted as Redis counts them.
    pub dirty: u64,
    /// Whether somebody wants keyspace events.
    pub notifying: bool,
    pub events: Vec<KeyEvent>,
}

impl Unit {
    /// Records `argv` in place of the request that is running.
    pub fn propagate(&mut self, db: usize, argv: &[&[u8]]) {
        self.replaced = true;
        self.add_effect(db, argv);
    }

    /// Records `argv` beside the request that is running.
    pub fn add_effect(&mut self, db: usize, argv: &[&[u8]]) {
        if self.recording {
            self.effects.add(Some(db as u32), argv);
        }
    }

    pub fn note_event(&mut self, class: Event, name: &'static str, db: usize, key: &[u8]) {
        if self.notifying {
            self.events.push(KeyEvent {
                class,
                name,
                db,
                key: key.to_vec(),
            });
        }
    }
}
