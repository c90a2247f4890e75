//! The handshake as the replica's end sees it: what each answer means, and what is said next.

use std::collections::VecDeque;
use std::time::Duration;

use log::Level;

use super::status::Failure;
use super::{Action, Link, State};
use crate::journal::position::Position;
use crate::replication::handshake::{Lines, PsyncReply, Step, psync_line, shown};
use crate::replication::payload::Receiver;

impl Link {
    pub(super) fn line(
        &mut self,
        line: &[u8],
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<(), Failure> {
        match &mut self.state {
            State::AwaitPong { .. } => {
                let alive = [
                    &b"+"[..],
                    b"-NOAUTH",
                    b"-NOPERM",
                    b"-ERR operation not permitted",
                ];
                if !alive.iter().any(|start| line.starts_with(start)) {
                    return Err(Failure::Pong(shown(line)));
                }
                let (bytes, steps) = self.config.greeting.write();
                actions.push(Action::Send(bytes));
                self.await_next_step(steps.into(), actions);
            }
            State::AwaitAuth { steps, .. } => {
                if line.starts_with(b"-") {
                    return Err(Failure::Auth(shown(line)));
                }
                steps.pop_front();
                let steps = std::mem::take(steps);
                self.await_next_step(steps, actions);
            }
            State::AwaitReplconf { steps, .. } => {
                let mut steps = std::mem::take(steps);
                if let (Some(Step::Replconf(name)), true) =
                    (steps.pop_front(), line.starts_with(b"-"))
                {
                    let text = format!("it does not take REPLCONF {name}: {}", shown(line));
                    self.history.log(&self.target, Level::Info, &text, actions);
                }
                self.await_next_step(steps, actions);
            }
            State::AwaitPsyncReply { .. } => return self.psync_reply(line, now, actions),
            _ => {}
        }
        Ok(())
    }

    /// Waits for the next answer to the greeting; PSYNC goes out when all are there.
    pub(super) fn await_next_step(&mut self, steps: VecDeque<Step>, actions: &mut Vec<Action>) {
        let lines = Lines::default();
        self.state = match steps.front() {
            Some(Step::Auth) => State::AwaitAuth { lines, steps },
            Some(Step::Replconf(_)) => State::AwaitReplconf { lines, steps },
            None => {
                let failover = self.target.as_ref().is_some_and(|target| target.failover);
                actions.push(Action::Send(psync_line(self.resume.as_ref(), failover)));
                State::AwaitPsyncReply { lines }
            }
        };
    }

    pub(super) fn psync_reply(
        &mut self,
        line: &[u8],
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<(), Failure> {
        let reply = PsyncReply::parse(line);
        let answer = match reply {
            PsyncReply::Transient(_) => None,
            PsyncReply::Continue { .. } | PsyncReply::FullResync { .. } => Some(true),
            PsyncReply::Refused(_) | PsyncReply::Malformed(_) => Some(false),
        };
        if let (Some(accepted), Some(target)) = (answer, &mut self.target)
            && std::mem::take(&mut target.failover)
        {
            actions.push(Action::FailoverAnswered { accepted });
        }
        match reply {
            PsyncReply::FullResync { id, offset } => {
                let had = match &self.resume {
                    Some(resume) => format!("we had {} up to {}", resume.id, resume.offset),
                    None => "we had nothing to continue from".into(),
                };
                let text = format!("full sync of history {id} at {offset}; {had}");
                self.history.log(&self.target, Level::Info, &text, actions);
                self.state = State::AwaitPayloadHeader {
                    position: Position {
                        id,
                        offset,
                        stream_db: None,
                    },
                    receiver: Receiver::new(),
                };
                Ok(())
            }
            PsyncReply::Continue { id } => {
                let Some(resume) = &mut self.resume else {
                    return Err(Failure::NothingToContinue);
                };
                let id = id.unwrap_or(resume.id);
                if id != resume.id {
                    resume.id = id;
                    actions.push(Action::DiscardSubReplicas);
                }
                let at = resume.offset;
                actions.push(Action::Continue { id, at });
                self.stream_begins(at, now, actions);
                Ok(())
            }
            PsyncReply::Refused(text) => Err(Failure::Psync(text)),
            PsyncReply::Malformed(text) => Err(Failure::Psync(text)),
            PsyncReply::Transient(text) => Err(Failure::NotNow(text)),
        }
    }
}
