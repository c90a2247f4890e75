//! Drops big things off the engine's thread.
//!
//! Started by boot on a thread of its own; woken by garbage; ends when the last door to the engine is gone.

use async_std::channel::Receiver;

use crate::engine::data::Garbage;

pub fn start(garbage: Receiver<Vec<Garbage>>) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("reclaim".into())
        .spawn(move || {
            while let Ok(batch) = async_std::task::block_on(garbage.recv()) {
                drop(batch);
            }
        })?;
    Ok(())
}
