//! An open-loop load: requests leave when their time has come, whether the server has answered the earlier ones or not.
//!
//! A latency counts from the scheduled moment, so a server that stops for 50 ms is seen as 50 ms by every request that
//! fell due meanwhile, not by one. A closed loop (redis-benchmark) cannot see that. One thread, one epoll, no allocation
//! per request once running. Prints one line of JSON.
//!
//! With `--lag-port`, it also publishes moments on the loaded server and takes them from a subscription on its replica:
//! the difference is the replication lag as a reader of the replica sees it.

#![expect(
    clippy::print_stdout,
    reason = "the result goes to standard output, for scripts/bench to read"
)]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::event::epoll;
use rustix::fs::Timespec;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    port: u16,
    /// Requests per second.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    #[arg(long, default_value_t = 50)]
    connections: usize,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Requests of the first seconds are sent but not counted.
    #[arg(long, default_value_t = 1.0)]
    warmup_seconds: f64,
    /// Keys are `key:%012d` with numbers below this, at random.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// How many of a hundred requests are SET; the others are GET.
    #[arg(long, default_value_t = 50)]
    writes_percent: u64,
    /// A replica of the loaded server, on which lag is measured.
    #[arg(long)]
    lag_port: Option<u16>,
    /// Ends early when this file exists.
    #[arg(long)]
    stop_file: Option<std::path::PathBuf>,
}

