//! The one door to the engine.
//!
//! Started by boot; lives as long as the process. [`EngineLock::with`] takes a closure that cannot await, so the lock is
//! never held across a wait. Whoever leaves takes along what the engine has asked for: intents go to the conductor,
//! garbage to the reclaimer, and readers of the journal are woken: replicas at once, the AOF's writer when the reactor's
//! turn is over, so that one write takes all that the turn has brought.

use std::sync::{Arc, Mutex, PoisonError};

use async_std::channel::Sender;

use crate::engine::Engine;
use crate::engine::aof::Hurry;
use crate::engine::data::Garbage;
use crate::engine::intent::Intent;
use crate::io::reactor;

#[derive(Clone)]
pub struct EngineLock(Arc<Door>);

struct Door {
    engine: Mutex<Engine>,
    intents: Sender<Intent>,
    garbage: Sender<Vec<Garbage>>,
}

impl EngineLock {
    pub fn new(engine: Engine, intents: Sender<Intent>, garbage: Sender<Vec<Garbage>>) -> Self {
        EngineLock(Arc::new(Door {
            engine: Mutex::new(engine),
            intents,
            garbage,
        }))
    }

    /// Runs `work` with the engine, alone. The clock is read once, so all of `work` happens at one moment.
    pub fn with<R>(&self, work: impl FnOnce(&mut Engine) -> R) -> R {
        // A panic aborts the process in release builds; a test that caught one may go on with the state as it is.
        let mut engine = self.0.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.refresh_time();
        let result = work(&mut engine);
        let intents = std::mem::take(&mut engine.intents);
        let garbage = std::mem::take(&mut engine.garbage);
        let held = engine.clock.monotonic().saturating_sub(engine.monotonic);
        engine.held.note(held);
        engine.journal.publish();
        let end = engine.journal.end();
        match engine.aof.note_end(end) {
            Some((writer, Hurry::AfterTurn)) => reactor::wake_after_turn(writer.waker()),
            Some((writer, Hurry::Now)) => writer.wake(),
            None => {}
        }
        drop(engine);
        for intent in intents {
            // The channels are unbounded, and closed only when the process ends.
            let _ = self.0.intents.try_send(intent);
        }
        if !garbage.is_empty() {
            let _ = self.0.garbage.try_send(garbage);
        }
        result
    }
}
