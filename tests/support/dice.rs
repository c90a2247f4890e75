//! Random numbers from a seed, so that a failure can be run again: splitmix64, which is enough for tests.
//!
//! `SLUICE_SHIFT=n` gives each seed other numbers than it has without: a test whose seeds are fixed does something new.

use std::sync::OnceLock;

#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        static SHIFT: OnceLock<u64> = OnceLock::new();
        let shift = *SHIFT.get_or_init(|| Dice::seed_from("SLUICE_SHIFT", 0));
        Dice(seed ^ shift.wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    /// A seed from the environment variable, else the given one.
    pub fn seed_from(variable: &str, otherwise: u64) -> u64 {
        match std::env::var(variable) {
            Ok(text) => text
                .parse()
                .unwrap_or_else(|_| panic!("{variable} should be a decimal seed, found {text:?}")),
            Err(_) => otherwise,
        }
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}
