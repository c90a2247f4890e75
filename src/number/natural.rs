//! Natural numbers of any size: just enough to round decimal text exactly, and to print what has no fraction.

use std::cmp::Ordering;

/// Words of 64 bits, lowest first, the highest never zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Natural(Vec<u64>);

impl Natural {
    pub(super) fn from_digits<'a>(digits: impl IntoIterator<Item = &'a u8>) -> Self {
        let mut number = Natural(Vec::new());
        let (mut chunk, mut scale) = (0, 1);
        for digit in digits {
            chunk = chunk * 10 + u64::from(digit - b'0');
            scale *= 10;
            if scale == CHUNK {
                number.multiply_add(CHUNK, chunk);
                (chunk, scale) = (0, 1);
            }
        }
        number.multiply_add(scale, chunk);
        number
    }

    /// Five to the power of `exponent`.
    pub(super) fn power_of_five(exponent: u32) -> Self {
        let mut number = Natural(vec![1]);
        number.multiply_by_power_of_five(exponent);
        number
    }

    pub(super) fn multiply_by_power_of_five(&mut self, exponent: u32) {
        // 5^27 is the largest power in a word.
        for _ in 0..exponent / 27 {
            self.multiply_add(5u64.pow(27), 0);
        }
        self.multiply_add(5u64.pow(exponent % 27), 0);
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bits(&self) -> u32 {
        match self.0.last() {
            Some(top) => self.0.len() as u32 * 64 - top.leading_zeros(),
            None => 0,
        }
    }

    /// `self * factor + addend`.
    pub(super) fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for word in &mut self.0 {
            let product = u128::from(*word) * u128::from(factor) + u128::from(carry);
            *word = product as u64;
            carry = (product >> 64) as u64;
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    pub(super) fn shift_left(&mut self, bits: u32) {
        if self.is_zero() {
            return;
        }
        let bits_in_word = bits % 64;
        if bits_in_word != 0 {
            let mut carry = 0;
            for word in &mut self.0 {
                let shifted = *word << bits_in_word | carry;
                carry = *word >> (64 - bits_in_word);
                *word = shifted;
            }
            if carry != 0 {
                self.0.push(carry);
            }
        }
        let words = (bits / 64) as usize;
        self.0.splice(0..0, std::iter::repeat_n(0, words));
    }

    /// The highest 128 bits (all of them, if there are fewer), how many bits stand below, and whether one of those is set.
    pub(super) fn top(&self) -> (u128, u32, bool) {
        let below = self.bits().saturating_sub(128);
        let (words, bits) = ((below / 64) as usize, below % 64);
        let word = |index: usize| u128::from(self.0.get(index).copied().unwrap_or(0));
        let low = word(words) | word(words + 1) << 64;
        let top = match bits {
            0 => low,
            _ => low >> bits | word(words + 2) << (128 - bits),
        };
        let lost = self.0.iter().take(words).any(|&word| word != 0)
            || (bits != 0 && word(words) << (128 - bits) != 0);
        (top, below, lost)
    }

    /// `self / divisor` for a quotient below 2^`bits`, which is at most 128, and whether a remainder is left.
    pub(super) fn divide(mut self, mut divisor: Natural, bits: u32) -> (u128, bool) {
        // Long division, a bit at a time: the divisor stays above, the dividend moves up to it.
        divisor.shift_left(bits);
        let mut quotient = 0;
        for _ in 0..bits {
            self.shift_left(1);
            quotient <<= 1;
            if self.compare(&divisor) != Ordering::Less {
                self.subtract(&divisor);
                quotient |= 1;
            }
        }
        (quotient, !self.is_zero())
    }

    /// Decimal digits.
    pub(super) fn into_digits(mut self) -> Vec<u8> {
        let mut chunks = Vec::new();
        while !self.is_zero() {
            chunks.push(self.divide_by_chunk());
        }
        let mut digits = Vec::with_capacity(chunks.len() * 19);
        let mut room = itoa::Buffer::new();
        digits.extend_from_slice(room.format(chunks.pop().unwrap_or(0)).as_bytes());
        for chunk in chunks.into_iter().rev() {
            let text = room.format(chunk).as_bytes();
            digits.resize(digits.len() + 19 - text.len(), b'0');
            digits.extend_from_slice(text);
        }
        digits
    }

    /// Divides by [`CHUNK`] and returns the remainder.
    fn divide_by_chunk(&mut self) -> u64 {
        let mut remainder = 0;
        for word in self.0.iter_mut().rev() {
            let dividend = u128::from(remainder) << 64 | u128::from(*word);
            *word = (dividend / u128::from(CHUNK)) as u64;
            remainder = (dividend % u128::from(CHUNK)) as u64;
        }
        self.trim();
        remainder
    }

    fn compare(&self, other: &Natural) -> Ordering {
        (self.0.len().cmp(&other.0.len()))
            .then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// `self - other`, which must not be larger.
    fn subtract(&mut self, other: &Natural) {
        let mut borrow = false;
        for (index, word) in self.0.iter_mut().enumerate() {
            let subtrahend = other.0.get(index).copied().unwrap_or(0);
            let (difference, below) = word.overflowing_sub(subtrahend);
            let (difference, below_too) = difference.overflowing_sub(u64::from(borrow));
            *word = difference;
            borrow = below || below_too;
        }
        debug_assert!(!borrow);
        self.trim();
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

/// The largest power of ten in a word.
const CHUNK: u64 = 10_000_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn digits_survive_at_every_length() {
        let mut random = Random::from_seed(5);
        for len in 1..200 {
            let mut digits: Vec<u8> = (0..len).map(|_| b'0' + random.below(10) as u8).collect();
            digits[0] = b'1';
            assert_eq!(Natural::from_digits(&digits).into_digits(), digits);
        }
        assert_eq!(Natural::from_digits(b"000").into_digits(), b"0");
    }

    #[test]
    fn arithmetic_agrees_with_128_bits() {
        let mut random = Random::from_seed(6);
        for _ in 0..2_000 {
            let a = u128::from(random.next_u64()) << random.below(64);
            let b = u128::from(random.next_u64() >> random.below(63)) + 1;
            let natural = |value: u128| Natural::from_digits(value.to_string().as_bytes());
            let (quotient, rest) = natural(a).divide(natural(b), 128);
            assert_eq!((quotient, rest), (a / b, !a.is_multiple_of(b)));
            let shift = random.below(300) as u32;
            let mut shifted = natural(a);
            shifted.shift_left(shift);
            let (top, below, lost) = shifted.top();
            assert!(!lost);
            assert_eq!(
                top >> shift.saturating_sub(below).min(127),
                if shift < below { top } else { a }
            );
        }
    }

    #[test]
    fn the_top_tells_what_it_leaves_out() {
        let mut number = Natural(vec![1]);
        number.shift_left(200);
        assert_eq!(number.top(), (1 << 127, 73, false));
        number.multiply_add(1, 1);
        assert_eq!(number.top(), (1 << 127, 73, true));
        assert_eq!(Natural::power_of_five(30).top(), (5u128.pow(30), 0, false));
    }
}
