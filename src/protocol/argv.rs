//! The words of a request: borrowed from what a connection has received, or owned.
//!
//! Words stand in one piece of bytes, each known by its place there; a big one has a buffer of its own, which may be kept
//! without a copy. Knows nothing of how they were read.

use bytes::Bytes;

/// Where one argument lies: in the bytes that were parsed, or among the big ones.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// [`IN_BIG`] for a big one, whose number is `length` then.
    pub(super) start: u32,
    pub(super) length: u32,
}

pub(super) const IN_BIG: u32 = u32::MAX;

impl Part {
    /// `length` bytes from byte `start` of the source, which is shorter than 4 GiB.
    pub fn new(start: usize, length: usize) -> Self {
        debug_assert!(start < IN_BIG as usize && length <= IN_BIG as usize);
        Part {
            start: start as u32,
            length: length as u32,
        }
    }

    /// The same argument in a source that has `bytes` more in front, or fewer.
    pub fn moved(self, bytes: isize) -> Self {
        Part {
            start: (self.start as isize + bytes) as u32,
            ..self
        }
    }
}

/// The arguments of one request, the command's name first.
#[derive(Clone, Copy)]
pub struct Argv<'a> {
    pub(super) source: &'a [u8],
    pub(super) parts: &'a [Part],
    pub(super) big: &'a [Bytes],
}

impl<'a> Argv<'a> {
    /// The arguments that others have found in `source`.
    pub fn over(source: &'a [u8], parts: &'a [Part]) -> Self {
        let big = &[];
        Argv { source, parts, big }
    }

    pub fn len(&self) -> usize {
        self.parts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// # Panics
    /// If there is no such argument; arity is checked before a command runs.
    pub fn get(&self, index: usize) -> &'a [u8] {
        let part = self.parts[index];
        if part.start == IN_BIG {
            return &self.big[part.length as usize];
        }
        &self.source[part.start as usize..][..part.length as usize]
    }

    /// The argument's own buffer, if it has one: lets a big value be kept without a copy.
    pub fn shared(&self, index: usize) -> Option<&'a Bytes> {
        let part = self.parts[index];
        (part.start == IN_BIG).then(|| &self.big[part.length as usize])
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let argv = *self;
        (0..argv.len()).map(move |index| argv.get(index))
    }

    /// The arguments from `first` on, as a request of its own.
    pub fn skip(&self, first: usize) -> Argv<'a> {
        Argv {
            parts: &self.parts[first.min(self.parts.len())..],
            ..*self
        }
    }

    /// The first `count` arguments, or all, as a request of its own.
    pub fn first(&self, count: usize) -> Argv<'a> {
        Argv {
            parts: &self.parts[..count.min(self.parts.len())],
            ..*self
        }
    }

    /// Bytes of all arguments together.
    pub fn payload_bytes(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }
}

/// A request that owns its bytes: queued by MULTI, made by the server, replayed.
#[derive(Clone, Default)]
pub struct OwnedRequest {
    source: Vec<u8>,
    parts: Vec<Part>,
    big: Vec<Bytes>,
}

impl OwnedRequest {
    pub fn new<'w>(words: impl IntoIterator<Item = &'w [u8]>) -> Self {
        let mut request = OwnedRequest::default();
        for word in words {
            request.push(word);
        }
        request
    }

    fn push(&mut self, word: &[u8]) {
        self.parts.push(Part {
            start: self.source.len() as u32,
            length: word.len() as u32,
        });
        self.source.extend_from_slice(word);
    }

    pub fn argv(&self) -> Argv<'_> {
        Argv {
            source: &self.source,
            parts: &self.parts,
            big: &self.big,
        }
    }
}

impl From<Argv<'_>> for OwnedRequest {
    fn from(argv: Argv<'_>) -> Self {
        let mut request = OwnedRequest::default();
        for index in 0..argv.len() {
            match argv.shared(index) {
                Some(bytes) => {
                    request.parts.push(Part {
                        start: IN_BIG,
                        length: request.big.len() as u32,
                    });
                    request.big.push(bytes.clone());
                }
                None => request.push(argv.get(index)),
            }
        }
        request
    }
}
