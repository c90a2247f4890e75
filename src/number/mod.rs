//! Numbers as Redis reads and prints them.
//!
//! Text is bytes here, and a number is what the whole of it spells: no function skips spaces or stops early unless its
//! doc says so. Where C's library decides what Redis accepts, the grammar is the C one: `0x1p-3` and `+INFINITY` are
//! floats, `1_000` is not.
//!
//! Files in reading order: `integer` (64 bits, canonical and looser forms), `literal` (the grammar of floats), `double`
//! (scores and other doubles), `extended` (the 80-bit arithmetic behind INCRBYFLOAT, on `natural`), `memory_size` (`1gb`
//! in, `1.50M` out).

mod double;
mod extended;
mod integer;
mod literal;
mod memory_size;
mod natural;

pub use double::{DoubleText, exact_i64, parse_f64, parse_f64_bound};
pub use extended::Extended;
pub use integer::{Digits, parse_cursor, parse_i64, parse_u64_lenient};
pub use memory_size::{parse_memory_size, write_memory_size};

/// `value >> shift`, rounded to nearest with ties to even. `more` says that the exact value lies a little above `value`.
fn shift_right_half_even(value: u128, shift: u32, more: bool) -> u128 {
    if shift == 0 {
        return value;
    }
    let (kept, rest) = match shift {
        1..128 => (value >> shift, value << (128 - shift)),
        128 => (0, value),
        // Less than half of the last place, whatever it is.
        _ => return 0,
    };
    const HALF: u128 = 1 << 127;
    let up = rest > HALF || (rest == HALF && (more || kept & 1 == 1));
    kept + u128::from(up)
}
