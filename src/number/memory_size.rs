//! Amounts of memory as people write them in settings and read them in INFO.

use std::io::Write;

/// Bytes from `100`, `1k` (1000), `1kb` (1024) and likewise `m`, `mb`, `g`, `gb`; `b` is allowed, letters in any case.
/// Digits may be missing and mean 0, as in Redis. What does not fit 64 bits is refused, where Redis would wrap around: a
/// slip in `maxmemory` must not turn into no limit at all.
pub fn parse_memory_size(text: &[u8]) -> Option<u64> {
    let split = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let mut count: u64 = 0;
    for digit in digits {
        count = count
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    count.checked_mul(factor)
}

/// Bytes as INFO shows them: `1023B`, `1.50K`, `2.00M`, then `G`, `T`, `P`; the letters mean powers of 1024.
pub fn write_memory_size(out: &mut Vec<u8>, bytes: u64) {
    let written = match bytes {
        0..KIB => write!(out, "{bytes}B"),
        KIB..MIB => write!(out, "{:.2}K", bytes as f64 / KIB as f64),
        MIB..GIB => write!(out, "{:.2}M", bytes as f64 / MIB as f64),
        GIB..TIB => write!(out, "{:.2}G", bytes as f64 / GIB as f64),
        TIB..PIB => write!(out, "{:.2}T", bytes as f64 / TIB as f64),
        PIB..EIB => write!(out, "{:.2}P", bytes as f64 / PIB as f64),
        EIB.. => write!(out, "{bytes}B"),
    };
    written.expect("writing to memory does not fail");
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const PIB: u64 = 1 << 50;
const EIB: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_the_configuration_file() {
        for (text, bytes) in [
            ("5", 5),
            ("007", 7),
            ("1b", 1),
            ("1k", 1000),
            ("1KB", 1024),
            ("3m", 3_000_000),
            ("3mB", 3 << 20),
            ("1G", 1_000_000_000),
            ("1gb", 1 << 30),
            ("", 0),
            ("mb", 0),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_memory_size(text.as_bytes()), Some(bytes), "{text}");
        }
        for text in [
            "-1",
            "+1",
            "1 mb",
            "1tb",
            "1.5mb",
            "0x10",
            "5%",
            "18446744073709551616",
            "17179869184gb",
        ] {
            assert_eq!(parse_memory_size(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn info_shows_two_decimals() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1536, "1.50K"),
            (1_048_575, "1024.00K"),
            (3 << 20, "3.00M"),
            (5 << 30, "5.00G"),
            (1 << 40, "1.00T"),
            (1 << 50, "1.00P"),
            (u64::MAX, "18446744073709551615B"),
        ] {
            let mut out = Vec::new();
            write_memory_size(&mut out, bytes);
            assert_eq!(out, text.as_bytes());
        }
    }
}
