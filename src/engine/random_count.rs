//! The count that SRANDMEMBER, HRANDFIELD and ZRANDMEMBER take.

use crate::number;

use super::error::{self, CommandError};

/// How many random elements are wanted, and whether they must differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RandomCount {
    /// So many different elements, or all.
    Choose(usize),
    /// Exactly so many, any of them perhaps several times.
    Draw(usize),
}

/// How many elements a negative count may ask for: a reply of some gigabytes. Redis knows no such limit but memory.
const DRAWS_MAX: usize = 1 << 27;

impl RandomCount {
    /// A negative count means [`RandomCount::Draw`].
    ///
    /// # Errors
    /// If it is no count.
    pub fn parse(text: &[u8]) -> Result<Self, CommandError> {
        let count = number::parse_i64(text).ok_or(error::NOT_AN_INTEGER)?;
        if count == i64::MIN {
            return Err(error::MAGNITUDE_OUT_OF_RANGE);
        }
        let magnitude = count.unsigned_abs();
        Ok(match count {
            0.. => RandomCount::Choose(magnitude as usize),
            _ => RandomCount::Draw(magnitude as usize),
        })
    }

    /// For elements that are answered with their value or score.
    ///
    /// # Errors
    /// If twice as many are more than can be counted.
    pub fn check_pairs(self) -> Result<(), CommandError> {
        let (RandomCount::Choose(count) | RandomCount::Draw(count)) = self;
        if count > i64::MAX as usize / 2 {
            return Err(error::OUT_OF_RANGE);
        }
        Ok(())
    }

    /// For a collection that is there: of a missing one nothing is drawn.
    ///
    /// # Errors
    /// If it asks for a reply that no client could take.
    pub fn check_reply(self) -> Result<(), CommandError> {
        match self {
            RandomCount::Draw(count) if count > DRAWS_MAX => Err(error::OUT_OF_RANGE),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_says_by_its_sign_whether_elements_may_repeat() {
        assert_eq!(RandomCount::parse(b"0"), Ok(RandomCount::Choose(0)));
        assert_eq!(RandomCount::parse(b"7"), Ok(RandomCount::Choose(7)));
        assert_eq!(RandomCount::parse(b"-7"), Ok(RandomCount::Draw(7)));
        assert_eq!(
            RandomCount::parse(b"9223372036854775807"),
            Ok(RandomCount::Choose(i64::MAX as usize))
        );
        for (text, refused) in [
            (&b"x"[..], error::NOT_AN_INTEGER),
            (b"-9223372036854775808", error::MAGNITUDE_OUT_OF_RANGE),
        ] {
            assert_eq!(RandomCount::parse(text), Err(refused));
        }
    }

    #[test]
    fn no_reply_is_begun_that_nobody_could_take() {
        let half = i64::MAX as usize / 2;
        let refused = Err(error::OUT_OF_RANGE);
        assert_eq!(RandomCount::Draw(half).check_pairs(), Ok(()));
        assert_eq!(RandomCount::Draw(half + 1).check_pairs(), refused);
        assert_eq!(RandomCount::Choose(half + 1).check_pairs(), refused);
        assert_eq!(RandomCount::Choose(half).check_reply(), Ok(()));
        assert_eq!(RandomCount::Draw(DRAWS_MAX).check_reply(), Ok(()));
        assert_eq!(RandomCount::Draw(half).check_reply(), refused);
    }
}
