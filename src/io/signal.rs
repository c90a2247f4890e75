//! SIGTERM, SIGINT, SIGHUP and SIGUSR1 as events; SIGPIPE as nothing.
#![allow(
    unsafe_code,
    reason = "ignoring a signal has no safe wrapper in the crates we use"
)]

use std::io;

use async_signal::Signal;
use futures::StreamExt;

/// What the operator or the system asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalEvent {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGHUP.
    HangUp,
    /// SIGUSR1.
    User1,
}

/// The signals that have come since [`Signals::listen`]. Several of one kind that nobody has taken yet are one.
pub struct Signals(async_signal::Signals);

impl Signals {
    /// From now on these signals do not end the process; from now on a broken pipe is an error of its write and no signal.
    pub fn listen() -> io::Result<Self> {
        // SAFETY: SIG_IGN runs no code of ours in a handler.
        let outcome = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        if outcome == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
        let signals = [Signal::Term, Signal::Int, Signal::Hup, Signal::Usr1];
        Ok(Signals(async_signal::Signals::new(signals)?))
    }

    /// Waits for the next signal, on any executor.
    pub async fn next(&mut self) -> io::Result<SignalEvent> {
        loop {
            let signal = match self.0.next().await {
                Some(signal) => signal?,
                None => return Err(io::Error::other("signals: their source has ended")),
            };
            return Ok(match signal {
                Signal::Term => SignalEvent::Terminate,
                Signal::Int => SignalEvent::Interrupt,
                Signal::Hup => SignalEvent::HangUp,
                Signal::Usr1 => SignalEvent::User1,
                _ => continue,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[test]
    fn a_signal_becomes_an_event_and_does_not_end_the_process() {
        let mut signals = Signals::listen().unwrap();
        let sent = [
            (Signal::USR1, SignalEvent::User1),
            (Signal::HUP, SignalEvent::HangUp),
            (Signal::INT, SignalEvent::Interrupt),
            (Signal::TERM, SignalEvent::Terminate),
        ];
        for (signal, event) in sent {
            kill_process(getpid(), signal).unwrap();
            let next = async_std::future::timeout(Duration::from_secs(5), signals.next());
            assert_eq!(async_std::task::block_on(next).unwrap().unwrap(), event);
        }
    }
}
