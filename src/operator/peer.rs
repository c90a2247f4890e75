//! A connection to a node that the tool asks: blocking, one request at a time, with a deadline for each answer.
//!
//! What goes wrong is told in the words of the one who can mend it, with the node's name in front. Knows nothing of what
//! the answers mean.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use sluice::journal::effect::encode_argv;
use sluice::protocol::answer::{Answer, AnswerError, AnswerReader, Limits};

pub struct Peer {
    name: String,
    stream: TcpStream,
    reader: AnswerReader,
}

pub struct Credentials {
    /// The default user, if none.
    pub user: Option<String>,
    /// Without one, the node is asked as it is.
    pub password: Option<String>,
}

/// Why a node could not be asked.
#[derive(Debug)]
pub enum Trouble {
    NoAddress(Option<io::Error>),
    Unreachable(io::Error),
    Broken(io::Error),
    Closed,
    /// Nothing came for this long.
    Silent(Duration),
    Garbled(AnswerError),
    /// The node's own words.
    Refused {
        request: String,
        answer: String,
    },
    /// Not what this request is answered with.
    Unexpected {
        request: String,
    },
}

impl Peer {
    /// Connects to `host:port` and authenticates, if there is something to authenticate with.
    pub fn connect(name: &str, credentials: &Credentials) -> Result<Peer, Trouble> {
        let mut last = Trouble::NoAddress(None);
        let addresses = name
            .to_socket_addrs()
            .map_err(|error| Trouble::NoAddress(Some(error)))?;
        for address in addresses {
            match TcpStream::connect_timeout(&address, ANSWER_WAIT) {
                Ok(stream) => return Peer::over(name, stream, credentials),
                Err(error) => last = Trouble::Unreachable(error),
            }
        }
        Err(last)
    }

    fn over(name: &str, stream: TcpStream, credentials: &Credentials) -> Result<Peer, Trouble> {
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_write_timeout(Some(ANSWER_WAIT)))
            .map_err(Trouble::Broken)?;
        let mut peer = Peer {
            name: name.to_string(),
            stream,
            reader: AnswerReader::new(Limits::default()),
        };
        if let Some(password) = &credentials.password {
            match &credentials.user {
                Some(user) => peer.ask(&["AUTH", user, password])?,
                None => peer.ask(&["AUTH", password])?,
            };
        }
        Ok(peer)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a request and awaits what a command usually takes.
    pub fn ask(&mut self, words: &[&str]) -> Result<Answer, Trouble> {
        self.ask_patiently(words, ANSWER_WAIT)
    }

    /// Sends a request that may take up to `wait` to be answered.
    pub fn ask_patiently(&mut self, words: &[&str], wait: Duration) -> Result<Answer, Trouble> {
        // A timeout of zero would mean none at all.
        let wait = wait.max(Duration::from_millis(1));
        let argv: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let mut request = Vec::new();
        encode_argv(&argv, &mut request);
        self.stream
            .set_read_timeout(Some(wait))
            .and_then(|()| self.stream.write_all(&request))
            .map_err(Trouble::Broken)?;
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.reader.next_answer().map_err(Trouble::Garbled)? {
                Some(Answer::Error(answer)) => {
                    let request = shown(words);
                    return Err(Trouble::Refused { request, answer });
                }
                Some(answer) => return Ok(answer),
                None => {}
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(Trouble::Closed),
                Ok(read) => self.reader.feed(&bytes[..read]),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        return Err(Trouble::Silent(wait));
                    }
                    _ => return Err(Trouble::Broken(error)),
                },
            }
        }
    }

    /// The answer to a request that is answered with text.
    pub fn ask_text(&mut self, words: &[&str], wait: Duration) -> Result<String, Trouble> {
        let answer = self.ask_patiently(words, wait)?;
        match answer.as_text() {
            Some(text) => Ok(text.into_owned()),
            None => Err(Trouble::Unexpected {
                request: shown(words),
            }),
        }
    }
}

