//! Ours and the reference side by side: the same commands to both, the replies compared.
//!
//! Replies without an order are compared without one. Random choices are checked to be possible ones; where they change
//! data (SPOP), the reference is made to take the same. Remaining lifetimes may differ by the time between two calls.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::grammar::{Step, Words};
use crate::known;
use crate::support::agree;
use crate::support::client::Client;
use crate::support::server::{self, Server};
use crate::support::value::{Value, typed};

pub struct Pair {
    pub ours: Server,
    pub theirs: Server,
    seats: Vec<Seat>,
    expires_on_access_only: bool,
}

/// One user with a connection to each server.
struct Seat {
    ours: Client,
    theirs: Client,
    in_transaction: bool,
    queued: Vec<Words>,
}

impl Pair {
    /// Both servers, or nothing where there is no reference.
    pub fn start() -> Option<Pair> {
        Pair::start_with(&[])
    }

    pub fn start_with(settings: &[(&str, &str)]) -> Option<Pair> {
        let mut theirs = server::redis()?;
        let mut ours = server::sluice();
        for (name, value) in settings {
            theirs = theirs.set(name, value);
            ours = ours.set(name, value);
        }
        Some(Pair::of(ours.start(), theirs.start()))
    }

    pub fn of(ours: Server, theirs: Server) -> Pair {
        Pair {
            ours,
            theirs,
            seats: Vec::new(),
            expires_on_access_only: false,
        }
    }

    /// Turns off active expiry on both, so that what has expired is there until it is asked for.
    pub fn expire_on_access_only(&mut self) {
        for server in [&self.ours, &self.theirs] {
            server.must("DEBUG SET-ACTIVE-EXPIRE 0");
        }
        self.expires_on_access_only = true;
    }

    /// Empties both and forgets all connections.
    #[track_caller]
    pub fn begin_anew(&mut self) {
        for server in [&self.ours, &self.theirs] {
            server.must("FLUSHALL SYNC");
        }
        self.seats.clear();
    }

    /// Runs the steps from an empty dataset; the number of the first one that differs, and how.
    pub fn run(&mut self, steps: &[Step]) -> Result<(), (usize, String)> {
        self.begin_anew();
        for (number, step) in steps.iter().enumerate() {
            self.step(step).map_err(|difference| (number, difference))?;
        }
        self.compare_data()
            .map_err(|difference| (steps.len(), difference))
    }

    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        while self.seats.len() <= step.connection {
            self.seats.push(Seat {
                ours: self.ours.client(),
                theirs: self.theirs.client(),
                in_transaction: false,
                queued: Vec::new(),
            });
        }
        match step.words[0].as_slice() {
            b"!DIGEST" => self.compare_data(),
            b"!CROSSDUMP" => self.exchange_dump(step),
            b"!LAPSE" => self.seats[step.connection].let_lapse(&step.words),
            _ => self.seats[step.connection].step(&step.words),
        }
    }

    pub fn compare_data(&mut self) -> Result<(), String> {
        if self.expires_on_access_only {
            for server in [&self.ours, &self.theirs] {
                let mut client = server.client();
                for database in 0..16 {
                    client.must(&format!("SELECT {database}"));
                    client.must("SCAN 0 COUNT 100000");
                }
            }
        }
        // A key that was given a moment in the past is there until its server notices.
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            if agree::digest(&self.ours) == agree::digest(&self.theirs) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(format!(
            "the datasets differ: {}",
            agree::differences(&self.ours, &self.theirs)
        ))
    }

    /// What one dumps the other restores, both ways, under a name whose old value goes.
    fn exchange_dump(&mut self, step: &Step) -> Result<(), String> {
        let seat = &mut self.seats[step.connection];
        if seat.in_transaction {
            return Ok(());
        }
        let [_, from, to, rest @ ..] = &step.words[..] else {
            return Ok(());
        };
        let [lifetime, options @ ..] = rest else {
            return Ok(());
        };
        let dump = vec![b"DUMP".to_vec(), from.clone()];
        let (ours, theirs) = (seat.ours.command(&dump), seat.theirs.command(&dump));
        let (Value::Bulk(ours), Value::Bulk(theirs)) = (&ours, &theirs) else {
            return compare(&dump, ours, theirs);
        };
        let restore = |payload: &Vec<u8>| {
            let words: [&[u8]; 4] = [b"RESTORE", to, lifetime, payload];
            [&words.map(<[u8]>::to_vec), options].concat()
        };
        let by_us = seat.ours.command(&restore(theirs));
        let by_them = seat.theirs.command(&restore(ours));
        compare(&step.words, by_us, by_them)
    }
}

