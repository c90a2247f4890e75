//! What commands on sets, hashes and sorted sets have in common: elements are taken out of a key, and gone through.

use crate::compact::Element;
use crate::keyspace::Key;
use crate::number::Digits;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;
use crate::types::Kind;

use super::data::{Data, Event};
use super::scan::{self, ScanOptions, ScanReply};
use super::spec::{CommandResult, Outcome};

/// A type whose elements are known by a name: members, fields.
pub trait Named: Kind {
    /// False if it was not there.
    fn remove(&mut self, name: &[u8]) -> bool;
    fn is_empty(&self) -> bool;
}

/// HDEL, SREM, ZREM: `key name [name ...]`. A collection that is emptied ceases to exist.
pub fn remove_elements<T: Named>(
    data: &mut Data,
    args: Argv,
    reply: &mut Reply,
    class: Event,
    event: &'static str,
) -> CommandResult {
    let key = Key::new(args.get(1));
    let Some(mut collection) = data.write::<T>(key)? else {
        reply.integer(0);
        return Ok(Outcome::Replied);
    };
    let mut removed = 0;
    for name in args.skip(2).iter() {
        removed += u64::from(collection.remove(name));
    }
    let is_empty = collection.is_empty();
    drop(collection);
    if removed > 0 {
        data.wrote(key, removed, class, event);
    }
    if is_empty {
        data.delete_emptied(key);
    }
    reply.integer(removed as i64);
    Ok(Outcome::Replied)
}

/// HSCAN, SSCAN, ZSCAN: `key cursor [MATCH pattern] [COUNT count]`. `scan` visits what lies behind a cursor and returns the
/// next one.
pub fn scan_elements<T: Kind>(
    data: &mut Data,
    args: Argv,
    reply: &mut Reply,
    scan: impl Fn(&T, u64, &mut Page) -> u64,
) -> CommandResult {
    let cursor = scan::parse_cursor(args.get(2))?;
    let Some(collection) = data.read::<T>(Key::new(args.get(1)))? else {
        scan::reply_empty(reply);
        return Ok(Outcome::Replied);
    };
    let options = ScanOptions::parse(args, 3, false)?;
    let mut answer = ScanReply::begin(reply);
    let mut page = Page {
        options,
        digits: Digits::new(),
        visited: 0,
        length: 0,
        reply,
    };
    let cursor = options.walk(cursor, |cursor| {
        page.visited = 0;
        let next = scan(&collection, cursor, &mut page);
        (next, page.visited)
    });
    answer.length = page.length;
    answer.finish(reply, cursor);
    Ok(Outcome::Replied)
}

/// Where a walk over a collection puts what it meets.
pub struct Page<'a, 'r> {
    options: ScanOptions<'a>,
    digits: Digits,
    visited: usize,
    /// Elements of the reply.
    length: usize,
    reply: &'a mut Reply<'r>,
}

impl Page<'_, '_> {
    /// Visits an element: answers its name if it matches.
    pub fn visit(&mut self, name: Element) -> bool {
        self.visited += 1;
        let text = name.text(&mut self.digits);
        let matches = self.options.matches(text);
        if matches {
            self.reply.bulk(text);
            self.length += 1;
        }
        matches
    }

    /// As [`Page::visit`], with what belongs to the name behind it.
    pub fn visit_pair(&mut self, name: Element, answer: impl FnOnce(&mut Reply)) {
        if self.visit(name) {
            answer(self.reply);
            self.length += 1;
        }
    }
}
