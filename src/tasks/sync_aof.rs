//! The second thread of the AOF: one sync at a time, so that writing goes on meanwhile.
//!
//! Started by `write_aof`; woken by a job; ends when its owner is gone. What has become of a job waits to be fetched, and
//! the owner is woken.

use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crate::aof::log::SyncJob;

/// The owner's end.
pub struct Syncer {
    jobs: Sender<SyncJob>,
    outcomes: Receiver<(SyncJob, io::Result<()>)>,
    /// When the job that is under way was given.
    began: Option<Duration>,
}

impl Syncer {
    pub fn start(owner: Waker) -> io::Result<Self> {
        let (jobs, work) = channel::<SyncJob>();
        let (done, outcomes) = channel();
        thread::Builder::new()
            .name("aof-sync".into())
            .spawn(move || {
                for job in work {
                    let outcome = job.run();
                    // The owner may have ended.
                    let _ = done.send((job, outcome));
                    owner.wake_by_ref();
                }
            })?;
        Ok(Syncer {
            jobs,
            outcomes,
            began: None,
        })
    }

    /// Since when a job is under way.
    pub fn busy_since(&self) -> Option<Duration> {
        self.began
    }

    /// Gives a job. None may be under way.
    pub fn begin(&mut self, job: SyncJob, now: Duration) {
        debug_assert!(self.began.is_none(), "one job at a time");
        if self.jobs.send(job).is_ok() {
            self.began = Some(now);
        }
    }

    /// The job that was under way, if it is done.
    pub fn fetch(&mut self) -> Option<(SyncJob, io::Result<()>)> {
        match self.outcomes.try_recv() {
            Ok(done) => {
                self.began = None;
                Some(done)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }
}
