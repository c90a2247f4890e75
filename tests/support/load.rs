//! Mixed writes of all five types from a seed, on a thread of their own.
//!
//! Several databases, expiries that fire while the load runs, transactions, pipelines. What is written does not matter;
//! that two servers agree on it afterwards does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::client::{Client, encoded};
use crate::support::dice::Dice;
use crate::support::value::Value;

/// How much to write; the first bound reached ends it.
#[derive(Clone)]
pub struct Load {
    pub seed: u64,
    pub commands_max: u64,
    pub time_max: Duration,
    /// Each type has this many keys per database.
    pub keys: usize,
    pub databases: usize,
    pub pipeline: usize,
    /// Whether keys are given lifetimes that end while the load runs.
    pub short_lifetimes: bool,
    /// Waits between two pipelines.
    pub pause: Duration,
}

impl Load {
    pub fn new(seed: u64) -> Load {
        Load {
            seed,
            commands_max: u64::MAX,
            time_max: Duration::from_secs(60),
            keys: 200,
            databases: 3,
            pipeline: 16,
            short_lifetimes: true,
            pause: Duration::ZERO,
        }
    }

    pub fn commands(mut self, commands_max: u64) -> Load {
        self.commands_max = commands_max;
        self
    }

    pub fn pause(mut self, pause: Duration) -> Load {
        self.pause = pause;
        self
    }

    /// Every lifetime outlives the test.
    pub fn lasting(mut self) -> Load {
        self.short_lifetimes = false;
        self
    }

    pub fn keys(mut self, keys: usize) -> Load {
        self.keys = keys;
        self
    }

    /// Writes on a thread until stopped or until a bound is reached.
    pub fn start(self, port: u16) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let worker = thread::spawn({
            let (stop, written) = (stop.clone(), written.clone());
            move || self.write(port, &stop, &written)
        });
        Running {
            stop,
            written,
            worker: Some(worker),
        }
    }

    /// Writes here and now, up to a bound.
    #[track_caller]
    pub fn run(self, port: u16) {
        self.write(port, &AtomicBool::new(false), &AtomicU64::new(0));
    }

    fn write(&self, port: u16, stop: &AtomicBool, written: &AtomicU64) {
        let mut dice = Dice::new(self.seed);
        let mut client = Client::connect(port);
        client.patience(Duration::from_secs(30));
        let start = Instant::now();
        let mut sent = 0;
        while sent < self.commands_max
            && start.elapsed() < self.time_max
            && !stop.load(Ordering::Relaxed)
        {
            let mut bytes = Vec::new();
            let mut replies = 0;
            while replies < self.pipeline {
                for command in self.step(&mut dice) {
                    bytes.extend_from_slice(&encoded(&command));
                    replies += 1;
                }
            }
            client.send_bytes(&bytes);
            for _ in 0..replies {
                let reply = client.reply();
                assert!(
                    !unexpected(&reply),
                    "seed {}: the load was answered {reply}",
                    self.seed
                );
            }
            sent += replies as u64;
            written.store(sent, Ordering::Relaxed);
            if !self.pause.is_zero() {
                thread::sleep(self.pause);
            }
        }
    }

    /// One write, or a transaction of some, or a change of database.
    fn step(&self, dice: &mut Dice) -> Vec<Vec<String>> {
        match dice.below(40) {
            0 => vec![line(format!("SELECT {}", dice.below(self.databases)))],
            1 | 2 => {
                let count = dice.below(5);
                let mut block = vec![line("MULTI")];
                block.extend((0..count).map(|_| self.one(dice)));
                block.push(line("EXEC"));
                block
            }
            _ => vec![self.one(dice)],
        }
    }

    fn one(&self, dice: &mut Dice) -> Vec<String> {
        let n = dice.below(self.keys);
        let m = dice.below(self.keys);
        let small = dice.below(50);
        let value = value(dice);
        let lifetime = match self.short_lifetimes {
            true => dice.between(1, 4000),
            false => dice.between(1_000_000, 4_000_000),
        };
        match dice.below(48) {
            0..=3 => words(&["SET", &key("s", n), &value]),
            4 => words(&["SET", &key("s", n), &value, "PX", &lifetime.to_string()]),
            5 => words(&["SETEX", &key("s", n), "100", &value]),
            6 => words(&["APPEND", &key("s", n), &value]),
            7 => words(&["SETRANGE", &key("s", n), &small.to_string(), &value]),
            8 => line(format!("INCRBY {} {small}", key("n", n))),
            9 => line(format!("INCRBYFLOAT {} 0.{small}", key("f", n))),
            10 => words(&["MSET", &key("s", n), &value, &key("s", m), &value]),
            11 => line(format!("GETDEL {}", key("s", n))),
            12 => line(format!("GETEX {} PX {lifetime}", key("s", n))),
            13..=15 => words(&["RPUSH", &key("l", n), &value, &small.to_string()]),
            16 => words(&["LPUSH", &key("l", n), &value]),
            17 => line(format!("LPOP {} {}", key("l", n), dice.below(4))),
            18 => line(format!("RPOP {}", key("l", n))),
            19 => line(format!("LTRIM {} 0 {}", key("l", n), small * 4)),
            20 => line(format!("LREM {} 1 {small}", key("l", n))),
            21 => words(&[
                "LINSERT",
                &key("l", n),
                "BEFORE",
                &small.to_string(),
                &value,
            ]),
            22 => line(format!("LMOVE {} {} LEFT RIGHT", key("l", n), key("l", m))),
            23..=25 => words(&["SADD", &key("t", n), &value, &small.to_string()]),
            26 => line(format!("SREM {} {small}", key("t", n))),
            27 => line(format!("SPOP {} {}", key("t", n), dice.below(5))),
            28 => line(format!("SMOVE {} {} {small}", key("t", n), key("t", m))),
            29 => line(format!("SUNIONSTORE {0} {0} {1}", key("t", n), key("t", m))),
            30..=32 => words(&["HSET", &key("h", n), &format!("f{small}"), &value]),
            33 => line(format!("HDEL {} f{small} f{}", key("h", n), small + 1)),
            34 => line(format!("HINCRBY {} n{small} 7", key("h", n))),
            35 => line(format!("HINCRBYFLOAT {} d{small} 1.25", key("h", n))),
            36..=38 => words(&[
                "ZADD",
                &key("z", n),
                &dice.between(-9, 9).to_string(),
                &value,
                "1.5",
                &small.to_string(),
            ]),
            39 => line(format!("ZINCRBY {} 2.5 {small}", key("z", n))),
            40 => line(format!("ZPOPMIN {} 2", key("z", n))),
            41 => line(format!("ZREMRANGEBYSCORE {} -3 -1", key("z", n))),
            42 => line(format!("DEL {} {}", any_key(dice, n), any_key(dice, m))),
            43 => {
                let from = any_key(dice, n);
                let to = from.replace(&format!(":{n}"), &format!(":{m}"));
                line(format!("COPY {from} {to} REPLACE"))
            }
            44 => line(format!("PEXPIRE {} {lifetime}", any_key(dice, n))),
            45 => line(format!("EXPIRE {} 1000", any_key(dice, n))),
            46 => line(format!("PERSIST {}", any_key(dice, n))),
            _ => line(format!("UNLINK {}", any_key(dice, n))),
        }
    }
}

