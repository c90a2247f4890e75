//! Fills a server with a dataset of a known shape, as fast as it takes it: one deep pipeline, replies read on a thread.

#![expect(
    clippy::print_stdout,
    reason = "the result goes to standard output, for scripts/bench to read"
)]

use std::io::{self, BufWriter, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use clap::{Parser, ValueEnum};

#[derive(Parser)]
struct Options {
    #[arg(long)]
    port: u16,
    shape: Shape,
    /// Keys, or members of the one key.
    count: u64,
    /// The first number, to go on where an earlier run stopped.
    #[arg(long, default_value_t = 0)]
    from: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shape {
    /// `key:%012d` with values of 64 bytes.
    Strings,
    /// `key:%012d` with integers of 8 digits.
    Integers,
    /// 70% strings of 100 bytes, 10% hashes and 10% lists of 20, 5% sets and 5% sorted sets of 20.
    Mixed,
    /// One sorted set.
    SortedSet,
    /// One hash.
    Hash,
    /// INCR over 1000 counters: many small writes.
    Counters,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let start = Instant::now();
    let stream = TcpStream::connect(("127.0.0.1", options.port))?;
    let mut reading = stream.try_clone()?;
    let expected = options.count;
    // One reply each, all of them one line.
    let reader = thread::spawn(move || -> io::Result<u64> {
        let mut chunk = [0; 1 << 16];
        let (mut replies, mut errors, mut at_start) = (0, 0, true);
        while replies < expected {
            let count = reading.read(&mut chunk)?;
            if count == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the server closed the connection",
                ));
            }
            for &byte in &chunk[..count] {
                errors += u64::from(at_start && byte == b'-');
                at_start = byte == b'\n';
                replies += u64::from(at_start);
            }
        }
        Ok(errors)
    });
    let mut out = BufWriter::with_capacity(1 << 16, stream);
    let mut words = Vec::new();
    for number in options.from..options.from + options.count {
        words.clear();
        command(options.shape, number, &mut words);
        write!(out, "*{}\r\n", words.len())?;
        for word in &words {
            write!(out, "${}\r\n{word}\r\n", word.len())?;
        }
    }
    out.flush()?;
    let errors = reader.join().expect("the reader does not panic")?;
    println!(
        "{{\"commands\": {expected}, \"errors\": {errors}, \"seconds\": {:.3}}}",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn command(shape: Shape, number: u64, words: &mut Vec<String>) {
    let mut say = |word: &str| words.push(word.to_string());
    match shape {
        Shape::Strings => {
            say("SET");
            say(&format!("key:{number:012}"));
            say(&format!(
                "{:064}",
                number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ));
        }
        Shape::Integers => {
            say("SET");
            say(&format!("key:{number:012}"));
            say(&(10_000_000 + number % 90_000_000).to_string());
        }
        Shape::SortedSet => {
            say("ZADD");
            say("zset");
            say(&(number.wrapping_mul(2_654_435_761) % 1_000_000).to_string());
            say(&format!("member:{number:09}"));
        }
        Shape::Hash => {
            say("HSET");
            say("hash");
            say(&format!("field:{number:09}"));
            say(&format!("value:{number}"));
        }
        Shape::Counters => {
            say("INCR");
            say(&format!("counter:{}", number % 1000));
        }
        Shape::Mixed => {
            let items = 0..20_u64;
            match number % 20 {
                0 | 1 => {
                    say("HSET");
                    say(&format!("hash:{number}"));
                    for item in items {
                        say(&format!("field{item}"));
                        say(&format!("value{}", number + item));
                    }
                }
                2 | 3 => {
                    say("RPUSH");
                    say(&format!("list:{number}"));
                    for item in items {
                        say(&format!("element{}", number + item));
                    }
                }
                4 => {
                    say("SADD");
                    say(&format!("set:{number}"));
                    for item in items {
                        say(&format!("member{}", number + item));
                    }
                }
                5 => {
                    say("ZADD");
                    say(&format!("zset:{number}"));
                    for item in items {
                        say(&format!("{}.5", (number * 7 + item * 13) % 1000));
                        say(&format!("member{}", number + item));
                    }
                }
                _ => {
                    say("SET");
                    say(&format!("string:{number}"));
                    say(&format!(
                        "{:0100}",
                        number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
                    ));
                }
            }
        }
    }
}
