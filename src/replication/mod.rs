//! Both ends of replication, as values: events in, actions out, one deadline. The words are PSYNC's.
//!
//! A *history* is a stream of commands with a name, the replication id; a place in it is an offset in bytes. A replica says
//! where it stands, and the master either goes on from there (a *partial sync*) or sends a snapshot and goes on from where that
//! was taken (a *full sync*). Both are `state(offset) + stream from offset`.
//!
//! The replica's end is a [`link::Link`]:
//!
//! ```text
//!   ReplicaOf                                              Backoff <------------- whatever fails, from any state:
//!       |                                                     | at once, but not more often     Close, AbortLoad,
//!       v                                                     v than once a second              keep the dataset and
//!   Connecting -> AwaitPong -> AwaitAuth -> AwaitReplconf -> AwaitPsyncReply                    its place
//!                  PING         AUTH         REPLCONF ...      |          |
//!                                                 +FULLRESYNC  |          |  +CONTINUE [id]
//!                                                              v          |
//!                                   \n \n  AwaitPayloadHeader             |
//!                             $len, $EOF:  |                              |
//!                                          v                              v
//!                      \n each second   Loading -- Loaded: Swap, ACK --> Streaming   ACK each second and on GETACK
//! ```
//!
//! The master's end of one replica is a [`feed::Feed`]; all of them are [`feeds::Feeds`], which decide who shares a snapshot:
//!
//! ```text
//!   PSYNC, SYNC
//!    |      | not to be continued
//!    |      v
//!    |   AwaitSnapshot       \n each second; until others had time to join (repl-diskless-sync-delay)
//!    |      | the snapshot is taken: +FULLRESYNC, and the journal is kept from here
//!    |      v
//!    |   AwaitPayload -- a file is ready: $len --> SendPayload
//!    |      | through the socket: $EOF:, body, mark    | file sent
//!    |      v                                          |
//!    |   AwaitAck            silence until the ACK     |
//!    |      |                                          |
//!    v      v                                          v
//!   Streaming   <--------------------------------------+          Closing: silent, stuck, too far behind, done
//! ```
//!
//! Neither end knows sockets, clocks or keys, so a test drives both through a network of its own (`tests.rs`), and the tasks
//! only move bytes. In reading order: [`identity`] (who may continue what), [`handshake`] and [`replconf`] (the lines),
//! [`payload`] (the snapshot's frame), [`link`], [`place`], [`feed`], [`feeds`], [`pace`].

pub mod commands;
pub mod identity;

pub mod handshake;
pub mod replconf;

pub mod payload;

pub mod link;

pub mod feed;
pub mod feeds;
pub mod pace;
pub mod place;

#[cfg(test)]
mod tests;