pub struct Running {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    worker: Option<JoinHandle<()>>,
}

impl Running {
    /// Commands that were answered so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until so many further commands were answered.
    #[track_caller]
    pub fn await_more(&self, commands: u64) {
        let goal = self.written() + commands;
        crate::support::wait::until("the load has written more", || self.written() >= goal);
    }

    /// Ends the load; panics with what broke it, if something did.
    #[track_caller]
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take()
            && let Err(cause) = worker.join()
        {
            std::panic::resume_unwind(cause);
        }
        self.written()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Every kind has keys of its own, so that only COPY onto itself is answered with an error by right.
fn unexpected(reply: &Value) -> bool {
    match reply {
        Value::Error(text) => !text.starts_with("ERR source and destination objects are the same"),
        _ => false,
    }
}

fn key(kind: &str, number: usize) -> String {
    format!("{kind}:{number}")
}

fn any_key(dice: &mut Dice, number: usize) -> String {
    key(dice.pick(&["s", "n", "f", "l", "t", "h", "z"]), number)
}

/// Mostly short, sometimes past the compact encodings' limits, sometimes long and compressible.
fn value(dice: &mut Dice) -> String {
    match dice.below(20) {
        0 => "x".repeat(dice.below(3000)),
        1 => format!("{:070}", dice.below(1000)),
        2..=6 => dice.between(-1000, 100_000).to_string(),
        _ => format!("v{:x}", dice.next() % 0xffff),
    }
}

fn line(text: impl AsRef<str>) -> Vec<String> {
    text.as_ref()
        .split_whitespace()
        .map(str::to_string)
        .collect()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}
