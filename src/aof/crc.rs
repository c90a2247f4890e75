//! The checksum of a closed file: CRC-64/XZ over all its bytes, sixteen hexadecimal digits in the manifest.

use std::fmt;

use crc64fast::Digest;

/// The checksum of the bytes so far.
#[derive(Clone, Default)]
pub struct Crc {
    digest: Digest,
    bytes: u64,
}

impl Crc {
    pub fn new() -> Self {
        Crc::default()
    }

    pub fn of(bytes: &[u8]) -> u64 {
        let mut crc = Crc::new();
        crc.update(bytes);
        crc.value()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.digest.write(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub fn value(&self) -> u64 {
        self.digest.sum64()
    }

    /// How many bytes it stands for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Debug for Crc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crc({} of {} bytes)", digits(self.value()), self.bytes)
    }
}

/// As the manifest holds it.
pub fn digits(value: u64) -> String {
    format!("{value:016x}")
}

/// Reads exactly sixteen hexadecimal digits.
pub fn parse_digits(text: &str) -> Option<u64> {
    if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_crc_64_xz_in_any_pieces() {
        assert_eq!(Crc::of(b"123456789"), 0x995d_c9bb_df19_39fa);
        let mut crc = Crc::new();
        for piece in [&b"123"[..], b"", b"456789"] {
            crc.update(piece);
        }
        assert_eq!((crc.value(), crc.bytes()), (Crc::of(b"123456789"), 9));
        assert_eq!(Crc::of(b""), 0);
    }

    #[test]
    fn digits_are_always_sixteen() {
        for value in [0, 1, u64::MAX, 0x995d_c9bb_df19_39fa] {
            assert_eq!(parse_digits(&digits(value)), Some(value));
        }
        for bad in [
            "",
            "0",
            "00000000000000000",
            "+000000000000001",
            "000000000000000g",
        ] {
            assert_eq!(parse_digits(bad), None);
        }
    }
}