impl Seat {
    fn step(&mut self, words: &Words) -> Result<(), String> {
        let name = words[0].to_ascii_uppercase();
        let is_for_itself = matches!(name.as_slice(), b"SPOP" | b"DEBUG" | b"DBSIZE");
        if asks_for_too_much(words) {
            return Ok(());
        }
        if is_for_itself && self.in_transaction
            || self.has_no_one_answer(words)
            || self.is_queued_by_one(&name, words)
        {
            return Ok(());
        }
        if name == b"SPOP" {
            return self.pop_the_same(words);
        }
        let start = Instant::now();
        let mut ours = self.ours.command(words);
        let mut theirs = self.theirs.command(words);
        // A key that was given a moment in the past counts until its server notices.
        while name == b"DBSIZE" && ours != theirs && start.elapsed() < Duration::from_secs(1) {
            (ours, theirs) = (self.ours.command(words), self.theirs.command(words));
        }
        if is_random(words) && !self.in_transaction {
            return self.check_choice(words, ours, theirs);
        }
        let outcome = if name == b"EXEC" {
            self.compare_transaction(words, ours.clone(), theirs)
        } else {
            compare(words, ours.clone(), theirs)
        };
        self.follow_state(&name, words, &ours);
        outcome
    }

    /// Lets a key's time pass on both; with active expiry off it stays until somebody looks for it.
    fn let_lapse(&mut self, words: &Words) -> Result<(), String> {
        if self.in_transaction || words.len() < 2 {
            return Ok(());
        }
        let words: Words = [b"PEXPIRE".as_slice(), &words[1], b"4"]
            .map(<[u8]>::to_vec)
            .into();
        let outcome = self.step(&words);
        thread::sleep(Duration::from_millis(6));
        outcome
    }

    /// Ranges by name over members with different scores: what the reference answers depends on its random levels.
    fn has_no_one_answer(&mut self, words: &Words) -> bool {
        let upper: Vec<_> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
        let by_name = upper[0].starts_with(b"Z")
            && (upper[0].ends_with(b"BYLEX")
                || upper[0] == b"ZLEXCOUNT"
                || upper.contains(&b"BYLEX".to_vec()));
        let place = if upper[0] == b"ZRANGESTORE" { 2 } else { 1 };
        let Some(key) = words.get(place).filter(|_| by_name) else {
            return false;
        };
        if self.in_transaction {
            return true;
        }
        let range = [b"ZRANGE".as_slice(), key, b"0", b"-1", b"WITHSCORES"];
        // Asked of both, so that both find out that the key has expired.
        self.ours.command(&range);
        let mut scores: Vec<Value> = match self.theirs.command(&range) {
            Value::Array(items) => match items.first() {
                Some(Value::Array(_)) => items.iter().map(|pair| pair.items()[1].clone()).collect(),
                _ => items.chunks(2).map(|pair| pair[1].clone()).collect(),
            },
            _ => Vec::new(),
        };
        scores.dedup();
        scores.len() > 1
    }

    /// What only ours takes with so many words would end the other's transaction.
    fn is_queued_by_one(&self, name: &[u8], words: &Words) -> bool {
        self.in_transaction
            && match name {
                b"ZRANK" | b"ZREVRANK" => words.len() > 3,
                b"COMMAND" => words.len() < 4,
                _ => false,
            }
    }

    fn follow_state(&mut self, name: &[u8], words: &Words, reply: &Value) {
        match (name, reply) {
            (b"MULTI", Value::Simple(_)) => self.in_transaction = true,
            (b"RESET", Value::Simple(_)) | (b"DISCARD", Value::Simple(_)) => self.end_transaction(),
            (b"EXEC", Value::Error(text)) if text.starts_with("ERR wrong number") => {}
            (b"EXEC", _) => self.end_transaction(),
            (_, Value::Simple(text)) if text == "QUEUED" => self.queued.push(words.clone()),
            _ => {}
        }
    }

