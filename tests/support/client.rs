//! A blocking client that hides nothing: commands and replies, raw bytes, pipelines, push messages.
//!
//! Every read has a deadline (10 seconds unless changed), so a server that does not answer fails a test, never hangs it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::support::value::{Value, words};

pub struct Client {
    socket: Socket,
    arrived: Vec<u8>,
    read: usize,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why a reply could not be had.
#[derive(Debug)]
pub enum Broken {
    Closed,
    TimedOut,
    Failed(io::Error),
    /// Bytes that are not RESP: the peer's fault.
    Garbled(String),
}

impl Client {
    #[track_caller]
    pub fn connect(port: u16) -> Client {
        Client::try_connect(port)
            .unwrap_or_else(|error| panic!("connect to 127.0.0.1:{port}: {error}"))
    }

    pub fn try_connect(port: u16) -> io::Result<Client> {
        Client::try_connect_to(("127.0.0.1", port))
    }

    pub fn try_connect_to(address: impl ToSocketAddrs) -> io::Result<Client> {
        let mut last = io::Error::new(ErrorKind::NotFound, "no address");
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Client::over(Socket::Tcp(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub fn try_connect_unix(path: &Path) -> io::Result<Client> {
        Client::over(Socket::Unix(UnixStream::connect(path)?))
    }

    fn over(socket: Socket) -> io::Result<Client> {
        let mut client = Client {
            socket,
            arrived: Vec::new(),
            read: 0,
        };
        client.patience(PATIENCE);
        Ok(client)
    }

    /// How long a read may wait.
    pub fn patience(&mut self, limit: Duration) {
        let limit = Some(limit);
        match &self.socket {
            Socket::Tcp(stream) => stream.set_read_timeout(limit),
            Socket::Unix(stream) => stream.set_read_timeout(limit),
        }
        .expect("a positive timeout is accepted");
    }

    /// How long a write may wait for room.
    pub fn write_patience(&mut self, limit: Duration) {
        let limit = Some(limit);
        match &self.socket {
            Socket::Tcp(stream) => stream.set_write_timeout(limit),
            Socket::Unix(stream) => stream.set_write_timeout(limit),
        }
        .expect("a positive timeout is accepted");
    }

    /// Sends one command and reads one reply. Panics where the connection breaks.
    #[track_caller]
    pub fn command<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Value {
        self.try_command(words).unwrap_or_else(|broken| {
            let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_ref().to_vec()).collect();
            panic!("{}: {broken}", crate::support::value::typed(&words))
        })
    }

    pub fn try_command<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Value, Broken> {
        self.try_send_bytes(&encoded(words))?;
        self.try_reply()
    }

    /// One typed line, split into words as redis-cli does.
    #[track_caller]
    pub fn call(&mut self, line: &str) -> Value {
        self.command(&words(line))
    }

    /// A call whose error would be the test's own mistake.
    #[track_caller]
    pub fn must(&mut self, line: &str) -> Value {
        let reply = self.call(line);
        assert!(!reply.is_error(), "{line}: {reply}");
        reply
    }

    /// Sends a command without reading its reply.
    #[track_caller]
    pub fn send<W: AsRef<[u8]>>(&mut self, words: &[W]) {
        self.send_bytes(&encoded(words));
    }

    #[track_caller]
    pub fn send_line(&mut self, line: &str) {
        self.send(&words(line));
    }

    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        if let Err(broken) = self.try_send_bytes(bytes) {
            panic!("send {} bytes: {broken}", bytes.len());
        }
    }

    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        match &mut self.socket {
            Socket::Tcp(stream) => stream.write_all(bytes),
            Socket::Unix(stream) => stream.write_all(bytes),
        }
        .map_err(Broken::from)
    }

    /// Sends all, then reads as many replies.
    #[track_caller]
    pub fn pipeline<W: AsRef<[u8]>>(&mut self, commands: &[Vec<W>]) -> Vec<Value> {
        let mut bytes = Vec::new();
        for command in commands {
            bytes.extend_from_slice(&encoded(command));
        }
        self.send_bytes(&bytes);
        commands.iter().map(|_| self.reply()).collect()
    }

    #[track_caller]
    pub fn reply(&mut self) -> Value {
        self.try_reply()
            .unwrap_or_else(|broken| panic!("awaiting a reply: {broken}"))
    }

