//! The journal as a whole: retention, readers on other threads, wakers, starting over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use bytes::Bytes;

use super::cursor::Lost;
use super::position::Offset;
use super::{Journal, Window};
use crate::random::Random;

/// Counts how often it was woken, and unparks the thread that made it.
struct Bell {
    rings: AtomicUsize,
    thread: thread::Thread,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn bell() -> (Arc<Bell>, Waker) {
    let bell = Arc::new(Bell {
        rings: AtomicUsize::new(0),
        thread: thread::current(),
    });
    (Arc::clone(&bell), Waker::from(bell))
}

fn recording(size_bytes: u64) -> Journal {
    let mut journal = Journal::new(Offset(0));
    assert!(!journal.create_backlog(size_bytes));
    journal
}

/// Byte `n` of every test stream, so that a reader can check what it got by its offset alone.
fn pattern(n: i64) -> u8 {
    (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}

fn chunk(from: Offset, length: usize) -> Vec<u8> {
    (0..length as i64).map(|i| pattern(from.0 + i)).collect()
}

fn append(journal: &mut Journal, length: usize) {
    let bytes = chunk(journal.end(), length);
    journal.append(&bytes);
}

#[test]
fn nothing_is_recorded_until_somebody_listens() {
    let mut journal = Journal::new(Offset(100));
    assert_eq!(journal.append(b"lost"), Offset(100));
    assert_eq!(journal.window(), None);
    assert!(
        !journal.create_backlog(1 << 20),
        "the history has a gap, so its id must change"
    );
    assert_eq!(journal.append(b"kept"), Offset(104));
    assert!(journal.create_backlog(1 << 20), "no gap this time");
    assert_eq!(
        journal.window(),
        Some(Window {
            start: Offset(100),
            end: Offset(104)
        })
    );
}

#[test]
fn a_cursor_alone_keeps_the_journal_recording() {
    let mut journal = Journal::new(Offset(0));
    let mut cursor = journal.reader_at(Offset(0)).unwrap();
    assert!(journal.is_active());
    assert_eq!(journal.append(b"abc"), Offset(3));
    assert_eq!(journal.window(), None, "but PSYNC is not served from it");
    let mut out = Vec::new();
    assert_eq!(cursor.next(2, &mut out), Ok(2));
    assert_eq!(cursor.next(2, &mut out), Ok(1));
    assert_eq!(cursor.next(2, &mut out), Ok(0));
    assert_eq!(out.concat(), b"abc");
    drop(cursor);
    assert!(!journal.is_active());
    assert_eq!(journal.append(b"abc"), Offset(3));
}

#[test]
fn a_backlog_made_for_a_journal_that_was_recording_starts_where_it_was_made() {
    let mut journal = Journal::new(Offset(0));
    let _aof = journal.reader_at(Offset(0)).unwrap();
    append(&mut journal, 50);
    assert!(journal.create_backlog(1 << 20));
    assert_eq!(journal.window().unwrap().start, Offset(50));
}

#[test]
fn the_backlog_keeps_at_least_its_size_and_not_much_more() {
    let size = 1 << 20;
    let mut journal = recording(size);
    for _ in 0..5000 {
        append(&mut journal, 1000);
    }
    let length = journal.window().unwrap().length();
    assert!(
        (size..size + size / 8).contains(&length),
        "{length} bytes are kept"
    );
    assert!(journal.reader_at(Offset(0)).is_none());
    assert!(journal.reader_at(journal.end()).is_some());
    assert!(journal.reader_at(journal.end().plus(1)).is_none());
}

#[test]
fn a_slow_cursor_extends_the_window_and_its_end_shrinks_it_gradually() {
    let size = 64 * 1024;
    let mut journal = recording(size);
    let slow = journal.reader_at(Offset(0)).unwrap();
    for _ in 0..2000 {
        append(&mut journal, 10_000);
    }
    assert_eq!(journal.window().unwrap().start, Offset(0));
    assert_eq!(slow.lag_bytes(), 20_000_000);
    assert!(journal.shared().held().beyond_backlog_bytes >= 20_000_000 - size);
    drop(slow);
    let after_drop = journal.window().unwrap().length();
    assert!(
        after_drop > size * 2,
        "freed in bounded steps: {after_drop}"
    );
    while journal.shared().trim() {}
    assert!(journal.window().unwrap().length() < size * 2);
    assert!(journal.shared().held().memory_bytes < size * 3);
}

#[test]
fn resizing_keeps_what_is_held_and_only_trims() {
    let mut journal = recording(1 << 20);
    append(&mut journal, 1_000_000);
    journal.resize_backlog(4 << 20);
    assert_eq!(journal.window().unwrap().length(), 1_000_000);
    journal.resize_backlog(1);
    while journal.shared().trim() {}
    assert_eq!(journal.backlog_size_bytes(), Some(16 * 1024));
    let length = journal.window().unwrap().length();
    assert!((16 * 1024..256 * 1024).contains(&length), "{length}");
}

#[test]
fn starting_over_loses_the_readers_and_wakes_them() {
    let mut journal = recording(1 << 20);
    append(&mut journal, 10);
    let mut cursor = journal.reader_at(Offset(10)).unwrap();
    let (bell, waker) = bell();
    assert!(cursor.wake_on_bytes(&waker));
    journal.reset(Offset(5000));
    assert_eq!(bell.rings.load(Ordering::SeqCst), 1);
    assert_eq!(cursor.next(10, &mut Vec::new()), Err(Lost));
    assert_eq!(
        journal.window(),
        Some(Window {
            start: Offset(5000),
            end: Offset(5000)
        })
    );
    append(&mut journal, 10);
    assert_eq!(cursor.next(10, &mut Vec::new()), Err(Lost));
    drop(cursor);
    assert_eq!(journal.end(), Offset(5010));
}

#[test]
fn publish_wakes_who_waits_once_and_nobody_else() {
    let mut journal = recording(1 << 20);
    let mut cursor = journal.reader_at(Offset(0)).unwrap();
    let (bell, waker) = bell();
    journal.publish();
    assert!(cursor.wake_on_bytes(&waker));
    journal.publish();
    assert_eq!(bell.rings.load(Ordering::SeqCst), 0, "nothing was appended");
    journal.append(b"x");
    assert_eq!(
        bell.rings.load(Ordering::SeqCst),
        0,
        "nothing was published"
    );
    journal.publish();
    journal.append(b"y");
    journal.publish();
    assert_eq!(bell.rings.load(Ordering::SeqCst), 1);
    assert!(!cursor.wake_on_bytes(&waker), "there is something to read");
}

#[test]
fn who_waits_for_an_offset_is_woken_when_it_is_confirmed() {
    let mut journal = recording(1 << 20);
    let cursor = journal.reader_at(Offset(0)).unwrap();
    let progress = cursor.progress();
    let (bell, waker) = bell();
    append(&mut journal, 100);
    assert!(progress.wake_when_passed(Offset(60), &waker));
    assert!(progress.wake_when_passed(Offset(100), &waker));
    cursor.confirm(Offset(59));
    assert_eq!(bell.rings.load(Ordering::SeqCst), 0);
    cursor.confirm(Offset(60));
    cursor.confirm(Offset(10));
    assert_eq!(bell.rings.load(Ordering::SeqCst), 1);
    assert!(progress.passed(Offset(60)) && !progress.passed(Offset(61)));
    assert!(!progress.wake_when_passed(Offset(60), &waker));
}

#[test]
fn readers_on_other_threads_see_every_byte_in_order_while_the_journal_is_appended_and_trimmed() {
    const READERS: u64 = 3;
    const TOTAL: i64 = 3_000_000;
    let mut journal = recording(32 * 1024);
    let threads: Vec<_> = (0..READERS)
        .map(|seed| {
            let mut cursor = journal.reader_at(Offset(0)).unwrap();
            thread::spawn(move || {
                let mut random = Random::from_seed(seed);
                let (_, waker) = bell();
                let mut context = Context::from_waker(&waker);
                let mut at = Offset(0);
                let mut out: Vec<Bytes> = Vec::new();
                while at.0 < TOTAL {
                    let bytes_max = 1 + random.below(100_000) as usize;
                    match cursor.poll_next(&mut context, bytes_max, &mut out) {
                        Poll::Ready(count) => {
                            let bytes = out.concat();
                            assert_eq!(bytes.len(), count.unwrap());
                            assert!(bytes == chunk(at, bytes.len()), "wrong bytes after {at}");
                            at = at.plus(bytes.len());
                            assert_eq!(cursor.position(), at);
                            out.clear();
                        }
                        Poll::Pending => thread::park(),
                    }
                }
            })
        })
        .collect();
    let mut random = Random::from_seed(99);
    while journal.end().0 < TOTAL {
        let left = (TOTAL - journal.end().0) as u64;
        let longest = if random.chance(1, 20) { 40_000 } else { 300 };
        let length = (1 + random.below(longest)).min(left);
        append(&mut journal, length as usize);
        journal.publish();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    while journal.shared().trim() {}
    assert!(journal.window().unwrap().length() < 64 * 1024);
}

#[test]
fn random_readers_agree_with_a_plain_vector() {
    for seed in 0..10 {
        let mut random = Random::from_seed(seed);
        let mut journal = recording(16 * 1024);
        let mut cursors = Vec::new();
        for _ in 0..500 {
            match random.below(8) {
                0..=3 => append(&mut journal, random.below(5000) as usize),
                4 => {
                    let window = journal.window().unwrap();
                    let at = window
                        .start
                        .plus(random.below(window.length() + 1) as usize);
                    cursors.push(journal.reader_at(at).unwrap());
                }
                5 if !cursors.is_empty() => {
                    cursors.swap_remove(random.below(cursors.len() as u64) as usize);
                }
                6 => journal.resize_backlog(random.below(100_000)),
                _ => {
                    for cursor in &mut cursors {
                        let at = cursor.position();
                        let mut out = Vec::new();
                        let count = cursor
                            .next(1 + random.below(20_000) as usize, &mut out)
                            .unwrap();
                        assert!(out.concat() == chunk(at, count), "seed {seed}");
                    }
                }
            }
            let window = journal.window().unwrap();
            for cursor in &cursors {
                assert!(window.covers(cursor.position()), "seed {seed}");
            }
            let kept = journal.backlog_size_bytes().unwrap().min(window.length());
            assert!(window.length() >= kept, "seed {seed}");
        }
    }
}
