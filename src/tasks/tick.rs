//! The clockwork: wakes `engine/periodic`.
//!
//! Started by boot on async-std; woken by a timer, ten times a second, and at once again while keys wait to be expired;
//! ends with the process.

use std::time::Duration;

use super::engine_lock::EngineLock;

const ROUND: Duration = Duration::from_millis(100);

/// Between two slices of expiry, so that requests come in between.
const EXPIRE_PAUSE: Duration = Duration::from_micros(300);

pub async fn run(lock: EngineLock) {
    let mut sampled = lock.with(|engine| engine.monotonic);
    loop {
        let began = lock.with(|engine| {
            engine.tick();
            engine.sample_rates(engine.monotonic.saturating_sub(sampled));
            engine.monotonic
        });
        sampled = began;
        let elapsed = loop {
            let (more, now) = lock.with(|engine| (engine.expire_some(), engine.monotonic));
            let elapsed = now.saturating_sub(began);
            if !more || elapsed >= ROUND {
                break elapsed;
            }
            async_std::task::sleep(EXPIRE_PAUSE).await;
        };
        async_std::task::sleep(ROUND.saturating_sub(elapsed).max(EXPIRE_PAUSE)).await;
    }
}
