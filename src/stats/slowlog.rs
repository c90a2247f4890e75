//! The log of slow commands: bounded in entries, words and bytes.

use std::collections::VecDeque;

use crate::protocol::request::Argv;

/// Words kept of one command, and bytes of one word.
const WORDS_MAX: usize = 32;
const WORD_BYTES_MAX: usize = 128;

pub struct Slow {
    pub id: u64,
    pub unix_seconds: i64,
    pub micros: u64,
    pub words: Vec<Vec<u8>>,
    pub peer: String,
    pub client_name: Vec<u8>,
}

#[derive(Default)]
pub struct Slowlog {
    /// The newest first.
    entries: VecDeque<Slow>,
    next_id: u64,
}

impl Slowlog {
    pub fn push(&mut self, mut slow: Slow, most: usize) {
        slow.id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(slow);
        self.entries.truncate(most);
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Slow> {
        self.entries.iter()
    }

    /// Forgets the oldest entries but `most`.
    pub fn truncate(&mut self, most: usize) {
        self.entries.truncate(most);
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

/// What stands in place of a password.
pub const REDACTED: &[u8] = b"(redacted)";

/// The words of a request as the log keeps them: what is cut is said, and what stands at a place in `redacted` is hidden.
pub fn clipped(argv: Argv, redacted: &[usize]) -> Vec<Vec<u8>> {
    let kept = if argv.len() > WORDS_MAX {
        WORDS_MAX - 1
    } else {
        argv.len()
    };
    let mut words: Vec<Vec<u8>> = argv
        .iter()
        .take(kept)
        .enumerate()
        .map(|(place, word)| {
            if redacted.contains(&place) {
                return REDACTED.to_vec();
            }
            if word.len() <= WORD_BYTES_MAX {
                return word.to_vec();
            }
            let mut clipped = word[..WORD_BYTES_MAX].to_vec();
            clipped.extend_from_slice(
                format!("... ({} more bytes)", word.len() - WORD_BYTES_MAX).as_bytes(),
            );
            clipped
        })
        .collect();
    if kept < argv.len() {
        words.push(format!("... ({} more arguments)", argv.len() - kept).into_bytes());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::OwnedRequest;

    #[test]
    fn long_requests_are_clipped_and_say_so() {
        let long = [b'x'; 200];
        let request = OwnedRequest::new((0..40).map(|_| &long[..]));
        let words = clipped(request.argv(), &[1]);
        assert_eq!(words.len(), 32);
        assert!(words[0].ends_with(b"... (72 more bytes)"));
        assert_eq!(words[1], REDACTED);
        assert_eq!(words[31], b"... (9 more arguments)");
    }
}
