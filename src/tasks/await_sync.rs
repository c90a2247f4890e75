//! Tells the engine of syncs of the AOF, as long as somebody waits for one.
//!
//! Started by the conductor, one at a time; woken by the writer through [`Durability`]; ends when nobody waits any more.
//!
//! [`Durability`]: crate::aof::durability::Durability

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::engine_lock::EngineLock;

pub async fn run(lock: EngineLock) {
    let durability = lock.with(|engine| Arc::clone(&engine.aof.durability));
    while let Some(seen) = lock.with(|engine| engine.answer_synced()) {
        let mut polled = false;
        poll_fn(|context| {
            // Woken for nothing, it looks at the engine once too often.
            let comes = std::mem::replace(&mut polled, true)
                || !durability.wake_when_kept_beyond(seen, context.waker());
            match comes {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
