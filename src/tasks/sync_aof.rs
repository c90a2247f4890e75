//! The second thread of the AOF: one sync at a time, so that writing goes on meanwhile, and a look at the writes themselves.
//!
//! Started by `write_aof`; woken by a job; ends when its owner is gone. What has become of a job waits to be fetched, and
//! the owner is woken. While writes come it looks every few milliseconds whether one of them is stuck, so that nobody waits
//! for it; when none comes any more it sleeps.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crate::aof::durability::Durability;
use crate::aof::log::SyncJob;
use crate::aof::writer::Writer;

/// A write that is seen twice is slow.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// So many looks without a write, and the watch ends.
const QUIET_LOOKS: u32 = 20;

/// The owner's end.
pub struct Syncer {
    jobs: Sender<Job>,
    outcomes: Receiver<Outcome>,
    /// When the job that is under way was given.
    began: Option<Duration>,
}

/// What the thread is given.
pub enum Job {
    Sync(SyncJob),
    /// Writes come again.
    Watch,
}

/// A job that is done.
pub type Outcome = (SyncJob, io::Result<()>);

impl Syncer {
    /// # Errors
    /// The system gives no thread.
    pub fn start(owner: Waker, watch: Watch) -> io::Result<Self> {
        let (syncer, work, done) = Syncer::pair();
        thread::Builder::new()
            .name("aof-sync".into())
            .spawn(move || work_on(&work, &done, &owner, watch))?;
        Ok(syncer)
    }

    /// The owner's end, and the ends of whoever does the work.
    pub fn pair() -> (Self, Receiver<Job>, Sender<Outcome>) {
        let (jobs, work) = channel();
        let (done, outcomes) = channel();
        let syncer = Syncer {
            jobs,
            outcomes,
            began: None,
        };
        (syncer, work, done)
    }

    /// Since when a job is under way.
    pub fn busy_since(&self) -> Option<Duration> {
        self.began
    }

    /// Gives a job. None may be under way.
    pub fn begin(&mut self, job: SyncJob, now: Duration) {
        debug_assert!(self.began.is_none(), "one job at a time");
        if self.jobs.send(Job::Sync(job)).is_ok() {
            self.began = Some(now);
        }
    }

    /// Writes come again after a while in which nobody watched.
    pub fn watch(&self) {
        // Without the thread nobody watches.
        let _ = self.jobs.send(Job::Watch);
    }

    /// The job that was under way, if it is done.
    pub fn fetch(&mut self) -> Option<Outcome> {
        match self.outcomes.try_recv() {
            Ok(done) => {
                self.began = None;
                Some(done)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }
}

fn work_on(work: &Receiver<Job>, done: &Sender<Outcome>, owner: &Waker, mut watch: Watch) {
    let mut watches = false;
    loop {
        let job = match watches {
            true => work.recv_timeout(LOOK_EVERY),
            false => work.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match job {
            Ok(Job::Sync(job)) => {
                let outcome = job.run();
                // The owner may have ended.
                let _ = done.send((job, outcome));
                owner.wake_by_ref();
            }
            Ok(Job::Watch) => watches = true,
            Err(RecvTimeoutError::Timeout) => watches = watch.look(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Looks for a write that takes long, which is no reason for clients to wait.
pub struct Watch {
    writer: Writer,
    durability: Arc<Durability>,
    /// The number of writes begun and ended at the last look.
    seen: u64,
    quiet: u32,
}

impl Watch {
    pub fn new(writer: Writer, durability: Arc<Durability>) -> Self {
        Watch {
            writer,
            durability,
            seen: 0,
            quiet: 0,
        }
    }

    /// False: nothing has been written for a while, and the writer will say when something is.
    fn look(&mut self) -> bool {
        let number = self.writer.write_number();
        if number != self.seen {
            self.seen = number;
            self.quiet = 0;
            return true;
        }
        if number % 2 == 1 {
            self.durability.set_write_slow(true);
            if self.writer.write_number() != number {
                // It has just ended, and its end may have been told before.
                self.durability.set_write_slow(false);
            }
            return true;
        }
        self.quiet += 1;
        self.quiet < QUIET_LOOKS || !self.writer.leave_unwatched(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aof::durability::Policy;
    use crate::journal::position::Offset;

    #[test]
    fn a_write_that_is_seen_twice_holds_nobody_until_it_ends() {
        let (writer, orders) = Writer::new(Waker::noop().clone());
        let durability = Arc::new(Durability::default());
        durability.begin(Offset(0), Policy::EverySecond);
        let hold = durability.hold(Offset(1)).unwrap();
        let mut watch = Watch::new(writer, Arc::clone(&durability));
        assert!(orders.begin_write(), "nobody watches at first");
        assert!(watch.look() && !durability.is_passed(hold));
        assert!(watch.look() && durability.is_passed(hold));
        orders.end_write();
        durability.set_write_slow(false);
        assert!(watch.look() && !durability.is_passed(hold));
        // Each write is another one.
        for _ in 0..3 {
            assert!(!orders.begin_write());
            assert!(watch.look() && !durability.is_passed(hold));
            orders.end_write();
        }
    }

    #[test]
    fn the_watch_ends_when_nothing_is_written_and_the_next_write_calls_for_it() {
        let (writer, orders) = Writer::new(Waker::noop().clone());
        let mut watch = Watch::new(writer, Arc::default());
        assert!(orders.begin_write());
        orders.end_write();
        let looks = (0..1000).take_while(|_| watch.look()).count();
        assert_eq!(looks, QUIET_LOOKS as usize);
        assert!(orders.begin_write());
        orders.end_write();
        assert!(!orders.begin_write());
    }
}
