//! The longest common subsequence of two strings, by the table of its prefixes.
//!
//! ```text
//!          ""  o  h  m         cell (i, j): length for the first i bytes of one and the first j of the other
//!     ""    0  0  0  0         equal bytes: one more than up-left; else the larger of up and left
//!     m     0  0  0  1
//!     y     0  0  0  1         The way back from the last cell goes up-left over equal bytes. Else it goes up if that
//!     o     0  1  1  1         is larger, and left otherwise: which of several longest sequences is found follows from
//!     h     0  1  2  2         this, and clients compare answers.
//! ```

/// The table of two strings, filled.
pub struct Common<'a> {
    first: &'a [u8],
    second: &'a [u8],
    /// Row by row, `second.len() + 1` cells each.
    cells: Vec<u32>,
}

/// A stretch of bytes that both strings have and the sequence goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub in_first: usize,
    pub in_second: usize,
    pub length: usize,
}

impl<'a> Common<'a> {
    /// Bytes that the table for strings of these lengths takes: what a caller bounds.
    pub fn table_bytes(first: usize, second: usize) -> u128 {
        (first as u128 + 1) * (second as u128 + 1) * size_of::<u32>() as u128
    }

    pub fn of(first: &'a [u8], second: &'a [u8]) -> Self {
        let width = second.len() + 1;
        let mut cells = vec![0u32; (first.len() + 1) * width];
        for (row, &byte) in first.iter().enumerate() {
            let (above, current) = cells[row * width..(row + 2) * width].split_at_mut(width);
            let mut left = 0;
            for (column, &other) in second.iter().enumerate() {
                left = if byte == other {
                    above[column] + 1
                } else {
                    left.max(above[column + 1])
                };
                current[column + 1] = left;
            }
        }
        Common {
            first,
            second,
            cells,
        }
    }

    /// The length of the sequence.
    pub fn len(&self) -> usize {
        self.cell(self.first.len(), self.second.len()) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sequence itself.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        self.walk_back(|in_first, _| bytes.push(self.first[in_first]));
        bytes.reverse();
        bytes
    }

    /// The stretches that the sequence is made of, the last one first.
    pub fn stretches(&self) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        self.walk_back(|in_first, in_second| match stretches.last_mut() {
            Some(last) if (in_first + 1, in_second + 1) == (last.in_first, last.in_second) => {
                *last = Stretch {
                    in_first,
                    in_second,
                    length: last.length + 1,
                };
            }
            _ => stretches.push(Stretch {
                in_first,
                in_second,
                length: 1,
            }),
        });
        stretches
    }

    /// Visits the places of the sequence's bytes in both strings, from the last byte to the first.
    fn walk_back(&self, mut visit: impl FnMut(usize, usize)) {
        let (mut row, mut column) = (self.first.len(), self.second.len());
        while row > 0 && column > 0 {
            if self.first[row - 1] == self.second[column - 1] {
                row -= 1;
                column -= 1;
                visit(row, column);
            } else if self.cell(row - 1, column) > self.cell(row, column - 1) {
                row -= 1;
            } else {
                column -= 1;
            }
        }
    }

    fn cell(&self, row: usize, column: usize) -> u32 {
        self.cells[row * (self.second.len() + 1) + column]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_example_comes_out() {
        let common = Common::of(b"ohmytext", b"mynewtext");
        assert_eq!((common.len(), common.bytes()), (6, b"mytext".to_vec()));
        let stretch = |in_first, in_second, length| Stretch {
            in_first,
            in_second,
            length,
        };
        assert_eq!(common.stretches(), [stretch(4, 5, 4), stretch(2, 0, 2)]);
    }

    #[test]
    fn nothing_in_common_is_an_empty_sequence() {
        for (first, second) in [("", ""), ("", "x"), ("abc", ""), ("abc", "xyz")] {
            let common = Common::of(first.as_bytes(), second.as_bytes());
            assert!(common.is_empty() && common.bytes().is_empty());
            assert!(common.stretches().is_empty());
        }
    }
}
