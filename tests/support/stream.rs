//! A replica made by hand: it takes a full sync, then reads the replication stream command by command.

use std::time::Duration;

use crate::support::client::{Broken, Client, encoded};
use crate::support::server::Server;
use crate::support::value::Value;

pub struct Follower {
    pub client: Client,
    /// The id that the master gave.
    pub replication_id: String,
    /// The offset of the last byte that was read.
    pub offset: u64,
    /// The snapshot, without its framing.
    pub payload: Vec<u8>,
    /// Whether the snapshot came in the `$EOF:` framing.
    pub was_diskless: bool,
}

impl Follower {
    /// Attaches with the usual handshake and takes the snapshot.
    #[track_caller]
    pub fn attach(server: &Server) -> Follower {
        let mut client = Follower::shake_hands(server);
        client.send(&["PSYNC", "?", "-1"]);
        let answer = first_line(&mut client);
        let words: Vec<&str> = answer.split(' ').collect();
        let ["+FULLRESYNC", id, offset] = words[..] else {
            panic!("expected +FULLRESYNC id offset, found {answer:?}");
        };
        let (payload, was_diskless) = read_payload(&mut client);
        let mut follower = Follower {
            replication_id: id.to_string(),
            offset: offset.parse().expect("an offset is a number"),
            payload,
            was_diskless,
            client,
        };
        // A diskless master sends the stream only after an acknowledgement, and drops one that comes too early.
        follower.acknowledge();
        while follower.was_diskless && !follower.is_online(server) {
            follower.client.is_silent_for(Duration::from_millis(20));
            follower.acknowledge();
        }
        follower
    }

    fn is_online(&self, server: &Server) -> bool {
        let info = server.call("INFO replication").text();
        info.lines()
            .any(|line| line.contains("port=21599,state=online"))
    }

    /// A connection over which the lines before PSYNC were said.
    #[track_caller]
    pub fn shake_hands(server: &Server) -> Client {
        let mut client = server.client();
        for line in [
            "PING",
            "REPLCONF listening-port 21599",
            "REPLCONF capa eof capa psync2",
        ] {
            client.must(line);
        }
        client
    }

    /// Asks to continue behind `offset`; the answer's line.
    #[track_caller]
    pub fn ask(server: &Server, replication_id: &str, offset: u64) -> (String, Client) {
        let mut client = Follower::shake_hands(server);
        client.send(&["PSYNC", replication_id, &(offset + 1).to_string()]);
        let answer = first_line(&mut client);
        (answer, client)
    }

    /// The next command of the stream as it came, PING and GETACK included.
    pub fn try_next(&mut self) -> Result<Vec<Vec<u8>>, Broken> {
        let words: Vec<Vec<u8>> = match self.client.try_reply()? {
            Value::Array(words) => words.iter().map(Value::bytes).collect(),
            other => return Err(Broken::Garbled(format!("{other} in the stream"))),
        };
        self.offset += encoded(&words).len() as u64;
        Ok(words)
    }

    /// The next command that is not the link's own upkeep.
    #[track_caller]
    pub fn next(&mut self) -> Vec<Vec<u8>> {
        loop {
            let words = self
                .try_next()
                .unwrap_or_else(|broken| panic!("awaiting the stream: {broken}"));
            let name = words[0].to_ascii_uppercase();
            if name != b"PING" && name != b"REPLCONF" {
                return words;
            }
        }
    }

    /// All commands before the one that publishes on this channel; that one is read and dropped.
    #[track_caller]
    pub fn commands_until_published(&mut self, channel: &str) -> Vec<Vec<Vec<u8>>> {
        let mut commands = Vec::new();
        loop {
            let words = self.next();
            if words.len() == 3
                && words[0].eq_ignore_ascii_case(b"PUBLISH")
                && words[1] == channel.as_bytes()
            {
                return commands;
            }
            commands.push(words);
        }
    }

    pub fn acknowledge(&mut self) {
        let offset = self.offset.to_string();
        self.client.send(&["REPLCONF", "ACK", &offset]);
    }

    /// Says that everything up to `beyond` bytes behind what has come is on disk.
    pub fn acknowledge_synced(&mut self, beyond: u64) {
        let (offset, synced) = (self.offset.to_string(), (self.offset + beyond).to_string());
        self.client
            .send(&["REPLCONF", "ACK", &offset, "FACK", &synced]);
    }
}

/// The answer to PSYNC; bare newlines before it are the master's sign of life.
#[track_caller]
pub fn first_line(client: &mut Client) -> String {
    client.patience(Duration::from_secs(30));
    let line = client
        .line()
        .unwrap_or_else(|broken| panic!("awaiting the answer to PSYNC: {broken}"));
    String::from_utf8_lossy(&line)
        .trim_start_matches('\n')
        .to_string()
}

/// A snapshot in either framing, and whether it was `$EOF:`.
#[track_caller]
pub fn read_payload(client: &mut Client) -> (Vec<u8>, bool) {
    let header = first_line(client);
    if let Some(mark) = header.strip_prefix("$EOF:") {
        let mark = mark.as_bytes();
        assert_eq!(mark.len(), 40, "the end mark has 40 bytes");
        let mut payload = Vec::new();
        loop {
            let from = payload.len();
            payload.extend(client.whatever().expect("the snapshot goes on"));
            // The mark may lie across two reads, and the stream may follow it in the same read.
            let start = from.saturating_sub(mark.len());
            if let Some(place) = find(&payload[start..], mark) {
                let rest = payload.split_off(start + place + mark.len());
                payload.truncate(start + place);
                client.put_back(rest);
                return (payload, true);
            }
        }
    }
    let length = header
        .strip_prefix('$')
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("expected $length or $EOF:mark, found {header:?}"));
    (client.exactly(length).expect("the whole snapshot"), false)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle[0];
    let mut from = 0;
    while let Some(place) = haystack[from..].iter().position(|&byte| byte == first) {
        if haystack[from + place..].starts_with(needle) {
            return Some(from + place);
        }
        from += place + 1;
    }
    None
}
