//! The lines that both ends write and parse before the stream begins.
//!
//! ```text
//! replica                                      master
//! PING                                     ->
//!                                          <-  +PONG           (-NOAUTH, -NOPERM: alive too)
//! AUTH [user] password                     ->                  only with masterauth
//! REPLCONF listening-port <port>           ->
//! REPLCONF ip-address <ip>                 ->                  only if announced
//! REPLCONF capa eof capa psync2            ->
//! REPLCONF version <x.y.z>                 ->                  only if configured
//!                                          <-  one line each; only AUTH's matters
//! PSYNC <id> <byte>, or ? -1               ->
//!                                          <-  +CONTINUE [id]  or  +FULLRESYNC <id> <offset>  or  -...
//! ```
//!
//! PING's answer is awaited, then AUTH and the REPLCONFs go out together, then PSYNC alone: masters refuse a PSYNC while they
//! still have output for the client.

use bytes::{Buf, Bytes};

use super::identity::{PsyncRequest, RequestedId};
use super::replconf::{Capabilities, integer};
use crate::journal::effect::encode_argv;
use crate::journal::position::{Offset, Position, ReplId};

/// What a master answers to PSYNC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PsyncReply {
    /// A snapshot of the history `id` at `offset` follows: `offset` is the last byte that is in it.
    FullResync {
        id: ReplId,
        offset: Offset,
    },
    /// The stream goes on; with an id, under that name.
    Continue {
        id: Option<ReplId>,
    },
    /// It cannot answer now: ask again soon, and keep what there is to continue from.
    Transient(String),
    /// Any other error. Peers fall back to SYNC here; a master that knows no PSYNC is older than 2.8 and not served.
    Refused(String),
    Malformed(String),
}

impl PsyncReply {
    /// Reads a line without its end.
    pub fn parse(line: &[u8]) -> Self {
        if let Some(text) = line.strip_prefix(b"-") {
            let transient = [&b"NOMASTERLINK"[..], b"LOADING", b"BUSY"]
                .iter()
                .any(|word| text.starts_with(word));
            return if transient {
                PsyncReply::Transient(shown(text))
            } else {
                PsyncReply::Refused(shown(text))
            };
        }
        let words: Vec<&[u8]> = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .collect();
        let parsed = match words[..] {
            [b"+FULLRESYNC", id, offset] => ReplId::parse(id)
                .zip(Offset::parse(offset))
                .map(|(id, offset)| PsyncReply::FullResync { id, offset }),
            [b"+CONTINUE"] => Some(PsyncReply::Continue { id: None }),
            [b"+CONTINUE", id] => ReplId::parse(id).map(|id| PsyncReply::Continue { id: Some(id) }),
            _ => None,
        };
        parsed.unwrap_or_else(|| PsyncReply::Malformed(shown(line)))
    }

    /// The line a master writes; a replica without `psync2` is not told the id of what it continues.
    pub fn full_resync(at: &Position) -> Bytes {
        Bytes::from(format!("+FULLRESYNC {} {}\r\n", at.id, at.offset))
    }

    pub fn continue_with(id: &ReplId, capabilities: Capabilities) -> Bytes {
        if capabilities.contains(Capabilities::PSYNC2) {
            Bytes::from(format!("+CONTINUE {id}\r\n"))
        } else {
            Bytes::from_static(b"+CONTINUE\r\n")
        }
    }
}

/// Reads the words after `PSYNC`; `None` where the offset is no number, which is answered with
/// [`super::replconf::ReplconfError::NotAnInteger`]'s text. Words beyond the second are ignored, but for one `FAILOVER`.
pub fn parse_psync(id: &[u8], byte: &[u8], third: Option<&[u8]>) -> Option<PsyncRequest> {
    let id = match id {
        b"?" => RequestedId::Any,
        id => ReplId::parse(id).map_or(RequestedId::Malformed, RequestedId::Named),
    };
    Some(PsyncRequest {
        id,
        byte: integer(byte).ok()?,
        failover: third.is_some_and(|word| word.eq_ignore_ascii_case(b"failover")),
    })
}

/// What stands against serving a PSYNC or SYNC, besides LOADING and the flags of the command; the engine knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    MasterLinkDown,
    FailingOver,
    PendingOutput,
    FilterWithoutEof,
    SnapshotFailed,
    FailoverToMaster,
    FailoverIdMismatch,
}

impl Refusal {
    /// The error's text, without the leading `-`.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::MasterLinkDown => "NOMASTERLINK Can't SYNC while not connected with my master",
            Refusal::FailingOver => "NOMASTERLINK Can't SYNC while failing over",
            Refusal::PendingOutput => "ERR SYNC and PSYNC are invalid with pending output",
            Refusal::FilterWithoutEof => "ERR Filtered replica requires EOF capability",
            Refusal::SnapshotFailed => "ERR BGSAVE failed, replication can't continue",
            Refusal::FailoverToMaster => "ERR PSYNC FAILOVER can't be sent to a master.",
            Refusal::FailoverIdMismatch => "ERR PSYNC FAILOVER replid must match my replid.",
        }
    }
}

