//! Strings. An integer or a short string lies in its entry; a long one is a [`BigString`]: chunks of shared bytes.
//!
//! Chunks make two things cheap: a reply takes the chunks as they are (no copy), and a write into a long string that a
//! snapshot still sees copies one chunk and not the whole.
//!
//! Invariant: every chunk but the last has [`CHUNK_BYTES`] bytes; no chunk is empty.

pub mod commands;
pub mod lcs;
pub mod lcs_commands;
pub mod number_commands;
pub mod range_commands;

use bytes::{Bytes, BytesMut};

/// The size of a chunk.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Strings of this size and more are not stored inline in their entry.
pub const BIG_STRING_BYTES: usize = 16 * 1024;

/// A string in chunks.
#[derive(Clone, Debug, Default)]
pub struct BigString {
    chunks: Vec<Bytes>,
    length: usize,
}

impl BigString {
    pub fn new(bytes: &[u8]) -> Self {
        BigString {
            chunks: bytes
                .chunks(CHUNK_BYTES)
                .map(Bytes::copy_from_slice)
                .collect(),
            length: bytes.len(),
        }
    }

    /// Takes the bytes as they are; nothing is copied.
    pub fn from_shared(bytes: Bytes) -> Self {
        let length = bytes.len();
        if length <= CHUNK_BYTES {
            let chunks = if length == 0 { Vec::new() } else { vec![bytes] };
            return BigString { chunks, length };
        }
        let chunks = (0..length)
            .step_by(CHUNK_BYTES)
            .map(|start| bytes.slice(start..(start + CHUNK_BYTES).min(length)))
            .collect();
        BigString { chunks, length }
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// The pieces of `start..end`, without a copy. The range must lie inside the string.
    pub fn slices(&self, start: usize, end: usize) -> impl Iterator<Item = Bytes> + '_ {
        let first = start / CHUNK_BYTES;
        self.chunks
            .iter()
            .enumerate()
            .skip(first)
            .take_while(move |(index, _)| index * CHUNK_BYTES < end)
            .map(move |(index, chunk)| {
                let base = index * CHUNK_BYTES;
                chunk.slice(start.saturating_sub(base)..(end - base).min(chunk.len()))
            })
    }

    /// The byte at `index`, if it lies inside the string.
    pub fn byte(&self, index: usize) -> Option<u8> {
        self.chunks
            .get(index / CHUNK_BYTES)?
            .get(index % CHUNK_BYTES)
            .copied()
    }

    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.length);
        for chunk in &self.chunks {
            bytes.extend_from_slice(chunk);
        }
        bytes
    }

    /// Writes `bytes` at `offset`, filling with zeros what lies between the end and it.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.length {
            self.grow(end);
        }
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % CHUNK_BYTES;
            let take = rest.len().min(CHUNK_BYTES - within);
            edit(&mut self.chunks[at / CHUNK_BYTES], |chunk| {
                chunk[within..within + take].copy_from_slice(&rest[..take]);
            });
            at += take;
            rest = &rest[take..];
        }
    }

    pub fn append(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if let Some(last) = self.chunks.last_mut()
            && last.len() < CHUNK_BYTES
        {
            let take = rest.len().min(CHUNK_BYTES - last.len());
            edit(last, |chunk| {
                if chunk.capacity() < chunk.len() + take {
                    // Grown by doubling, never past a chunk: many small appends stay linear.
                    let target = (2 * (chunk.len() + take)).min(CHUNK_BYTES);
                    chunk.reserve(target - chunk.len());
                }
                chunk.extend_from_slice(&rest[..take]);
            });
            rest = &rest[take..];
        }
        self.chunks
            .extend(rest.chunks(CHUNK_BYTES).map(Bytes::copy_from_slice));
        self.length += bytes.len();
    }

    pub fn heap_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Bytes>() + self.length
    }

    fn grow(&mut self, length: usize) {
        if let Some(last) = self.chunks.last_mut() {
            let base = (self.length - 1) / CHUNK_BYTES * CHUNK_BYTES;
            let target = (length - base).min(CHUNK_BYTES);
            if last.len() < target {
                edit(last, |chunk| chunk.resize(target, 0));
            }
        }
        while self.chunks.len() * CHUNK_BYTES < length {
            let base = self.chunks.len() * CHUNK_BYTES;
            let size = (length - base).min(CHUNK_BYTES);
            self.chunks.push(BytesMut::zeroed(size).freeze());
        }
        self.length = length;
    }
}

/// Changes a chunk in place if nobody else sees it, else a copy of it.
fn edit(chunk: &mut Bytes, change: impl FnOnce(&mut BytesMut)) {
    let mut bytes = match std::mem::take(chunk).try_into_mut() {
        Ok(bytes) => bytes,
        Err(shared) => BytesMut::from(&shared[..]),
    };
    change(&mut bytes);
    *chunk = bytes.freeze();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn random_writes_agree_with_a_vector_and_leave_clones_alone() {
        let mut random = Random::from_seed(3);
        let mut model = vec![7u8; 70_000];
        let mut string = BigString::new(&model);
        let mut pictures = Vec::new();
        for step in 0..200 {
            let bytes: Vec<u8> = (0..random.below(3_000))
                .map(|_| random.next_u64() as u8)
                .collect();
            if random.chance(1, 2) {
                string.append(&bytes);
                model.extend_from_slice(&bytes);
            } else if !bytes.is_empty() {
                let offset = random.below(model.len() as u64 + 100_000) as usize;
                string.write_at(offset, &bytes);
                model.resize(model.len().max(offset + bytes.len()), 0);
                model[offset..offset + bytes.len()].copy_from_slice(&bytes);
            }
            assert_eq!(string.len(), model.len());
            if step % 20 == 0 {
                pictures.push((string.clone(), model.clone()));
            }
        }
        pictures.push((string, model));
        for (string, model) in pictures {
            assert!(string.to_vec() == model);
            let (start, end) = (model.len() / 3, model.len() / 2);
            let middle: Vec<u8> = string
                .slices(start, end)
                .flat_map(|piece| piece.to_vec())
                .collect();
            assert!(middle == model[start..end]);
            assert!(
                string
                    .chunks()
                    .iter()
                    .rev()
                    .skip(1)
                    .all(|chunk| chunk.len() == CHUNK_BYTES)
            );
        }
    }
}
