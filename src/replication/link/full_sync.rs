//! A full sync as the replica's end sees it: header, body, and the moment at which the new dataset takes the old one's place.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::status::Failure;
use super::{Action, KEEP_ALIVE_PERIOD, Link, LoadId, State};
use crate::journal::position::Position;
use crate::replication::payload::{Framing, Received, Receiver};

#[derive(Debug)]
pub(super) struct Loading {
    pub(super) load: LoadId,
    pub(super) position: Position,
    pub(super) framing: Framing,
    pub(super) receiver: Receiver,
    /// The body is complete, and only the decoder is still at work.
    pub(super) finishing: bool,
    /// False once the connection was lost while finishing: the load is worth completing all the same.
    pub(super) connected: bool,
    /// Bytes of the stream that came together with the end of the body.
    pub(super) held: VecDeque<Bytes>,
    pub(super) next_keep_alive: Duration,
}

impl Link {
    pub(super) fn payload_header(
        &mut self,
        bytes: &mut Bytes,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<(), Failure> {
        let State::AwaitPayloadHeader { position, receiver } = &mut self.state else {
            return Ok(());
        };
        match receiver.receive(bytes) {
            Some(Received::Header(framing)) => {
                let position = *position;
                let receiver = std::mem::take(receiver);
                self.last_load.0 += 1;
                actions.push(Action::BeginLoad {
                    load: self.last_load,
                    framing,
                    position,
                    same_history: self.resume.is_some_and(|resume| resume.id == position.id),
                });
                self.state = State::Loading(Loading {
                    load: self.last_load,
                    position,
                    framing,
                    receiver,
                    finishing: false,
                    connected: true,
                    held: VecDeque::new(),
                    next_keep_alive: now + KEEP_ALIVE_PERIOD,
                });
                self.payload_body(bytes, actions)
            }
            Some(Received::Refused(text)) => Err(Failure::Snapshot(text)),
            Some(Received::Malformed(text)) => Err(Failure::PayloadHeader(text)),
            _ => Ok(()),
        }
    }

    pub(super) fn payload_body(
        &mut self,
        bytes: &mut Bytes,
        actions: &mut Vec<Action>,
    ) -> Result<(), Failure> {
        let State::Loading(loading) = &mut self.state else {
            return Ok(());
        };
        while let Some(received) = loading.receiver.receive(bytes) {
            match received {
                Received::Body(body) => actions.push(Action::Load(body)),
                Received::Finished => {
                    loading.finishing = true;
                    actions.push(Action::EndLoad);
                }
                _ => {}
            }
        }
        if !bytes.is_empty() {
            let held: usize = loading.held.iter().map(Bytes::len).sum();
            if held + bytes.len() > HELD_BYTES_MAX {
                return Err(Failure::TooMuchHeld);
            }
            loading.held.push_back(std::mem::take(bytes));
        }
        Ok(())
    }

    pub(super) fn loaded(
        &mut self,
        load: LoadId,
        stream_db: Option<u32>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let State::Loading(loading) = &mut self.state else {
            return;
        };
        if loading.load != load || !loading.finishing {
            return;
        }
        let position = Position {
            stream_db,
            ..loading.position
        };
        let connected = loading.connected;
        let held = std::mem::take(&mut loading.held);
        actions.push(Action::DiscardSubReplicas);
        actions.push(Action::Swap(position));
        self.resume = Some(position);
        self.load_failures = 0;
        if !connected {
            // The snapshot is ours; what followed it is asked for again.
            return self.connect(now, actions);
        }
        self.last_io = now;
        self.stream_begins(position.offset, now, actions);
        for bytes in held {
            self.receive(bytes, now, actions);
        }
    }
}

/// What may come in one read together with the end of a snapshot.
const HELD_BYTES_MAX: usize = 1024 * 1024;
