//! When and how often a key was used: the 24 access bits of its entry, as LRU time or as LFU counter.
//!
//! LRU: seconds modulo 2^24. LFU: 16 bits of minutes at the last decay, 8 bits of a logarithmic counter, as Redis keeps
//! them. Touching copies nothing, and writes only if the bits change.

use crate::clock::UnixMillis;
use crate::config::Config;
use crate::config::values::MaxmemoryPolicy;
use crate::random::Random;

use super::entry::Entry;

/// What an access does to the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessRule {
    /// Nothing: CLIENT NO-TOUCH, TOUCH-free commands, a snapshot at work.
    Leave,
    Lru,
    Lfu {
        log_factor: u32,
        decay_minutes: u32,
    },
}

impl AccessRule {
    /// The rule of the eviction policy in force.
    pub fn of(config: &Config) -> Self {
        if matches!(
            config.maxmemory_policy,
            MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu
        ) {
            AccessRule::Lfu {
                log_factor: config.lfu_log_factor,
                decay_minutes: config.lfu_decay_time,
            }
        } else {
            AccessRule::Lru
        }
    }
}

const LRU_BITS: u32 = 24;
const LFU_FRESH: u32 = 5;

/// The bits of a new key.
pub fn fresh(rule: AccessRule, now: UnixMillis) -> u32 {
    match rule {
        AccessRule::Lfu { .. } => minutes(now) << 8 | LFU_FRESH,
        _ => lru_seconds(now),
    }
}

pub fn touch(entry: &Entry, rule: AccessRule, now: UnixMillis, random: &mut Random) {
    let bits = match rule {
        AccessRule::Leave => return,
        AccessRule::Lru => lru_seconds(now),
        AccessRule::Lfu {
            log_factor,
            decay_minutes,
        } => {
            let counter = decayed(entry.access(), decay_minutes, now);
            minutes(now) << 8 | incremented(counter, log_factor, random)
        }
    };
    if entry.access() != bits {
        entry.set_access(bits);
    }
}

/// Seconds since the last access under LRU.
pub fn idle_seconds(access: u32, now: UnixMillis) -> u64 {
    u64::from(lru_seconds(now).wrapping_sub(access) & ((1 << LRU_BITS) - 1))
}

/// The access bits of a key that was last used so long ago.
pub fn from_idle_seconds(idle: u64, now: UnixMillis) -> u32 {
    lru_seconds(UnixMillis(now.0.saturating_sub(
        idle.saturating_mul(1000).min(i64::MAX as u64) as i64,
    )))
}

/// The LFU counter, decayed to now.
pub fn frequency(access: u32, decay_minutes: u32, now: UnixMillis) -> u8 {
    decayed(access, decay_minutes, now) as u8
}

/// The access bits of a key with that LFU counter.
pub fn from_frequency(counter: u8, now: UnixMillis) -> u32 {
    minutes(now) << 8 | u32::from(counter)
}

fn lru_seconds(now: UnixMillis) -> u32 {
    (now.seconds() as u32) & ((1 << LRU_BITS) - 1)
}

fn minutes(now: UnixMillis) -> u32 {
    (now.seconds() / 60) as u32 & 0xffff
}

fn decayed(access: u32, decay_minutes: u32, now: UnixMillis) -> u32 {
    let counter = access & 0xff;
    let elapsed = minutes(now).wrapping_sub(access >> 8) & 0xffff;
    match elapsed.checked_div(decay_minutes) {
        Some(periods) => counter.saturating_sub(periods),
        None => counter,
    }
}

/// Grows ever more seldom: with probability 1 / ((counter - fresh) * factor + 1).
fn incremented(counter: u32, log_factor: u32, random: &mut Random) -> u32 {
    let base = u64::from(counter.saturating_sub(LFU_FRESH));
    if counter < 255 && random.chance(1, base * u64::from(log_factor) + 1) {
        counter + 1
    } else {
        counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_survives_the_round_trip_through_24_bits() {
        let now = UnixMillis(1_700_000_000_000);
        for idle in [0, 1, 59, 86_400, 10_000_000] {
            assert_eq!(idle_seconds(from_idle_seconds(idle, now), now), idle);
        }
    }

    #[test]
    fn frequency_grows_with_use_and_decays_with_minutes() {
        let mut random = Random::from_seed(1);
        let entry = Entry::new(b"k", None, super::super::entry::Content::Int(1));
        let rule = AccessRule::Lfu {
            log_factor: 10,
            decay_minutes: 1,
        };
        let now = UnixMillis(60_000_000);
        entry.set_access(fresh(rule, now));
        for _ in 0..10_000 {
            touch(&entry, rule, now, &mut random);
        }
        let counter = frequency(entry.access(), 1, now);
        assert!((20..60).contains(&counter), "{counter}");
        assert_eq!(
            frequency(entry.access(), 1, UnixMillis(now.0 + 5 * 60_000)),
            counter - 5
        );
        assert_eq!(
            frequency(entry.access(), 0, UnixMillis(now.0 + 5 * 60_000)),
            counter
        );
    }
}