    fn end_transaction(&mut self) {
        self.in_transaction = false;
        self.queued.clear();
    }

    fn compare_transaction(
        &mut self,
        words: &Words,
        ours: Value,
        theirs: Value,
    ) -> Result<(), String> {
        match (&ours, &theirs) {
            (Value::Array(our_replies), Value::Array(their_replies))
                if our_replies.len() == their_replies.len()
                    && their_replies.len() == self.queued.len() =>
            {
                let replies = our_replies.iter().zip(their_replies);
                for (command, (ours, theirs)) in self.queued.iter().zip(replies) {
                    if !is_random(command) {
                        compare(command, ours.clone(), theirs.clone())?;
                    }
                }
                Ok(())
            }
            _ => compare(words, ours, theirs),
        }
    }

    /// SPOP: what ours popped must have been there, and leaves the reference too.
    fn pop_the_same(&mut self, words: &Words) -> Result<(), String> {
        let ours = self.ours.command(words);
        let popped = match &ours {
            Value::Bulk(_) => vec![ours.clone()],
            Value::Array(items) | Value::Set(items) if !items.is_empty() => items.clone(),
            _ => {
                let theirs = self.theirs.command(words);
                return compare(words, ours, theirs);
            }
        };
        let card = self
            .theirs
            .command(&[b"SCARD".as_slice(), &words[1]])
            .integer();
        let wanted = words.get(2).map_or(1, |count| {
            String::from_utf8_lossy(count).parse().unwrap_or(i64::MAX)
        });
        let mut remove = vec![b"SREM".to_vec(), words[1].clone()];
        remove.extend(popped.iter().map(Value::bytes));
        let removed = self.theirs.command(&remove).integer();
        if removed == popped.len() as i64 && removed == wanted.min(card) {
            return Ok(());
        }
        Err(format!(
            "{}: ours popped {ours}, of which {removed} were there; the set had {card}",
            typed(words)
        ))
    }

    /// A random choice: the same shape, and nothing that is not there.
    fn check_choice(&mut self, words: &Words, ours: Value, theirs: Value) -> Result<(), String> {
        let name = words[0].to_ascii_uppercase();
        let all: Vec<Value> = match name.as_slice() {
            b"RANDOMKEY" => self.theirs.call("KEYS *").items(),
            b"SRANDMEMBER" if !theirs.is_error() => self
                .theirs
                .command(&[b"SMEMBERS".as_slice(), &words[1]])
                .items(),
            b"HRANDFIELD" if !theirs.is_error() => self
                .theirs
                .command(&[b"HGETALL".as_slice(), &words[1]])
                .items(),
            b"ZRANDMEMBER" if !theirs.is_error() => {
                let range = [b"ZRANGE".as_slice(), &words[1], b"0", b"-1", b"WITHSCORES"];
                flattened(&self.theirs.command(&range).items())
            }
            _ => return compare(words, ours, theirs),
        };
        let choice_is_possible = match (&ours, &theirs) {
            (Value::Array(chosen), Value::Array(others)) => {
                let flat = flattened(chosen);
                let count: i64 = String::from_utf8_lossy(&words[2]).parse().unwrap_or(0);
                chosen.len() == others.len()
                    && flat.iter().all(|item| all.contains(item))
                    && (count < 0 || words.len() > 3 || is_distinct(&flat))
            }
            (Value::Bulk(_), Value::Bulk(_)) => all.contains(&ours),
            _ => return compare(words, ours, theirs),
        };
        if choice_is_possible {
            return Ok(());
        }
        Err(format!(
            "{}\n    ours chose  {ours}\n    theirs      {theirs}\n    of          {}",
            typed(words),
            Value::Array(all)
        ))
    }
}

