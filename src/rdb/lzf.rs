//! LZF: the compression of RDB strings.
//!
//! ```text
//! 000LLLLL                      the next L+1 bytes (1 to 32) stand for themselves
//! LLLooooo oooooooo   L = 1..6  copy L+2 bytes (3 to 8) from a distance of o+1 (1 to 8192) back
//! 111ooooo nnnnnnnn oooooooo    copy n+9 bytes (9 to 264), the same distance
//! ```
//!
//! Compressing is ours: most values are a few dozen bytes long, and clearing a table for each would cost more than the
//! work itself. The table of positions lives as long as its thread and is never cleared between calls; each call numbers its
//! bytes from where the last one stopped, so an entry below that start is known to be stale.
//!
//! Decompressing is the crate's, whose reader checks every copy against both ends. What it does not check is what it is told
//! to allocate, and whether the whole of that was filled: both are done here. Its positions are `i32`, hence
//! [`DECOMPRESSED_BYTES_MAX`].

use std::cell::RefCell;

/// Inputs up to this length are never compressed.
pub const PLAIN_BYTES_MAX: usize = 20;

/// A saving smaller than this is not worth the reader's work.
pub const SAVED_BYTES_MIN: usize = 4;

/// The longest string that [`decompress`] yields, in bytes.
pub const DECOMPRESSED_BYTES_MAX: usize = i32::MAX as usize;

/// What one compressed byte can become at most: three bytes say "copy 264".
pub const EXPANSION_MAX: usize = 88;

/// Appends the compressed form of `input` to `output`, or nothing and false where it would take more than `limit` bytes.
pub fn compress(input: &[u8], limit: usize, output: &mut Vec<u8>) -> bool {
    if input.len() > DECOMPRESSED_BYTES_MAX {
        return false;
    }
    let start = output.len();
    output.resize(start + limit, 0);
    let written =
        TABLE.with_borrow_mut(|table| table.compress(input, Room::new(&mut output[start..])));
    output.truncate(start + written.unwrap_or(0));
    written.is_some()
}

/// Whether `compressed` bytes can hold `claimed` ones at all: to be asked before anything is allocated for a claim.
pub fn is_plausible(compressed: usize, claimed: u64) -> bool {
    claimed <= DECOMPRESSED_BYTES_MAX as u64
        && claimed <= (compressed as u64).saturating_mul(EXPANSION_MAX as u64)
}

/// The `claimed` bytes that `input` stands for; none if it is damaged or stands for another number of bytes.
pub fn decompress(input: &[u8], claimed: u64) -> Option<Vec<u8>> {
    if !is_plausible(input.len(), claimed) {
        return None;
    }
    if input.is_empty() {
        return Some(Vec::new());
    }
    let output = lzf::decompress(input, claimed as usize).ok()?;
    (output.len() as u64 == claimed).then_some(output)
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::new(Table::new());
}

/// Where each group of three bytes was seen last.
struct Table {
    /// Position plus `base` of its call; below the current call's base: stale.
    slots: Box<[u32; SLOTS]>,
    /// Where the next call starts to count.
    base: u32,
}

impl Table {
    fn new() -> Self {
        Table {
            slots: vec![0; SLOTS]
                .try_into()
                .unwrap_or_else(|_| unreachable!("made of SLOTS entries")),
            base: 1,
        }
    }

    fn begin(&mut self, bytes: usize) -> u32 {
        // The caller has bounded `bytes` to 31 bits.
        let bytes = bytes as u32;
        if self.base.checked_add(bytes).is_none() {
            self.slots.fill(0);
            self.base = 1;
        }
        let base = self.base;
        self.base += bytes;
        base
    }