/// How long a connection, a write, and an answer that costs the node nothing may take.
pub const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// The request as an error names it: never with a password.
fn shown(words: &[&str]) -> String {
    match words {
        ["AUTH", ..] => "AUTH".to_string(),
        words => words.join(" "),
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NoAddress(None) => write!(f, "this name has no address"),
            Trouble::NoAddress(Some(error)) => {
                write!(f, "expected HOST:PORT of a node: {error}")
            }
            Trouble::Unreachable(error) => write!(f, "cannot connect: {error}"),
            Trouble::Broken(error) => write!(f, "the connection broke: {error}"),
            Trouble::Closed => write!(f, "the node closed the connection"),
            Trouble::Silent(wait) => {
                write!(f, "no answer within {}", humantime::format_duration(*wait))
            }
            Trouble::Garbled(error) => write!(f, "this does not speak RESP: {error}"),
            Trouble::Refused { request, answer } => {
                write!(f, "{request} was refused: {answer}")?;
                match remedy(request, answer) {
                    Some(remedy) => write!(f, "\n  {remedy}"),
                    None => Ok(()),
                }
            }
            Trouble::Unexpected { request } => {
                write!(f, "{request} was answered with something else than text")
            }
        }
    }
}

/// What to do about a refusal.
fn remedy(request: &str, answer: &str) -> Option<&'static str> {
    let code = answer.split(' ').next().unwrap_or_default();
    Some(match code {
        "NOAUTH" => "Give the node's password with --password or in SLUICE_PASSWORD.",
        "WRONGPASS" => "Check --user and --password (or SLUICE_PASSWORD).",
        "NOPERM" => "Give a user who may run INFO and DEBUG with --user and --password.",
        "DENIED" => "Protected mode: ask on the loopback interface, or set requirepass there.",
        _ if request.starts_with("DEBUG") && answer.contains("not allowed") => {
            "Set enable-debug-command to yes (or to local, and ask on the loopback interface) in \
             the node's configuration, and restart it."
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::{Credentials, Peer};

    /// What asking for a ping ends in, at a peer that says `answer` and closes.
    fn ping(answer: &'static [u8], password: Option<&str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let name = listener.local_addr().expect("bound").to_string();
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 512];
            let read = stream.read(&mut request).expect("a request");
            stream.write_all(answer).expect("it listens");
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let credentials = Credentials {
            user: None,
            password: password.map(str::to_string),
        };
        let outcome = Peer::connect(&name, &credentials).and_then(|mut peer| peer.ask(&["PING"]));
        let request = peer.join().expect("it ends");
        let first = if password.is_some() { "AUTH" } else { "PING" };
        assert!(request.contains(first), "{request}");
        match outcome {
            Ok(answer) => format!("{answer:?}"),
            Err(trouble) => trouble.to_string(),
        }
    }

    #[test]
    fn answers_and_troubles_are_told_apart() {
        assert_eq!(ping(b"+PONG\r\n", None), r#"Simple("PONG")"#);
        assert_eq!(ping(b"", None), "the node closed the connection");
        assert_eq!(ping(b"$4\r\nPO", None), "the node closed the connection");
        let html = ping(b"HTTP/1.1 400 Bad Request\r\n", None);
        assert!(
            html.starts_with("this does not speak RESP: answer: byte 0"),
            "{html}"
        );
    }

    #[test]
    fn refusals_say_what_to_do() {
        let refused = ping(b"-NOAUTH Authentication required.\r\n", None);
        assert!(refused.contains("--password"), "{refused}");
        let refused = ping(
            b"-WRONGPASS invalid username-password pair\r\n",
            Some("secret"),
        );
        assert!(
            refused.starts_with("AUTH was refused: WRONGPASS"),
            "{refused}"
        );
        assert!(!refused.contains("secret"), "{refused}");
    }

    #[test]
    fn what_is_no_address_is_told_at_once() {
        let nobody = Credentials {
            user: None,
            password: None,
        };
        let outcome = Peer::connect("localhost", &nobody).err();
        let trouble = outcome.expect("a port is missing").to_string();
        assert!(trouble.contains("HOST:PORT"), "{trouble}");
    }
}
