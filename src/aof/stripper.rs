//! Takes the `#` lines out of the bytes of an annotated segment, as they come.
//!
//! They stand between commands only, so it is enough to know where commands end: counts and lengths are read, arguments passed
//! through unseen. Holds nothing back but a line that is not complete: a few bytes.

/// Where in a file the last byte has left it.
#[derive(Debug, Default)]
pub struct Stripper {
    state: State,
    /// Of the line that is being read, while it is one that says how much follows.
    number: u64,
    /// Arguments of the command that have not begun.
    arguments: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between commands.
    #[default]
    Between,
    Annotation,
    /// A line that is a command, or cannot be told.
    Line,
    /// `*N`
    Count,
    /// Before the `$` of an argument.
    BeforeLength,
    /// `$N`
    Length,
    /// So many bytes of an argument and its line end are to come.
    Argument(u64),
}

impl Stripper {
    /// Adds to `out` what of `bytes` is of the journal.
    pub fn strip(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        while at < bytes.len() {
            if let State::Argument(left) = self.state {
                let count = left.min((bytes.len() - at) as u64) as usize;
                out.extend_from_slice(&bytes[at..at + count]);
                at += count;
                let left = left - count as u64;
                self.state = match (left, self.arguments) {
                    (0, 0) => State::Between,
                    (0, _) => State::BeforeLength,
                    _ => State::Argument(left),
                };
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if !self.step(byte) {
                out.push(byte);
            }
        }
    }

    /// One byte outside of arguments; true if it is of an annotation.
    fn step(&mut self, byte: u8) -> bool {
        self.state = match (self.state, byte) {
            (State::Between, b'#') => State::Annotation,
            (State::Between, b'*') => self.begin_number(State::Count),
            (State::Between, b'\n') => State::Between,
            (State::Between, _) => State::Line,
            (State::Annotation, b'\n') => {
                self.state = State::Between;
                return true;
            }
            (State::Line, b'\n') => State::Between,
            (State::Count, b'\n') => {
                self.arguments = self.number;
                match self.arguments {
                    0 => State::Between,
                    _ => State::BeforeLength,
                }
            }
            (State::BeforeLength, b'$') => self.begin_number(State::Length),
            (State::Length, b'\n') => {
                self.arguments = self.arguments.saturating_sub(1);
                State::Argument(self.number.saturating_add(2))
            }
            (state @ (State::Count | State::Length), b'0'..=b'9') => {
                let digit = u64::from(byte - b'0');
                self.number = self.number.saturating_mul(10).saturating_add(digit);
                state
            }
            (state, _) => state,
        };
        self.state == State::Annotation
    }

    fn begin_number(&mut self, state: State) -> State {
        self.number = 0;
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_go_and_arguments_that_look_like_them_stay_however_the_bytes_are_cut() {
        let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8\r\n#TS:1\r\n*\r\n";
        let empty = "*2\r\n$3\r\nGET\r\n$0\r\n\r\n";
        let file = format!("#TS:1\r\n{set}#TS:2\r\n#TS:3\r\n{empty}PING\r\n#TS:4\r\n\r\n{set}");
        let journal = format!("{set}{empty}PING\r\n\r\n{set}");
        for length in 1..file.len() {
            let (mut stripper, mut out) = (Stripper::default(), Vec::new());
            for piece in file.as_bytes().chunks(length) {
                stripper.strip(piece, &mut out);
            }
            assert_eq!(String::from_utf8_lossy(&out), journal, "pieces of {length}");
        }
    }
}