    /// Greedy: takes the latest earlier place with the same three bytes, as far as it goes. The longer nothing has matched,
    /// the fewer positions are tried, so data that does not compress passes quickly.
    fn compress(&mut self, input: &[u8], mut room: Room) -> Option<usize> {
        let base = self.begin(input.len());
        let slots_log2 = match input.len() {
            ..=SHORT_BYTES_MAX => SHORT_SLOTS_LOG2,
            _ => SLOTS_LOG2,
        };
        let (mut at, mut literals_from, mut misses) = (0, 0, 0);
        while let Some(word) = word_at(input, at) {
            let slot = &mut self.slots[slot_of(word, slots_log2)];
            let seen = std::mem::replace(slot, base + at as u32);
            // A stale entry lies before the first byte: farther back than there are bytes.
            let distance = (base + at as u32 - seen) as usize;
            let is_near = distance <= DISTANCE_MAX.min(at);
            let earlier = if is_near {
                word_at(input, at - distance)
            } else {
                None
            };
            if earlier.is_none_or(|earlier| (earlier ^ word) << 8 != 0) {
                misses += 1;
                at += 1 + misses / 32;
                continue;
            }
            let copied_max = (input.len() - at).min(COPY_MAX);
            let copied = 3 + common(&input[at - distance + 3..], &input[at + 3..at + copied_max]);
            room.put_literals(input, literals_from, at)?;
            room.put_copy(distance, copied)?;
            at += copied;
            literals_from = at;
            misses = 0;
            for inside in [at - 2, at - 1] {
                if let Some(word) = word_at(input, inside) {
                    self.slots[slot_of(word, slots_log2)] = base + inside as u32;
                }
            }
        }
        room.put_literals(input, literals_from, input.len())?;
        Some(room.used)
    }
}

const SLOTS_LOG2: u32 = 14;
const SLOTS: usize = 1 << SLOTS_LOG2;
/// For short inputs only the start of the table is used, which then stays in the nearest cache.
const SHORT_BYTES_MAX: usize = 1024;
const SHORT_SLOTS_LOG2: u32 = 10;
const DISTANCE_MAX: usize = 8192;
const COPY_MAX: usize = 264;
const LITERALS_MAX: usize = 32;

/// Four bytes as a number whose low three count.
#[inline]
fn word_at(input: &[u8], at: usize) -> Option<u32> {
    let bytes = input.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// The slot of the three bytes that count, among the first two to the power of `slots_log2`.
#[inline]
fn slot_of(word: u32, slots_log2: u32) -> usize {
    ((word << 8).wrapping_mul(0x9e37_79b1) >> (32 - slots_log2)) as usize % SLOTS
}

/// How many bytes of `later` the start of `earlier` repeats.
#[inline]
fn common(earlier: &[u8], later: &[u8]) -> usize {
    let earlier = &earlier[..later.len()];
    let mut same = 0;
    while let (Some(a), Some(b)) = (
        earlier[same..].first_chunk::<8>(),
        later[same..].first_chunk::<8>(),
    ) {
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            return same + (differing.trailing_zeros() / 8) as usize;
        }
        same += 8;
    }
    while same < later.len() && earlier[same] == later[same] {
        same += 1;
    }
    same
}

/// Where the compressed bytes go, and how many may.
struct Room<'a> {
    bytes: &'a mut [u8],
    used: usize,
}

impl<'a> Room<'a> {
    fn new(bytes: &'a mut [u8]) -> Self {
        Room { bytes, used: 0 }
    }

    /// Runs are short, and a copy of a fixed size is far quicker than one of a few bytes. So where both sides have room for
    /// a whole run, all of that is copied, and what comes next writes over the excess.
    #[inline]
    fn put_literals(&mut self, input: &[u8], mut from: usize, until: usize) -> Option<()> {
        while from < until {
            let run = (until - from).min(LITERALS_MAX);
            let (control, free) = self.bytes[self.used..].split_first_mut()?;
            *control = run as u8 - 1;
            let source = &input[from..];
            match (
                free.first_chunk_mut::<LITERALS_MAX>(),
                source.first_chunk::<LITERALS_MAX>(),
            ) {
                (Some(free), Some(source)) => *free = *source,
                _ => free.get_mut(..run)?.copy_from_slice(&source[..run]),
            }
            self.used += 1 + run;
            from += run;
        }
        Some(())
    }

