//! CRC-64 Jones: the checksum of RDB files and DUMP payloads.
//!
//! Reflected, start 0, no final xor; `123456789` gives e9c6d914c4b8d9ca. The crate computes it at tens of GB/s where it gets
//! a kibibyte or more at a time and a hundred times slower byte by byte, so callers feed buffers, never fields.

use crc_fast::{CrcAlgorithm, Digest};

/// A running checksum. Parts that were summed apart join with [`Checksum::append`].
#[derive(Clone, Copy)]
pub struct Checksum(Digest);

impl Checksum {
    pub fn new() -> Self {
        Checksum(Digest::new(CrcAlgorithm::Crc64Redis))
    }

    /// The checksum of one buffer.
    pub fn of(bytes: &[u8]) -> u64 {
        crc_fast::checksum(CrcAlgorithm::Crc64Redis, bytes)
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// As if the bytes that `next` has seen had come after the bytes seen here.
    pub fn append(&mut self, next: &Checksum) {
        self.0.combine(&next.0);
    }

    pub fn value(&self) -> u64 {
        self.0.finalize()
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Checksum::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The definition, bit by bit: the oracle for the crate.
    fn slow(bytes: &[u8]) -> u64 {
        let mut crc = 0u64;
        for &byte in bytes {
            crc ^= u64::from(byte);
            for _ in 0..8 {
                let carry = crc & 1;
                crc = (crc >> 1) ^ (carry * 0x95ac_9329_ac4b_c9b5);
            }
        }
        crc
    }

    #[test]
    fn it_is_the_polynomial_of_redis() {
        assert_eq!(Checksum::of(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(Checksum::of(b""), 0);
        assert_eq!(Checksum::new().value(), 0);
        let bytes: Vec<u8> = (0..700u32).map(|i| ((i * i) >> 3) as u8).collect();
        for length in 0..bytes.len() {
            assert_eq!(
                Checksum::of(&bytes[..length]),
                slow(&bytes[..length]),
                "{length}"
            );
        }
    }

    #[test]
    fn pieces_and_joined_parts_give_the_checksum_of_the_whole() {
        let mut random = Random::from_seed(3);
        let bytes: Vec<u8> = (0..20_000).map(|_| random.next_u64() as u8).collect();
        for _ in 0..50 {
            let cut = random.below(bytes.len() as u64 + 1) as usize;
            let (mut head, mut tail) = (Checksum::new(), Checksum::new());
            for piece in bytes[..cut].chunks(1 + random.below(3000) as usize) {
                head.update(piece);
            }
            tail.update(&bytes[cut..]);
            head.append(&tail);
            assert_eq!(head.value(), Checksum::of(&bytes), "cut at {cut}");
        }
    }
}