/// What a replica says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// `masteruser`; only with a password.
    pub user: Option<String>,
    /// `masterauth`.
    pub password: Option<String>,
    /// What others reach it by: `replica-announce-port`, else the port it listens on.
    pub port: u16,
    /// `replica-announce-ip`.
    pub ip: Option<String>,
    pub capabilities: Capabilities,
    /// Told only where it is set: Redis masters answer an error (which is tolerated), Valkey's choose the RDB version by it.
    pub version: Option<String>,
}

/// One line that awaits an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Auth,
    Replconf(&'static str),
}

impl Greeting {
    /// Everything between PING and PSYNC, in one piece, and the answers that it will have.
    pub fn write(&self) -> (Bytes, Vec<Step>) {
        let mut out = Vec::new();
        let mut steps = Vec::new();
        if let Some(password) = &self.password {
            match &self.user {
                Some(user) => {
                    encode_argv(&[b"AUTH", user.as_bytes(), password.as_bytes()], &mut out)
                }
                None => encode_argv(&[b"AUTH", password.as_bytes()], &mut out),
            }
            steps.push(Step::Auth);
        }
        let mut replconf = |name: &'static str, words: &[&str]| {
            let mut argv: Vec<&[u8]> = vec![b"REPLCONF"];
            argv.extend(words.iter().map(|word| word.as_bytes()));
            encode_argv(&argv, &mut out);
            steps.push(Step::Replconf(name));
        };
        let port = self.port.to_string();
        replconf("listening-port", &["listening-port", &port]);
        if let Some(ip) = &self.ip {
            replconf("ip-address", &["ip-address", ip]);
        }
        let words: Vec<&str> = self
            .capabilities
            .names()
            .flat_map(|name| ["capa", name])
            .collect();
        if !words.is_empty() {
            replconf("capa", &words);
        }
        if let Some(version) = &self.version {
            replconf("version", &["version", version]);
        }
        (Bytes::from(out), steps)
    }
}

pub fn ping_line() -> Bytes {
    Bytes::from_static(b"*1\r\n$4\r\nPING\r\n")
}

/// PSYNC for what follows `from`, or for everything.
pub fn psync_line(from: Option<&Position>, failover: bool) -> Bytes {
    let (id, byte) = match from {
        Some(position) => (
            position.id.to_string(),
            position.offset.next_byte().to_string(),
        ),
        None => ("?".into(), "-1".into()),
    };
    let mut argv: Vec<&[u8]> = vec![b"PSYNC", id.as_bytes(), byte.as_bytes()];
    if failover {
        argv.push(b"FAILOVER");
    }
    let mut out = Vec::new();
    encode_argv(&argv, &mut out);
    Bytes::from(out)
}

/// `REPLCONF ACK`, with what is on our disk where an AOF says so.
pub fn ack_line(applied: Offset, synced: Option<Offset>) -> Bytes {
    let applied = applied.to_string();
    let mut argv: Vec<&[u8]> = vec![b"REPLCONF", b"ACK", applied.as_bytes()];
    let synced = synced.map(|offset| offset.to_string());
    if let Some(synced) = &synced {
        argv.extend([&b"FACK"[..], synced.as_bytes()]);
    }
    let mut out = Vec::new();
    encode_argv(&argv, &mut out);
    Bytes::from(out)
}

/// Lines as they come, in any pieces, each at most [`LINE_BYTES_MAX`] long.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

/// A line that does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Lines {
    /// Takes the next line off the front of `bytes`, its end removed; `None` when it has not ended yet.
    pub fn next(&mut self, bytes: &mut Bytes) -> Option<Result<Vec<u8>, TooLong>> {
        let end = memchr::memchr(b'\n', bytes);
        let taken = end.unwrap_or(bytes.len());
        if self.partial.len() + taken > LINE_BYTES_MAX {
            return Some(Err(TooLong));
        }
        self.partial.extend_from_slice(&bytes[..taken]);
        bytes.advance((taken + 1).min(bytes.len()));
        end?;
        if self.partial.last() == Some(&b'\r') {
            self.partial.pop();
        }
        Some(Ok(std::mem::take(&mut self.partial)))
    }
}

/// Some of what a peer said, fit for a log or an error reply: bounded, and on one line.
pub fn shown(text: &[u8]) -> String {
    let cut = &text[..text.len().min(SHOWN_BYTES_MAX)];
    let dots = if cut.len() < text.len() { "..." } else { "" };
    let cut = String::from_utf8_lossy(cut).replace(char::is_control, " ");
    format!("{cut}{dots}")
}