    #[inline]
    fn put_copy(&mut self, distance: usize, copied: usize) -> Option<()> {
        let (high, low) = (((distance - 1) >> 8) as u8, (distance - 1) as u8);
        let free = &mut self.bytes[self.used..];
        if copied <= 8 {
            *free.first_chunk_mut()? = [((copied as u8 - 2) << 5) | high, low];
            self.used += 2;
        } else {
            *free.first_chunk_mut()? = [0xe0 | high, (copied - 9) as u8, low];
            self.used += 3;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The format read in the plainest way: the second opinion on what the crate's reader says.
    fn read_plainly(input: &[u8]) -> Option<Vec<u8>> {
        let (mut output, mut input) = (Vec::new(), input.iter().map(|byte| usize::from(*byte)));
        while let Some(control) = input.next() {
            if control < 0x20 {
                for _ in 0..=control {
                    output.push(input.next()? as u8);
                }
            } else {
                let mut length = (control >> 5) + 2;
                if length == 9 {
                    length += input.next()?;
                }
                let distance = ((control & 0x1f) << 8) + input.next()? + 1;
                for _ in 0..length {
                    output.push(*output.get(output.len().checked_sub(distance)?)?);
                }
            }
        }
        Some(output)
    }

    fn check(input: &[u8]) -> usize {
        let mut output = b"before".to_vec();
        let generous = input.len() + input.len() / 16 + 8;
        assert!(compress(input, generous, &mut output));
        let compressed = &output[6..];
        assert_eq!(
            decompress(compressed, input.len() as u64).as_deref(),
            Some(input)
        );
        assert_eq!(read_plainly(compressed).as_deref(), Some(input));
        // The same again, with a limit that just holds it, and with one that does not.
        let (mut exact, size) = (Vec::new(), compressed.len());
        if compress(input, size, &mut exact) {
            assert_eq!(exact, compressed);
        }
        assert!(
            !compress(input, size.saturating_sub(4).min(size / 2), &mut exact) || input.is_empty()
        );
        size
    }

    fn text(random: &mut Random, words: u64, bytes: usize) -> Vec<u8> {
        let mut text = Vec::new();
        while text.len() < bytes {
            text.extend_from_slice(format!("word{} ", random.below(words)).as_bytes());
        }
        text.truncate(bytes);
        text
    }

    #[test]
    fn everything_compressed_reads_back_the_same() {
        let mut random = Random::from_seed(11);
        for round in 0..1500u64 {
            let bytes = random.below(1 + round * 3) as usize;
            let alphabet = 1 + random.below(256);
            let noise: Vec<u8> = (0..bytes).map(|_| random.below(alphabet) as u8).collect();
            check(&noise);
            check(&text(&mut random, 1 + round, bytes));
        }
        for bytes in [0, 1, 2, 3, 4, 5, 32, 33, 263, 264, 265, 8192, 8193, 70_000] {
            check(&vec![b'a'; bytes]);
            let mut far = vec![0; bytes];
            far.iter_mut()
                .enumerate()
                .for_each(|(i, b)| *b = ((i * i) >> 8) as u8);
            check(&far.repeat(2));
        }
    }

    #[test]
    fn repetitive_data_becomes_small() {
        assert_eq!(check(&[b'a'; 100]), 5);
        assert!(check(&vec![0; 70_000]) < 70_000 / 80);
        let json = br#"{"id":12345,"name":"somebody","tags":["red","green"],"balance":10.25}"#;
        assert!(check(&json.repeat(20)) < json.len() * 2);
    }

    #[test]
    fn the_table_survives_the_wrap_of_its_numbering() {
        TABLE.with_borrow_mut(|table| table.base = u32::MAX - 5_000);
        let mut random = Random::from_seed(5);
        for _ in 0..100 {
            check(&text(&mut random, 20, 300));
        }
        TABLE.with_borrow(|table| assert!(table.base < 100_000));
    }

    #[test]
    fn a_claim_is_bounded_before_anything_is_allocated() {
        assert!(decompress(&[0x01, 0x61, 0x61, 0xe0, 0x28, 0x00], 1 << 50).is_none());
        assert!(is_plausible(3, 264) && !is_plausible(3, 265));
        assert!(!is_plausible(usize::MAX, 1 << 31));
        assert_eq!(decompress(b"", 0), Some(Vec::new()));
        assert_eq!(decompress(b"", 1), None);
    }

    #[test]
    fn hostile_bytes_are_refused_or_mean_what_the_format_says() {
        let mut random = Random::from_seed(12);
        for _ in 0..30_000 {
            let mut bytes: Vec<u8> = match random.below(3) {
                0 => (0..random.below(40))
                    .map(|_| random.next_u64() as u8)
                    .collect(),
                _ => {
                    let plain = text(&mut random, 5, 60);
                    let mut compressed = Vec::new();
                    assert!(compress(&plain, 200, &mut compressed));
                    compressed
                }
            };
            for _ in 0..random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next_u64() as u8;
                }
            }
            let plain = read_plainly(&bytes);
            let claimed = match (&plain, random.below(4)) {
                (None, _) | (_, 0) => random.below(300),
                (Some(plain), _) => plain.len() as u64,
            };
            let expected = plain.filter(|plain| plain.len() as u64 == claimed);
            assert_eq!(decompress(&bytes, claimed), expected, "{bytes:?} {claimed}");
        }
    }
}
