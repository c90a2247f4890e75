//! A conversation with a server as text: what is sent, and under it the exact reply.
//!
//! ```text
//!     > SET k v            a command on the connection "main" (its reply on the next line)
//!     +OK
//!     a> SUBSCRIBE news    the same on a connection named "a"
//!     >["subscribe" ...]   `...` stands for any text
//!     a<                   no command: the next message that arrives on "a"
//!     ["message" "news" "hi"]
//!     ~> SMEMBERS s        the reply's elements in any order; written sorted here
//!     # a remark
//! ```
//!
//! Replies are spelled as `value.rs` draws them, without blanks at their end. `UPDATE=1 SLUICE_SERVER=/usr/bin/redis-server cargo test` writes what the
//! reference answers into the source; read the diff, then commit it.

use std::collections::HashMap;
use std::fs;
use std::panic::Location;
use std::sync::Mutex;

use crate::support::client::Client;
use crate::support::server::{self, Server};

/// Plays the text against a fresh server with default settings.
#[track_caller]
pub fn transcript(text: &str) {
    let server = server::sluice().start();
    play(&server, text);
}

/// Plays the text against this server; panics with the differing lines.
#[track_caller]
pub fn play(server: &Server, text: &str) {
    let caller = Location::caller();
    let mut clients: HashMap<String, Client> = HashMap::new();
    let mut played = Vec::new();
    let mut wrong = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        played.push(line.to_string());
        let Some(turn) = Turn::parse(line) else {
            let content = line.trim();
            assert!(
                content.is_empty() || content.starts_with('#'),
                "not a command, message or remark: {line:?}"
            );
            continue;
        };
        let client = clients
            .entry(turn.connection.to_string())
            .or_insert_with(|| server.client());
        let reply = match turn.command {
            Some(command) => client.call(command),
            None => client.reply(),
        };
        let reply = if turn.in_any_order {
            reply.unordered()
        } else {
            reply
        };
        let found = reply.to_string();
        let expected = lines.next_if(|next| Turn::parse(next).is_none() && !is_remark(next));
        let indent = &line[..line.len() - line.trim_start().len()];
        match expected {
            Some(expected) if fits(expected.trim(), found.trim_end()) => {
                played.push(expected.to_string())
            }
            other => {
                played.push(format!("{indent}{}", found.trim_end()));
                wrong.push(format!(
                    "{}\n    expected {}\n    found    {found}",
                    line.trim(),
                    other.map_or("(nothing written)", str::trim)
                ));
            }
        }
    }
    if wrong.is_empty() {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        let mut replayed = played.join("\n");
        if text.ends_with('\n') {
            replayed.push('\n');
        }
        rewrite(caller.file(), text, &replayed);
    } else {
        panic!(
            "{}:{}\n{}\n{}",
            caller.file(),
            caller.line(),
            wrong.join("\n"),
            server.log_tail()
        );
    }
}

struct Turn<'a> {
    connection: &'a str,
    command: Option<&'a str>,
    in_any_order: bool,
}

impl<'a> Turn<'a> {
    fn parse(line: &'a str) -> Option<Turn<'a>> {
        let line = line.trim();
        let (head, in_any_order) = match line.strip_prefix('~') {
            Some(rest) => (rest, true),
            None => (line, false),
        };
        let end = head.find(|letter: char| !letter.is_ascii_lowercase())?;
        let (name, rest) = head.split_at(end);
        let connection = if name.is_empty() { "main" } else { name };
        let command = match rest {
            "<" => None,
            _ => Some(rest.strip_prefix("> ")?),
        };
        Some(Turn {
            connection,
            command,
            in_any_order,
        })
    }
}

fn is_remark(line: &str) -> bool {
    let content = line.trim();
    content.is_empty() || content.starts_with("# ")
}

/// Whether `found` is what `expected` says, where each `...` in it stands for any text.
pub fn fits(expected: &str, found: &str) -> bool {
    let mut parts = expected.split("...");
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = found.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn rewrite(file: &str, old: &str, new: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let source = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(
        source.matches(old).count(),
        1,
        "the transcript should stand once in {file}, as a raw string"
    );
    fs::write(file, source.replacen(old, new, 1)).unwrap_or_else(|error| panic!("{file}: {error}"));
}