/// The longest reply line a replica reads.
pub const LINE_BYTES_MAX: usize = 255;

const SHOWN_BYTES_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psync_requests_are_read_as_the_peers_read_them() {
        let id = "0123456789abcdefABCDEF01234567890123456a";
        let request = parse_psync(id.as_bytes(), b"17", Some(b"failover")).unwrap();
        assert_eq!(request.byte, 17);
        assert!(request.failover);
        assert_eq!(
            request.id,
            RequestedId::Named(ReplId::parse(id.as_bytes()).unwrap())
        );
        let fresh = parse_psync(b"?", b"-1", Some(b"zork")).unwrap();
        assert_eq!(
            (fresh.id, fresh.byte, fresh.failover),
            (RequestedId::Any, -1, false)
        );
        let odd = parse_psync(b"no-id", b"-1", None).unwrap();
        assert_eq!(odd.id, RequestedId::Malformed);
        assert_eq!(parse_psync(b"?", b"abc", None), None);
    }

    #[test]
    fn psync_replies_round_trip_and_junk_is_named() {
        let id = ReplId::parse(&[b'a'; 40]).unwrap();
        let position = Position {
            id,
            offset: Offset(42),
            stream_db: None,
        };
        let line = PsyncReply::full_resync(&position);
        assert_eq!(
            PsyncReply::parse(line.strip_suffix(b"\r\n").unwrap()),
            PsyncReply::FullResync {
                id,
                offset: Offset(42)
            }
        );
        for (capabilities, told) in [(Capabilities::PSYNC2, Some(id)), (Capabilities::EOF, None)] {
            let line = PsyncReply::continue_with(&id, capabilities);
            assert_eq!(
                PsyncReply::parse(line.strip_suffix(b"\r\n").unwrap()),
                PsyncReply::Continue { id: told }
            );
        }
        for transient in ["NOMASTERLINK Can't", "LOADING Redis", "BUSY script"] {
            assert_eq!(
                PsyncReply::parse(format!("-{transient}").as_bytes()),
                PsyncReply::Transient(transient.into())
            );
        }
        assert_eq!(
            PsyncReply::parse(b"-ERR unknown command"),
            PsyncReply::Refused("ERR unknown command".into())
        );
        for junk in [
            "+FULLRESYNC",
            "+FULLRESYNC ? 1",
            "+FULLRESYNC 0123456789012345678901234567890123456789 -1",
            "+FULLRESYNC 0123456789012345678901234567890123456789 9223372036854775807",
            "+CONTINUE short",
            "+CONTINUEX",
            "hello",
        ] {
            assert_eq!(
                PsyncReply::parse(junk.as_bytes()),
                PsyncReply::Malformed(junk.into())
            );
        }
    }

    #[test]
    fn the_greeting_tells_only_what_is_configured() {
        let mut greeting = Greeting {
            port: 6380,
            capabilities: Capabilities::EOF.with(Capabilities::PSYNC2),
            ..Greeting::default()
        };
        let (bytes, steps) = greeting.write();
        assert_eq!(
            bytes,
            &b"*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$4\r\n6380\r\n\
               *5\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n$4\r\ncapa\r\n$6\r\npsync2\r\n"[..]
        );
        assert_eq!(
            steps,
            [Step::Replconf("listening-port"), Step::Replconf("capa")]
        );
        greeting.password = Some("secret".into());
        greeting.user = Some("repl".into());
        greeting.ip = Some("10.0.0.7".into());
        greeting.version = Some("8.0.1".into());
        let (bytes, steps) = greeting.write();
        assert!(bytes.starts_with(b"*3\r\n$4\r\nAUTH\r\n$4\r\nrepl\r\n$6\r\nsecret\r\n"));
        assert_eq!(steps.len(), 5);
    }

    #[test]
    fn lines_are_put_together_and_endless_ones_refused() {
        let text = b"\r\n+OK\r\n\n+CONTINUE x\nrest";
        for piece in 1..text.len() {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for part in text.chunks(piece) {
                let mut bytes = Bytes::copy_from_slice(part);
                while let Some(line) = lines.next(&mut bytes) {
                    seen.push(String::from_utf8(line.unwrap()).unwrap());
                }
            }
            assert_eq!(seen, ["", "+OK", "", "+CONTINUE x"]);
        }
        let mut lines = Lines::default();
        let mut endless = Bytes::from(vec![b'x'; LINE_BYTES_MAX]);
        assert_eq!(lines.next(&mut endless), None);
        assert_eq!(
            lines.next(&mut Bytes::from_static(b"x")),
            Some(Err(TooLong))
        );
    }
}
