//! The wall clock's reading in the time zone of the machine, for the log.
#![allow(
    unsafe_code,
    reason = "only the C library knows the time zone, and no crate we use asks it"
)]

use std::mem::MaybeUninit;

/// A moment as people write it. Months and days count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    pub year: i32,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

/// The local time at `unix_seconds`; the epoch itself where the C library cannot tell.
pub fn local_time(unix_seconds: i64) -> LocalTime {
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call, and `localtime_r` keeps neither. All zeroes is a valid `tm`, so it is
    // initialized even if the call fails.
    let parts = unsafe {
        libc::localtime_r(&unix_seconds, parts.as_mut_ptr());
        parts.assume_init()
    };
    LocalTime {
        year: parts.tm_year + 1900,
        month: parts.tm_mon as u8 + 1,
        day: parts.tm_mday.max(1) as u8,
        hour: parts.tm_hour as u8,
        minute: parts.tm_min as u8,
        second: parts.tm_sec as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_later_is_the_same_time_of_the_next_day() {
        // In the middle of a month and of winter and summer: no time zone has a change there.
        for (seconds, year, month) in [(1_705_320_000, 2024, 1), (1_721_044_800, 2024, 7)] {
            let (one, next) = (local_time(seconds), local_time(seconds + 86_400));
            assert_eq!((one.year, one.month), (year, month));
            assert_eq!(
                next,
                LocalTime {
                    day: one.day + 1,
                    ..one
                }
            );
            assert_eq!(one.minute % 15, 0);
        }
    }
}