struct Connection {
    stream: TcpStream,
    /// Scheduled moments of the requests that are not answered yet, in nanoseconds since the start.
    awaited: VecDeque<u64>,
    unsent: Vec<u8>,
    arrived: Vec<u8>,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::new();
    for number in 0..options.connections {
        connections.push(Connection::open(options.port, number, &poll)?);
    }
    let mut lag = match options.lag_port {
        Some(port) => Some(Lag::open(options.port, port, options.connections, &poll)?),
        None => None,
    };
    let value = vec![b'v'; options.value_bytes];
    let start = Instant::now();
    let total = (options.rate as f64 * options.seconds) as u64;
    let counted_from = (options.warmup_seconds * 1e9) as u64;
    let mut latencies: Vec<u32> = Vec::with_capacity(total as usize);
    let mut seed = 0x1234_5678_9abc_def0_u64;
    let mut sent = 0;
    let mut errors = 0;
    let mut events = Vec::with_capacity(256);
    let mut stopped_at = None;
    let patience = Duration::from_secs(30);
    loop {
        let now = start.elapsed().as_nanos() as u64;
        while sent < total && due(sent, options.rate) <= now {
            let place = sent as usize % connections.len();
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let key = (seed >> 33) % options.keys;
            let is_write = (seed >> 20) % 100 < options.writes_percent;
            connections[place].request(due(sent, options.rate), key, is_write.then_some(&value));
            sent += 1;
        }
        for connection in &mut connections {
            connection.flush()?;
        }
        if let Some(lag) = &mut lag {
            lag.publish_when_due(now, sent < total)?;
        }
        let waiting: usize = connections
            .iter()
            .map(|connection| connection.awaited.len())
            .sum();
        if sent >= total {
            let since = *stopped_at.get_or_insert_with(Instant::now);
            if waiting == 0 && lag.as_ref().is_none_or(Lag::is_done) || since.elapsed() > patience {
                errors += waiting as u64;
                break;
            }
        } else if let Some(file) = &options.stop_file
            && sent % 1000 < 50
            && file.exists()
        {
            break;
        }
        let next = if sent < total {
            due(sent, options.rate).saturating_sub(start.elapsed().as_nanos() as u64)
        } else {
            1_000_000
        };
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: next.min(999_999_999) as _,
        };
        events.clear();
        epoll::wait(
            &poll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&pause),
        )?;
        for event in &events {
            let place = event.data.u64() as usize;
            if let Some(connection) = connections.get_mut(place) {
                connection.receive(|scheduled, is_error| {
                    let now = start.elapsed().as_nanos() as u64;
                    errors += u64::from(is_error);
                    if scheduled >= counted_from {
                        let micros = now.saturating_sub(scheduled) / 1000;
                        latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
                    }
                })?;
            } else if let Some(lag) = &mut lag {
                lag.receive(start.elapsed().as_nanos() as u64)?;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut line = format!(
        "{{\"sent\": {sent}, \"seconds\": {seconds:.3}, \"errors\": {errors}, {}",
        percentiles(&mut latencies)
    );
    if let Some(lag) = &mut lag {
        line.push_str(&format!(
            ", \"lag\": {{{}}}",
            percentiles(&mut lag.measured)
        ));
    }
    println!("{line}}}");
    Ok(())
}

/// The moment of request number `number`, in nanoseconds since the start.
fn due(number: u64, rate: u64) -> u64 {
    (u128::from(number) * 1_000_000_000 / u128::from(rate)) as u64
}

/// JSON fields in microseconds.
fn percentiles(latencies: &mut [u32]) -> String {
    latencies.sort_unstable();
    let at = |share: f64| -> u32 {
        let place = (latencies.len() as f64 * share) as usize;
        latencies
            .get(place.min(latencies.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    };
    format!(
        "\"count\": {}, \"p50_us\": {}, \"p99_us\": {}, \"p999_us\": {}, \"max_us\": {}",
        latencies.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    )
}

impl Connection {
    fn open(port: u16, number: usize, poll: impl AsFd) -> io::Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(poll, &stream, data, epoll::EventFlags::IN)?;
        Ok(Connection {
            stream,
            awaited: VecDeque::new(),
            unsent: Vec::new(),
            arrived: Vec::new(),
        })
    }

    /// SET with a value, else GET.
    fn request(&mut self, scheduled: u64, key: u64, value: Option<&Vec<u8>>) {
        self.awaited.push_back(scheduled);
        let out = &mut self.unsent;
        // Writing into a Vec cannot fail.
        let _ = match value {
            Some(value) => {
                let head = write!(
                    out,
                    "*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n${}\r\n",
                    value.len()
                );
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
                head
            }
            None => write!(out, "*2\r\n$3\r\nGET\r\n$16\r\nkey:{key:012}\r\n"),
        };
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => {
                    self.unsent.drain(..count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there; calls `answered(scheduled, is_error)` for each whole reply.
    fn receive(&mut self, mut answered: impl FnMut(u64, bool)) -> io::Result<()> {
        read_available(&mut self.stream, &mut self.arrived)?;
        let mut used = 0;
        while let Some(length) = reply_length(&self.arrived[used..]) {
            let is_error = self.arrived[used] == b'-';
            used += length;
            if let Some(scheduled) = self.awaited.pop_front() {
                answered(scheduled, is_error);
            }
        }
        self.arrived.drain(..used);
        Ok(())
    }
}

/// The lag of a replica: a message a few hundred times a second, published above, received below.
struct Lag {
    publisher: TcpStream,
    subscriber: TcpStream,
    arrived: Vec<u8>,
    next: u64,
    published: usize,
    measured: Vec<u32>,
}

impl Lag {
    fn open(port: u16, replica: u16, number: usize, poll: impl AsFd) -> io::Result<Lag> {
        let publisher = TcpStream::connect(("127.0.0.1", port))?;
        let mut subscriber = TcpStream::connect(("127.0.0.1", replica))?;
        subscriber.write_all(b"SUBSCRIBE openloop-lag\r\n")?;
        publisher.set_nodelay(true)?;
        publisher.set_nonblocking(true)?;
        subscriber.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(poll, &subscriber, data, epoll::EventFlags::IN)?;
        Ok(Lag {
            publisher,
            subscriber,
            arrived: Vec::new(),
            next: 200_000_000,
            published: 0,
            measured: Vec::new(),
        })
    }

    fn publish_when_due(&mut self, now: u64, is_running: bool) -> io::Result<()> {
        let mut replies = [0; 4096];
        // The replies to PUBLISH do not matter.
        let _ = self.publisher.read(&mut replies);
        if is_running && now >= self.next {
            let moment = format!("PUBLISH openloop-lag {now:020}\r\n");
            self.publisher.write_all(moment.as_bytes())?;
            self.published += 1;
            self.next = now + 2_000_000;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.measured.len() >= self.published
    }

    fn receive(&mut self, now: u64) -> io::Result<()> {
        read_available(&mut self.subscriber, &mut self.arrived)?;
        let mark = b"openloop-lag\r\n$20\r\n";
        while let Some(place) = self
            .arrived
            .windows(mark.len())
            .position(|part| part == mark)
        {
            let start = place + mark.len();
            if self.arrived.len() < start + 22 {
                break;
            }
            let moment = std::str::from_utf8(&self.arrived[start..start + 20]).unwrap_or("");
            if let Ok(sent) = moment.parse::<u64>() {
                let micros = now.saturating_sub(sent) / 1000;
                self.measured
                    .push(u32::try_from(micros).unwrap_or(u32::MAX));
            }
            self.arrived.drain(..start + 22);
        }
        Ok(())
    }
}

fn read_available(stream: &mut TcpStream, arrived: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 1 << 16];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => {
                return Err(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    "the server closed a connection",
                ));
            }
            Ok(count) => {
                arrived.extend_from_slice(&chunk[..count]);
                if count < chunk.len() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// The length of the first reply if all of it is here: a line, or a bulk.
fn reply_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    if bytes[0] != b'$' {
        return Some(line);
    }
    let digits = std::str::from_utf8(&bytes[1..line - 2]).unwrap_or("-1");
    match digits.parse::<i64>().unwrap_or(-1) {
        length if length < 0 => Some(line),
        length => {
            let whole = line + length as usize + 2;
            (bytes.len() >= whole).then_some(whole)
        }
    }
}
