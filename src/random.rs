//! The only source of randomness: seeded from the operating system in production, by a test in simulation.

use std::sync::OnceLock;

/// A small, fast generator (xoshiro256++). Not for secrets beyond identifiers: 256 bits of state from the system's
/// generator make run ids and replication ids unguessable enough for what they protect.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// Seeded by the operating system.
    ///
    /// # Panics
    /// If the system has no randomness to give; a server without unpredictable hash seeds must not start.
    pub fn from_system() -> Self {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        let mut state = [0u64; 4];
        for (word, chunk) in state.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight"));
        }
        Random { state }
    }

    /// The same numbers for the same seed, always.
    pub fn from_seed(seed: u64) -> Self {
        let mut mixer = seed;
        let mut next = || {
            mixer = mixer.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = mixer;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Random {
            state: [next(), next(), next(), next()],
        }
    }

    /// A generator of its own, for work during which this one cannot be held.
    pub fn fork(&mut self) -> Random {
        Random::from_seed(self.next_u64())
    }

    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number in `0..bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True with a probability of `numerator / denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// Forty lowercase hexadecimal digits: a run id, a replication id, an end mark.
    pub fn hex40(&mut self) -> [u8; 40] {
        let mut digits = [0u8; 40];
        for digit in &mut digits {
            *digit = b"0123456789abcdef"[self.below(16) as usize];
        }
        digits
    }
}

static HASH_SEED: OnceLock<u64> = OnceLock::new();

/// The hash seed of this process, the same for every table, so that a key is hashed once per request.
pub fn hash_seed() -> u64 {
    *HASH_SEED.get_or_init(|| Random::from_system().next_u64())
}

/// Fixes the hash seed, for runs that are to repeat exactly. Too late, and without effect, once something was hashed; true if
/// the seed is `seed` now.
pub fn fix_hash_seed(seed: u64) -> bool {
    *HASH_SEED.get_or_init(|| seed) == seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_stays_in_bounds() {
        let (mut a, mut b) = (Random::from_seed(7), Random::from_seed(7));
        for bound in 1..1000 {
            let value = a.below(bound);
            assert_eq!(value, b.below(bound));
            assert!(value < bound);
        }
        assert_ne!(Random::from_seed(1).hex40(), Random::from_seed(2).hex40());
    }
}