    pub fn try_reply(&mut self) -> Result<Value, Broken> {
        let line = self.line()?;
        let text = || String::from_utf8_lossy(&line[1..]).into_owned();
        Ok(match line.first() {
            Some(b'+') => Value::Simple(text()),
            Some(b'-') => Value::Error(text()),
            Some(b':') => Value::Integer(number(&line)?),
            Some(b',') => Value::Double(text()),
            Some(b'(') => Value::BigNumber(text()),
            Some(b'_') => Value::Null,
            Some(b'#') => Value::Boolean(line[1..] == *b"t"),
            Some(b'$') => match number(&line)? {
                -1 => Value::NilBulk,
                length => Value::Bulk(self.bulk(length)?),
            },
            Some(b'!') => Value::BlobError(self.bulk(number(&line)?)?),
            Some(b'=') => {
                let bytes = self.bulk(number(&line)?)?;
                match bytes.split_at_checked(4) {
                    Some((format, rest)) if format[3] == b':' => Value::Verbatim(
                        String::from_utf8_lossy(&format[..3]).into_owned(),
                        rest.to_vec(),
                    ),
                    _ => return Err(Broken::Garbled("verbatim without a format".into())),
                }
            }
            Some(b'*') => match number(&line)? {
                -1 => Value::NilArray,
                count => Value::Array(self.items(count)?),
            },
            Some(b'~') => Value::Set(self.items(number(&line)?)?),
            Some(b'>') => Value::Push(self.items(number(&line)?)?),
            Some(b'%') => {
                let count = number(&line)?;
                let mut pairs = Vec::new();
                for _ in 0..count {
                    pairs.push((self.try_reply()?, self.try_reply()?));
                }
                Value::Map(pairs)
            }
            _ => return Err(Broken::Garbled(format!("reply line {line:?}"))),
        })
    }

    fn items(&mut self, count: i64) -> Result<Vec<Value>, Broken> {
        (0..count).map(|_| self.try_reply()).collect()
    }

    /// A line without its CRLF; what PSYNC and the payload's header are read with.
    pub fn line(&mut self) -> Result<Vec<u8>, Broken> {
        let mut searched = self.read;
        loop {
            if let Some(place) = self.arrived[searched..]
                .windows(2)
                .position(|pair| pair == b"\r\n")
            {
                let end = searched + place;
                let line = self.arrived[self.read..end].to_vec();
                self.read = end + 2;
                return Ok(line);
            }
            let unread = self.arrived.len() - self.read;
            self.more()?;
            searched = self.read + unread.saturating_sub(1);
        }
    }

    fn bulk(&mut self, length: i64) -> Result<Vec<u8>, Broken> {
        let mut bytes = self.exactly(length as usize + 2)?;
        if !bytes.ends_with(b"\r\n") {
            return Err(Broken::Garbled("bulk without CRLF".into()));
        }
        bytes.truncate(length as usize);
        Ok(bytes)
    }

    /// The next `count` raw bytes.
    pub fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        while self.arrived.len() - self.read < count {
            self.more()?;
        }
        let bytes = self.arrived[self.read..self.read + count].to_vec();
        self.read += count;
        Ok(bytes)
    }

    /// What has arrived and was not read yet, taken as it is, after at least one byte is there.
    pub fn whatever(&mut self) -> Result<Vec<u8>, Broken> {
        if self.read == self.arrived.len() {
            self.more()?;
        }
        Ok(self.take_unread())
    }

    fn take_unread(&mut self) -> Vec<u8> {
        let unread = self.arrived.split_off(self.read);
        self.arrived.clear();
        self.read = 0;
        unread
    }

    /// Bytes that were taken too many; they are read again first.
    pub fn put_back(&mut self, mut bytes: Vec<u8>) {
        bytes.extend_from_slice(&self.arrived[self.read..]);
        self.arrived = bytes;
        self.read = 0;
    }

    /// Reads until the peer closes; what it said on the way.
    pub fn until_closed(&mut self) -> Result<Vec<u8>, Broken> {
        loop {
            match self.more() {
                Ok(()) => {}
                Err(Broken::Closed) => return Ok(self.take_unread()),
                Err(broken) => return Err(broken),
            }
        }
    }

    /// True if nothing arrives for the span.
    pub fn is_silent_for(&mut self, span: Duration) -> bool {
        if self.read < self.arrived.len() {
            return false;
        }
        self.patience(span);
        let silent = matches!(self.more(), Err(Broken::TimedOut));
        self.patience(PATIENCE);
        silent
    }

    /// Ends our half of the connection; the peer may still talk.
    pub fn stop_sending(&mut self) {
        // A peer that has closed already makes this fail, which is the same end.
        let _ = match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    pub fn local_port(&self) -> u16 {
        match &self.socket {
            Socket::Tcp(stream) => stream.local_addr().expect("connected").port(),
            Socket::Unix(_) => 0,
        }
    }

    fn more(&mut self) -> Result<(), Broken> {
        if self.read > 1 << 16 && self.read * 2 > self.arrived.len() {
            self.arrived.drain(..self.read);
            self.read = 0;
        }
        let mut chunk = [0; 1 << 16];
        let count = loop {
            let read = match &mut self.socket {
                Socket::Tcp(stream) => stream.read(&mut chunk),
                Socket::Unix(stream) => stream.read(&mut chunk),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if count == 0 {
            return Err(Broken::Closed);
        }
        self.arrived.extend_from_slice(&chunk[..count]);
        Ok(())
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

/// A command as an array of bulks.
pub fn encoded<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn number(line: &[u8]) -> Result<i64, Broken> {
    std::str::from_utf8(&line[1..])
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| Broken::Garbled(format!("number in {:?}", String::from_utf8_lossy(line))))
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Broken::TimedOut,
            ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::UnexpectedEof => Broken::Closed,
            _ => Broken::Failed(error),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Closed => write!(out, "the server closed the connection"),
            Broken::TimedOut => write!(out, "no answer in time"),
            Broken::Failed(error) => write!(out, "{error}"),
            Broken::Garbled(what) => write!(out, "not RESP: {what}"),
        }
    }
}
