//! The frame of a DUMP payload: one value that travels alone.
//!
//! ```text
//! type byte, value | version: u16 little-endian | CRC-64 of everything before
//! ```
//!
//! Unlike in a file, a checksum of zero is not an exception, and any version up to the reader's own is accepted.

use super::checksum::Checksum;
use super::error::{During, Fault, Problem, RdbError};
use super::opcode::{Dialect, Meaning, Version, meaning};
use super::parts::PartReader;
use super::primitive::Reader;

/// The newest version whose payloads are read.
const VERSION_MAX: u16 = 12;

const FOOTER_BYTES: usize = 10;

/// Ends a payload that so far holds type byte and value.
pub fn seal(payload: &mut Vec<u8>, version: Version) {
    payload.extend_from_slice(&version.number.to_le_bytes());
    let checksum = Checksum::of(payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
}

/// What is between the start and the footer, if the footer is right: what `ERR DUMP payload version or checksum are wrong`
/// asks.
pub fn unseal(payload: &[u8]) -> Option<&[u8]> {
    let (body, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER_BYTES)?)?;
    let (version, checksum) = footer.split_first_chunk()?;
    let covered = &payload[..payload.len() - checksum.len()];
    let is_right = u16::from_le_bytes(*version) <= VERSION_MAX
        && Checksum::of(covered).to_le_bytes() == *checksum;
    is_right.then_some(body)
}

/// Readers of the value in an unsealed body: the parts that it is made of, and where to take them from. The reader ends
/// before the footer, so a claim cannot reach into it.
///
/// # Errors
/// Not a type that this version reads.
pub fn open(body: &[u8]) -> Result<(PartReader, Reader<'_>), RdbError> {
    let mut reader = Reader::new(body);
    let wrong = |problem| Fault::new(0, problem).during(During::Dump);
    let byte = reader.byte().map_err(|fault| fault.during(During::Dump))?;
    match meaning(byte, Dialect::Redis) {
        Meaning::Value(value_type) => Ok((PartReader::new(value_type), reader)),
        Meaning::Unsupported(name) => Err(wrong(Problem::Unsupported { byte, name })),
        Meaning::Opcode(_) | Meaning::Unknown => Err(wrong(Problem::UnknownRecord(byte))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::opcode::ValueType;
    use crate::rdb::parts::{NodeForm, Part};
    use crate::rdb::writer::Writer;

    /// DUMP of the string hello, by Redis 7.0.15.
    const HELLO: &[u8] = b"\x00\x05hello\x0a\x00\x63\x72\xdf\x76\x65\x34\x20\x0a";

    #[test]
    fn a_payload_is_sealed_as_the_server_does() {
        let mut writer = Writer::new(true);
        writer.byte(ValueType::String as u8);
        writer.string(b"hello");
        seal(&mut writer.bytes, Version::redis(10));
        assert_eq!(writer.bytes, HELLO);
    }

    #[test]
    fn payloads_of_the_server_open() {
        let (mut parts, mut reader) = open(unseal(HELLO).expect("sealed")).expect("a string");
        assert!(
            matches!(parts.next_part(&mut reader), Ok(Some(Part::String(s))) if &s[..] == b"hello")
        );
        let list = b"\x12\x01\x02\x0c\x0c\0\0\0\x02\0\x81\x61\x02\x01\x01\xff\x0a\0\x94\x96\x2b\x23\xac\x17\xaa\x85";
        let (mut parts, mut reader) = open(unseal(list).expect("sealed")).expect("a list");
        let node = parts.next_part(&mut reader).expect("a node");
        assert!(
            matches!(node, Some(Part::Node { form: NodeForm::Packed, bytes }) if bytes.len() == 12)
        );
        assert_eq!(parts.next_part(&mut reader), Ok(None));
        assert_eq!(reader.left(), 0);
        assert_eq!(
            unseal(b"\x0a\x00\x5d\x9b\x5c\x40\x0f\x7f\xa2\xda"),
            Some(&b""[..])
        );
    }

    #[test]
    fn a_wrong_footer_does_not_open() {
        for at in 0..HELLO.len() {
            let mut damaged = HELLO.to_vec();
            damaged[at] ^= 4;
            assert_eq!(unseal(&damaged), None, "byte {at}");
            assert_eq!(unseal(&HELLO[..at]), None);
        }
        let mut newer = vec![0, 0];
        seal(&mut newer, Version::redis(13));
        assert_eq!(unseal(&newer), None);
    }

    #[test]
    fn a_claim_cannot_reach_into_the_footer() {
        let mut payload = b"\x00\x06hello".to_vec();
        seal(&mut payload, Version::redis(10));
        let (mut parts, mut reader) = open(unseal(&payload).expect("sealed")).expect("a string");
        let fault = parts.next_part(&mut reader).expect_err("too long");
        assert_eq!(
            fault.problem,
            Problem::Truncated {
                expected: 6,
                left: 5
            }
        );
        assert!(open(b"").is_err() && open(b"\xfe\x00").is_err() && open(b"\x15").is_err());
    }
}
