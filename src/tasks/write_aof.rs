//! The thread that writes the AOF: all that the journal has, in one write, and syncs as `appendfsync` says.
//!
//! Started by boot and by CONFIG SET appendonly; woken by the journal's cursor, by orders and by the second; ends with an
//! order to close, or with the process.

use std::io;

use async_std::channel;

use crate::aof::log::Log;
use crate::aof::writer::{Answer, Done, Order, Writer};
use crate::journal::cursor::Cursor;

use super::engine_lock::EngineLock;

/// Starts the thread for a log that stands where `cursor` stands, and tells the engine: from then on replies wait as the
/// policy says. Call it under no lock; the cursor was taken under the engine's lock, together with the log's position.
pub fn start_writer(lock: &EngineLock, log: Log, cursor: Cursor) -> io::Result<Writer> {
    let _ = (lock, log, cursor);
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives an order and waits for its outcome.
pub async fn ask(writer: &Writer, order: impl FnOnce(Answer) -> Order) -> Result<Done, String> {
    let (sender, receiver) = channel::bounded(1);
    writer.order(order(Box::new(move |outcome| {
        // Whoever asked may have gone.
        let _ = sender.try_send(outcome);
    })));
    let ended = |_| Err("the AOF writer has ended".to_owned());
    receiver.recv().await.unwrap_or_else(ended)
}
