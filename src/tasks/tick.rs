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
    loop {
        lock.with(|engine| {
            engine.tick();
            engine.sample_rates(ROUND);
        });
        for _ in 0..300 {
            if !lock.with(|engine| engine.expire_some()) {
                break;
            }
            async_std::task::sleep(EXPIRE_PAUSE).await;
        }
        async_std::task::sleep(ROUND).await;
    }
}