/// Compares two replies to one command, as strictly as the command allows.
pub fn compare(words: &[Vec<u8>], ours: Value, theirs: Value) -> Result<(), String> {
    let name = String::from_utf8_lossy(&words[0]).to_ascii_uppercase();
    let (ours, theirs) = (normal(&name, ours), normal(&name, theirs));
    let near = match (&ours, &theirs) {
        (Value::Integer(one), Value::Integer(other)) => match name.as_str() {
            "TTL" | "EXPIRETIME" => one.abs_diff(*other) <= 2 && is_far(*one) && is_far(*other),
            "PTTL" | "PEXPIRETIME" => {
                one.abs_diff(*other) <= 2000 && is_far(*one) && is_far(*other)
            }
            // The counter grows by chance, and seconds pass.
            "OBJECT" => is_word(words, 1, "FREQ") || is_word(words, 1, "IDLETIME"),
            "MEMORY" => *one > 0 && *other > 0,
            "CLIENT" => is_word(words, 1, "ID"),
            "LASTSAVE" => one.abs_diff(*other) < 100,
            "SLOWLOG" => is_word(words, 1, "LEN"),
            _ => false,
        },
        (Value::Array(_) | Value::Map(_), Value::Array(_) | Value::Map(_)) => match name.as_str() {
            // What stands behind a cursor that nobody gave is chance.
            "SCAN" => !is_word(words, 1, "0"),
            "SSCAN" | "HSCAN" | "ZSCAN" => !is_word(words, 2, "0"),
            "HELLO" | "TIME" | "ROLE" | "SLOWLOG" => true,
            "COMMAND" => words.len() == 1,
            _ => false,
        },
        (Value::Bulk(_), Value::Bulk(_)) | (Value::Verbatim(..), Value::Verbatim(..)) => {
            name == "DUMP" || name == "CLIENT" && is_word(words, 1, "INFO")
        }
        _ => false,
    };
    let command = typed(words);
    let shown = command.to_ascii_uppercase();
    if ours == theirs
        || near
        || known::is_known(&command, &ours.to_string(), &theirs.to_string())
        || known::is_known(&shown, &ours.to_string(), &theirs.to_string())
    {
        return Ok(());
    }
    Err(format!("{command}\n    ours   {ours}\n    theirs {theirs}"))
}

fn is_word(words: &[Vec<u8>], place: usize, word: &str) -> bool {
    words
        .get(place)
        .is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()))
}

/// Billions of random elements, which the reference would really send, and replicas that will never be there.
fn asks_for_too_much(words: &[Vec<u8>]) -> bool {
    let number = |place: usize| -> i64 {
        let word = words.get(place).map(|word| String::from_utf8_lossy(word));
        word.and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    is_random(words) && number(2) < -100_000 || is_word(words, 0, "WAIT") && number(1) > 0
}

/// Neither "no key", "no expiry" nor a moment that passes between two calls.
fn is_far(lifetime: i64) -> bool {
    lifetime > 100
}

fn normal(name: &str, reply: Value) -> Value {
    match name {
        "SMEMBERS" | "SINTER" | "SUNION" | "SDIFF" | "KEYS" | "HKEYS" | "HVALS" => {
            reply.unordered()
        }
        "HGETALL" | "CONFIG" => reply.unordered_pairs(),
        "SCAN" | "SSCAN" => scanned(reply, Value::unordered),
        "HSCAN" | "ZSCAN" => scanned(reply, Value::unordered_pairs),
        _ => reply,
    }
}

fn scanned(reply: Value, order: impl Fn(Value) -> Value) -> Value {
    match reply {
        Value::Array(parts) => {
            let mut parts = parts.into_iter();
            let cursor = parts.next();
            let elements = parts.map(order);
            Value::Array(cursor.into_iter().chain(elements).collect())
        }
        other => other,
    }
}

fn is_random(words: &[Vec<u8>]) -> bool {
    matches!(
        words[0].to_ascii_uppercase().as_slice(),
        b"RANDOMKEY" | b"SRANDMEMBER" | b"HRANDFIELD" | b"ZRANDMEMBER"
    )
}

fn flattened(items: &[Value]) -> Vec<Value> {
    items
        .iter()
        .flat_map(|item| match item {
            Value::Array(inner) => inner.clone(),
            other => vec![other.clone()],
        })
        .collect()
}

fn is_distinct(items: &[Value]) -> bool {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for item in items {
        *counts.entry(item.to_string()).or_default() += 1;
    }
    counts.values().all(|&count| count == 1)
}
