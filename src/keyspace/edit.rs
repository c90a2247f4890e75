//! Changing the string in an entry by parts: APPEND, SETRANGE, SETBIT.
//!
//! A short string is rewritten in its entry; one that grows past [`BIG_STRING_BYTES`] is put into chunks, where only the
//! chunks that are touched are copied. Key, expiry and access bits stay as they are. The entry must hold a string, and
//! limits are the caller's business.

use std::borrow::Cow;

use crate::number::Digits;
use crate::types::Value;
use crate::types::string::{BIG_STRING_BYTES, BigString};

use super::entry::{Content, Entry, View};

/// Adds `tail` behind the string.
pub fn append(entry: &mut Entry, tail: &[u8]) {
    if let Some(Value::String(string)) = entry.value_mut() {
        return string.append(tail);
    }
    let head = inline_bytes(entry);
    let length = head.len() + tail.len();
    if length >= BIG_STRING_BYTES {
        let mut string = BigString::new(&head);
        string.append(tail);
        entry.set_content(Content::Value(Value::String(string)));
    } else {
        let whole = [&head, tail].concat();
        entry.set_content(Content::Edited(&whole));
    }
}

/// Writes `bytes` at `offset`; zeros fill a gap between the end of the string and there.
pub fn write_at(entry: &mut Entry, offset: usize, bytes: &[u8]) {
    if let Some(Value::String(string)) = entry.value_mut() {
        return string.write_at(offset, bytes);
    }
    let end = offset + bytes.len();
    if let Some(place) = entry
        .bytes_mut()
        .and_then(|inline| inline.get_mut(offset..end))
    {
        return place.copy_from_slice(bytes);
    }
    let old = inline_bytes(entry);
    let length = end.max(old.len());
    if length >= BIG_STRING_BYTES {
        let mut string = BigString::new(&old);
        string.write_at(offset, bytes);
        entry.set_content(Content::Value(Value::String(string)));
    } else {
        let mut whole = Vec::with_capacity(length);
        whole.extend_from_slice(&old);
        whole.resize(length, 0);
        whole[offset..end].copy_from_slice(bytes);
        entry.set_content(Content::Edited(&whole));
    }
}

/// The entry of a string that did not exist before `bytes` were written at `offset`.
pub fn new_entry(key: &[u8], offset: usize, bytes: &[u8]) -> Entry {
    let mut entry = Entry::new(key, None, Content::Edited(b""));
    write_at(&mut entry, offset, bytes);
    entry
}

fn inline_bytes(entry: &Entry) -> Cow<'_, [u8]> {
    match entry.view() {
        View::Int(value) => Cow::Owned(Digits::new().of(value).to_vec()),
        View::Bytes(bytes) => Cow::Borrowed(bytes),
        View::Value(_) => Cow::Borrowed(&[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;
    use crate::random::Random;

    fn bytes_of(entry: &Entry) -> Vec<u8> {
        match entry.view() {
            View::Value(Value::String(string)) => string.to_vec(),
            _ => inline_bytes(entry).into_owned(),
        }
    }

    #[test]
    fn random_edits_agree_with_a_vector_and_leave_clones_alone() {
        let mut random = Random::from_seed(21);
        for round in 0..200 {
            let mut model = match round % 3 {
                0 => b"12345".to_vec(),
                1 => vec![b'x'; random.below(100) as usize],
                _ => vec![b'y'; BIG_STRING_BYTES - random.below(50) as usize],
            };
            let content = match round % 3 {
                0 => Content::Int(12345),
                _ => Content::Bytes(&model),
            };
            let expiry = random.chance(1, 2).then_some(UnixMillis(77));
            let mut entry = Entry::new(b"key", expiry, content);
            entry.set_access(1234);
            let mut pictures = Vec::new();
            for _ in 0..10 {
                if random.chance(1, 3) {
                    pictures.push((entry.clone(), model.clone()));
                }
                let bytes = vec![b'n'; random.below(40) as usize];
                if random.chance(1, 2) {
                    append(&mut entry, &bytes);
                    model.extend_from_slice(&bytes);
                } else {
                    let offset = random.below(model.len() as u64 + 30) as usize;
                    write_at(&mut entry, offset, &bytes);
                    let end = offset + bytes.len();
                    model.resize(model.len().max(end), 0);
                    model[offset..end].copy_from_slice(&bytes);
                }
                assert!(bytes_of(&entry) == model);
                let kept = (entry.key(), entry.expiry(), entry.access());
                assert_eq!(kept, (&b"key"[..], expiry, 1234));
                assert!(entry.is_edited() || matches!(entry.view(), View::Value(_)));
            }
            for (entry, model) in pictures {
                assert!(bytes_of(&entry) == model);
            }
        }
    }
}
