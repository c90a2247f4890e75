//! Conversations of a link with a master that is played by the test, line by line.

use std::time::Duration;

use bytes::Bytes;

use super::{Action, Event, Link, LinkConfig, LoadId};
use crate::journal::position::{Offset, Position, ReplId};
use crate::random::Random;
use crate::replication::handshake::Greeting;
use crate::replication::payload::Framing;
use crate::replication::replconf::Capabilities;

const X: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const Y: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn config() -> LinkConfig {
    LinkConfig {
        greeting: Greeting {
            port: 6380,
            capabilities: Capabilities::EOF.with(Capabilities::PSYNC2),
            ..Greeting::default()
        },
        timeout: Duration::from_secs(60),
    }
}

fn position(id: &str, offset: i64) -> Position {
    Position {
        id: ReplId::parse(id.as_bytes()).unwrap(),
        offset: Offset(offset),
        stream_db: Some(0),
    }
}

/// A link and its time. Logs are left out of what it says.
struct Talk {
    link: Link,
    now: Duration,
}

impl Talk {
    fn new() -> Self {
        Talk {
            link: Link::new(config()),
            now: Duration::from_secs(1000),
        }
    }

    /// A link that streams the history X from offset 100.
    fn streaming() -> Self {
        let mut talk = Talk::new();
        talk.play(&[
            ("replicaof m 6379", "connect m:6379"),
            ("connected", "> PING"),
            ("< +PONG", GREETING),
            ("< +OK", ""),
            ("< +OK", "> PSYNC ? -1"),
            (&format!("< +FULLRESYNC {X} 100"), ""),
            ("< $3", "begin 1 sized 3 at 100"),
            ("<< abc", "load abc, end load"),
            (
                "loaded 1",
                "discard sub-replicas, swap to 100, > REPLCONF ACK 100",
            ),
        ]);
        talk
    }

    fn play(&mut self, lines: &[(&str, &str)]) {
        for (input, expected) in lines {
            assert_eq!(&self.step(input), expected, "after {input:?}");
        }
    }

    fn step(&mut self, input: &str) -> String {
        let (word, rest) = input.split_once(' ').unwrap_or((input, ""));
        let event = match word {
            "replicaof" => {
                let words: Vec<&str> = rest.split(' ').collect();
                Event::ReplicaOf {
                    host: words[0].into(),
                    port: words[1].parse().unwrap(),
                    claim: words
                        .get(2)
                        .filter(|id| id.len() == 40)
                        .map(|id| position(id, words[3].parse().unwrap())),
                    failover: words.last() == Some(&"failover"),
                }
            }
            "noone" => Event::NoOne,
            "connected" => Event::Connected,
            "connectfailed" => Event::ConnectFailed(rest.into()),
            "<" => Event::Bytes(Bytes::from(format!("{rest}\r\n"))),
            "<<" => Event::Bytes(Bytes::from(rest.replace("\\n", "\n").replace("\\r", "\r"))),
            "closed" => Event::Closed,
            "wait" => {
                self.now += Duration::from_millis(rest.parse().unwrap());
                Event::Deadline
            }
            "loaded" => Event::Loaded {
                load: LoadId(rest.parse().unwrap()),
                stream_db: Some(0),
            },
            "loadfailed" => Event::LoadFailed {
                load: LoadId(rest.parse().unwrap()),
                reason: "bad opcode".into(),
            },
            "dropped" => Event::DatasetDropped,
            "getack" => Event::AckRequested,
            "broken" => Event::StreamBroken(rest.into()),
            "applied" => {
                self.link.applied(Offset(rest.parse().unwrap()), Some(0));
                return String::new();
            }
            _ => panic!("what is {input}?"),
        };
        let mut actions = Vec::new();
        self.link.handle(event, self.now, &mut actions);
        let told: Vec<String> = actions.iter().filter_map(tell).collect();
        told.join(", ")
    }
}

fn tell(action: &Action) -> Option<String> {
    Some(match action {
        Action::Connect { host, port } => format!("connect {host}:{port}"),
        Action::Send(bytes) => {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            if text == "\n" {
                return Some("> LF".into());
            }
            let words: Vec<&str> = text
                .split("\r\n")
                .filter(|word| !word.is_empty() && !word.starts_with('$'))
                .collect();
            let mut line = String::new();
            for word in words {
                match (word.starts_with('*') && word.len() == 2, line.is_empty()) {
                    (true, true) => line.push('>'),
                    (true, false) => line.push_str(", >"),
                    (false, _) => line.push_str(&format!(" {word}")),
                }
            }
            line
        }
        Action::BeginLoad {
            load,
            framing,
            position,
            same_history,
        } => {
            let framing = match framing {
                Framing::Sized(bytes) => format!("sized {bytes}"),
                Framing::Marked(_) => "marked".into(),
            };
            let same = if *same_history { " same history" } else { "" };
            format!("begin {} {framing} at {}{same}", load.0, position.offset)
        }
        Action::Load(bytes) => format!("load {}", bytes.escape_ascii()),
        Action::EndLoad => "end load".into(),
        Action::AbortLoad => "abort load".into(),
        Action::DiscardSubReplicas => "discard sub-replicas".into(),
        Action::Swap(position) => format!("swap to {}", position.offset),
        Action::Continue { id, at } => format!("continue {}.. at {at}", &id.as_str()[..4]),
        Action::Apply(bytes) => format!("apply {}", bytes.escape_ascii()),
        Action::Close => "close".into(),
        Action::FailoverAnswered { accepted } => format!("failover accepted {accepted}"),
        Action::Log(..) => return None,
    })
}

const GREETING: &str = "> REPLCONF listening-port 6380, > REPLCONF capa eof capa psync2";

#[test]
fn a_full_sync_by_length_loads_swaps_acknowledges_and_streams() {
    let mut talk = Talk::new();
    let full = format!("< +FULLRESYNC {X} 100");
    talk.play(&[
        ("replicaof m 6379", "connect m:6379"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("< +OK", ""),
        ("< -ERR unknown option", "> PSYNC ? -1"),
        ("<< \\n", ""),
        (&full, ""),
        ("<< \\n", ""),
        ("< $5", "begin 1 sized 5 at 100"),
        ("<< ab", "load ab"),
        ("wait 1000", "> LF"),
        // The stream's first bytes come with the last ones of the body: they wait for the swap.
        ("<< cde*1", "load cde, end load"),
        ("wait 1000", "> LF"),
    ]);
    assert!(!talk.link.wants_bytes());
    talk.play(&[
        (
            "loaded 1",
            "discard sub-replicas, swap to 100, > REPLCONF ACK 100, apply *1",
        ),
        (
            "<< \\r\\n$4\\r\\nPING\\r\\n",
            "apply \\r\\n$4\\r\\nPING\\r\\n",
        ),
    ]);
    assert!(talk.link.wants_bytes() && talk.link.is_up());
    assert_eq!(talk.link.read_offset(), 114);
    assert_eq!(talk.link.applied_offset(), 100);
    assert_eq!(talk.link.unapplied_bytes(), 14);
    talk.play(&[("applied 114", ""), ("wait 1000", "> REPLCONF ACK 114")]);
}

#[test]
fn a_full_sync_by_mark_ends_at_the_mark() {
    let mut talk = Talk::new();
    talk.play(&[
        ("replicaof m 6379", "connect m:6379"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", "> PSYNC ? -1"),
        (
            &format!("< +FULLRESYNC {X} 7\r\n$EOF:{Y}"),
            "begin 1 marked at 7",
        ),
        // The last byte could be the mark's first; what follows shows that it is not.
        ("<< abcb", "load abc"),
        ("<< \\n", "load b\\n"),
    ]);
    assert_eq!(talk.step(&format!("<< x{Y}")), "load x, end load");
    assert_eq!(
        talk.step("loaded 1"),
        "discard sub-replicas, swap to 7, > REPLCONF ACK 7"
    );
}

#[test]
fn the_password_goes_first_and_its_refusal_ends_the_attempt() {
    let mut talk = Talk::new();
    let mut config = config();
    config.greeting.password = Some("secret".into());
    talk.link.set_config(config);
    talk.play(&[
        ("replicaof m 6379", "connect m:6379"),
        ("connected", "> PING"),
        (
            "< -NOAUTH Authentication required.",
            &format!("> AUTH secret, {GREETING}"),
        ),
        ("< -WRONGPASS invalid", "close"),
    ]);
    assert_eq!(talk.link.role_state(), "connect");
    assert_eq!(
        talk.link.last_failure().unwrap(),
        "it refuses our password: -WRONGPASS invalid"
    );
    talk.play(&[("wait 1000", "connect m:6379")]);
}

#[test]
fn a_master_that_is_not_ready_is_asked_again_a_second_later() {
    for answer in ["-LOADING", "-MASTERDOWN", "-MISCONF", "-DENIED", "junk"] {
        let mut talk = Talk::new();
        talk.play(&[
            ("replicaof m 6379", "connect m:6379"),
            ("connected", "> PING"),
            (&format!("< {answer}"), "close"),
            ("wait 999", ""),
            ("wait 1", "connect m:6379"),
            ("connectfailed refused", ""),
            ("wait 1000", "connect m:6379"),
        ]);
    }
}

#[test]
fn a_cut_stream_is_continued_at_once_from_what_was_applied() {
    let mut talk = Talk::streaming();
    talk.play(&[
        ("<< 0123456789", "apply 0123456789"),
        ("applied 106", ""),
        ("wait 5000", "> REPLCONF ACK 106"),
        ("closed", "connect m:6379"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {X} 107")),
        ("< +CONTINUE", "continue aaaa.. at 106, > REPLCONF ACK 106"),
        ("<< 6789", "apply 6789"),
    ]);
    assert_eq!(talk.link.read_offset(), 110);
}

#[test]
fn a_new_id_is_taken_over_and_sub_replicas_learn_it() {
    let mut talk = Talk::streaming();
    talk.play(&[
        ("wait 5000", "> REPLCONF ACK 100"),
        ("closed", "connect m:6379"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {X} 101")),
        (
            &format!("< +CONTINUE {Y}\r\nab"),
            "discard sub-replicas, continue bbbb.. at 100, > REPLCONF ACK 100, apply ab\\r\\n",
        ),
    ]);
    assert_eq!(talk.link.position().unwrap().id.as_str(), Y);
}

#[test]
fn transient_refusals_keep_what_can_be_continued() {
    for answer in [
        "-NOMASTERLINK Can't",
        "-LOADING",
        "-BUSY",
        "-ERR odd",
        "+WHAT",
    ] {
        let mut talk = Talk::streaming();
        talk.play(&[
            ("wait 5000", "> REPLCONF ACK 100"),
            ("closed", "connect m:6379"),
            ("connected", "> PING"),
            ("< +PONG", GREETING),
            ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {X} 101")),
            (&format!("< {answer}"), "close"),
            ("wait 1000", "connect m:6379"),
            ("connected", "> PING"),
            ("< +PONG", GREETING),
            ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {X} 101")),
        ]);
    }
}

#[test]
fn another_master_is_asked_to_continue_what_we_have() {
    let mut talk = Talk::streaming();
    talk.play(&[
        ("applied 150", ""),
        ("replicaof n 7000", "close, connect n:7000"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {X} 151")),
    ]);
    assert_eq!(talk.link.master(), Some(("n", 7000)));
}

#[test]
fn a_demoted_master_claims_its_own_history_and_a_promotion_forgets_it() {
    let mut talk = Talk::new();
    talk.play(&[
        (&format!("replicaof m 1 {Y} 41"), "connect m:1"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {Y} 42")),
        ("noone", "close"),
    ]);
    assert_eq!(talk.link.deadline(), None);
    assert_eq!(talk.link.role_state(), "none");
    talk.play(&[
        ("replicaof m 1", "connect m:1"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", "> PSYNC ? -1"),
    ]);
}

#[test]
fn a_connection_lost_while_the_snapshot_comes_keeps_the_old_dataset_and_its_place() {
    let mut talk = Talk::streaming();
    talk.play(&[
        ("applied 130", ""),
        ("wait 1000", "> REPLCONF ACK 130"),
        ("closed", "connect m:6379"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {X} 131")),
        (&format!("< +FULLRESYNC {X} 9000"), ""),
        ("< $50", "begin 2 sized 50 at 9000 same history"),
        ("<< half", "load half"),
        ("wait 1000", "> LF"),
        ("closed", "abort load, connect m:6379"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {X} 131")),
    ]);
}

#[test]
fn a_snapshot_that_has_arrived_whole_is_used_although_the_connection_is_lost() {
    let mut talk = Talk::streaming();
    talk.play(&[
        ("wait 1000", "> REPLCONF ACK 100"),
        ("closed", "connect m:6379"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {X} 101")),
        (&format!("< +FULLRESYNC {Y} 500"), ""),
        ("< $2", "begin 2 sized 2 at 500"),
        ("<< abmore", "load ab, end load"),
        ("closed", ""),
    ]);
    assert_eq!(talk.link.deadline(), None);
    talk.play(&[
        ("wait 100000", ""),
        (
            "loaded 2",
            "discard sub-replicas, swap to 500, connect m:6379",
        ),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {Y} 501")),
    ]);
}

#[test]
fn loads_that_fail_are_tried_again_more_and_more_rarely_and_never_end_the_process() {
    let mut talk = Talk::new();
    talk.step("replicaof m 6379");
    for (attempt, wait_ms) in [1000, 2000, 4000, 8000, 16_000, 16_000]
        .into_iter()
        .enumerate()
    {
        let load = attempt + 1;
        talk.play(&[
            ("connected", "> PING"),
            ("< +PONG", GREETING),
            ("<< +OK\\r\\n+OK\\r\\n", "> PSYNC ? -1"),
            (
                &format!("< +FULLRESYNC {X} 100\r\n$2"),
                &format!("begin {load} sized 2 at 100"),
            ),
            ("<< xx", "load xx, end load"),
            (&format!("loadfailed {load}"), "close, abort load"),
            (&format!("wait {}", wait_ms - 1), ""),
            ("wait 1", "connect m:6379"),
        ]);
    }
    assert_eq!(
        talk.link.last_failure().unwrap(),
        "the snapshot did not load: bad opcode"
    );
}

#[test]
fn the_end_of_an_aborted_load_is_not_taken_for_that_of_the_next() {
    let mut talk = Talk::new();
    let begin = |talk: &mut Talk, load: u64| {
        talk.play(&[
            ("connected", "> PING"),
            ("< +PONG", GREETING),
            ("<< +OK\\r\\n+OK\\r\\n", "> PSYNC ? -1"),
            (
                &format!("< +FULLRESYNC {X} 100\r\n$2"),
                &format!("begin {load} sized 2 at 100"),
            ),
            ("<< xx", "load xx, end load"),
        ]);
    };
    talk.step("replicaof m 6379");
    begin(&mut talk, 1);
    assert_eq!(talk.step("replicaof n 1"), "close, abort load, connect n:1");
    begin(&mut talk, 2);
    talk.play(&[("loaded 1", ""), ("loadfailed 1", "")]);
    assert!(talk.step("loaded 2").contains("swap to 100"));
}

#[test]
fn a_dataset_given_up_early_is_not_continued() {
    let mut talk = Talk::streaming();
    talk.play(&[
        ("wait 1000", "> REPLCONF ACK 100"),
        ("closed", "connect m:6379"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {X} 101")),
        (
            &format!("< +FULLRESYNC {Y} 1\r\n$2"),
            "begin 2 sized 2 at 1",
        ),
        ("dropped", "discard sub-replicas"),
        ("dropped", ""),
        ("wait 1000", "> LF"),
        ("closed", "abort load, connect m:6379"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", "> PSYNC ? -1"),
    ]);
    assert_eq!(talk.link.applied_offset(), 1);
}

#[test]
fn a_broken_stream_is_dropped_and_everything_fetched_again() {
    let mut talk = Talk::streaming();
    talk.play(&[
        ("wait 1000", "> REPLCONF ACK 100"),
        ("broken inline command", "close, connect m:6379"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", "> PSYNC ? -1"),
    ]);
}

#[test]
fn acks_go_out_each_second_and_when_asked_and_tell_what_the_aof_has() {
    let mut talk = Talk::streaming();
    talk.play(&[
        ("wait 999", ""),
        ("wait 1", "> REPLCONF ACK 100"),
        ("applied 120", ""),
        ("getack", "> REPLCONF ACK 120"),
        ("wait 999", ""),
        ("wait 1", "> REPLCONF ACK 120"),
    ]);
    talk.link.set_synced(Some(Offset(110)));
    talk.play(&[("getack", "> REPLCONF ACK 120 FACK 110")]);
}

#[test]
fn a_silent_master_is_left_and_an_excused_silence_is_not_held_against_it() {
    let mut talk = Talk::streaming();
    assert_eq!(talk.step("wait 59000"), "> REPLCONF ACK 100");
    talk.link.excuse_silence(talk.now);
    assert_eq!(talk.step("wait 59000"), "> REPLCONF ACK 100");
    assert_eq!(talk.step("wait 1000"), "close, connect m:6379");
    for silent_after in ["", "connected", "< +PONG"] {
        let mut talk = Talk::new();
        talk.step("replicaof m 6379");
        if !silent_after.is_empty() {
            talk.step("connected");
            talk.step(silent_after);
        }
        assert_eq!(talk.step("wait 59999"), "");
        assert_eq!(talk.step("wait 1"), "close, connect m:6379");
    }
}

#[test]
fn a_failover_is_asked_for_once_and_its_answer_told() {
    for (answer, accepted, more) in [
        (
            format!("+CONTINUE {Y}"),
            "failover accepted true",
            ", discard",
        ),
        (
            "-ERR PSYNC FAILOVER replid must match".into(),
            "failover accepted false",
            ", close",
        ),
    ] {
        let mut talk = Talk::new();
        talk.play(&[
            (
                &format!("replicaof m 6379 {X} 50 failover"),
                "connect m:6379",
            ),
            ("connectfailed refused", ""),
            ("wait 100", "connect m:6379"),
            ("connected", "> PING"),
            ("< +PONG", GREETING),
            ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {X} 51 FAILOVER")),
        ]);
        let told = talk.step(&format!("< {answer}"));
        assert!(told.starts_with(&format!("{accepted}{more}")), "{told}");
    }
}

#[test]
fn what_info_tells_follows_the_link() {
    let mut talk = Talk::new();
    assert_eq!(talk.link.down_since_seconds(talk.now), -1);
    assert_eq!(talk.link.last_io_seconds_ago(talk.now), -1);
    assert_eq!(talk.link.applied_offset(), 1);
    talk = Talk::streaming();
    talk.now += Duration::from_secs(3);
    assert_eq!(talk.link.last_io_seconds_ago(talk.now), 3);
    assert_eq!(talk.link.up_since_seconds(talk.now), Some(3));
    assert_eq!(talk.link.attempts(), (0, 1));
    talk.step("closed");
    talk.now += Duration::from_secs(5);
    assert_eq!(talk.link.down_since_seconds(talk.now), 5);
    assert_eq!(talk.link.attempts(), (1, 2));
    talk.play(&[
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", &format!("> PSYNC {X} 101")),
        (&format!("< +FULLRESYNC {X} 200"), ""),
    ]);
    assert!(talk.link.is_syncing());
    assert_eq!(talk.link.role_state(), "sync");
    talk.step("<< $40\\r\\n0123456789");
    let progress = talk.link.sync_progress(talk.now).unwrap();
    assert_eq!((progress.total_bytes, progress.read_bytes), (40, 10));
    assert_eq!(progress.left_bytes(), 30);
    assert_eq!(progress.percent(), 25.0);
}

#[test]
fn a_stream_pushed_while_nothing_is_read_is_not_piled_up() {
    let mut talk = Talk::new();
    talk.play(&[
        ("replicaof m 6379", "connect m:6379"),
        ("connected", "> PING"),
        ("< +PONG", GREETING),
        ("<< +OK\\r\\n+OK\\r\\n", "> PSYNC ? -1"),
        (
            &format!("< +FULLRESYNC {X} 100\r\n$1"),
            "begin 1 sized 1 at 100",
        ),
        ("<< x", "load x, end load"),
    ]);
    let lot = "y".repeat(1024 * 1024);
    assert_eq!(talk.step(&format!("<< {lot}")), "");
    assert_eq!(talk.step("<< y"), "close, abort load");
    assert_eq!(
        talk.link.last_failure().unwrap(),
        "too much stream behind the snapshot at once"
    );
}

/// Bytes that begin like a conversation and then go wrong in random ways: nothing may panic, and what is held stays small.
#[test]
fn hostile_bytes_never_panic_and_are_not_piled_up() {
    let good = [
        "+PONG\r\n",
        "+OK\r\n+OK\r\n",
        "+OK\r\n",
        "-ERR x\r\n",
        "+CONTINUE\r\n",
        "$5\r\nhello",
        "$EOF:",
        "\n",
        "*1\r\n$4\r\nPING\r\n",
        "$99999999999999999\r\n",
        "-LOADING\r\n",
    ];
    for seed in 0..300 {
        let mut random = Random::from_seed(seed);
        let mut talk = Talk::new();
        let mut actions = Vec::new();
        talk.step(&format!("replicaof m 6379 {X} 10"));
        for _ in 0..200 {
            talk.now += Duration::from_millis(random.below(700));
            let event = match random.below(20) {
                0 => Event::Closed,
                1 | 2 => Event::Connected,
                3 => Event::Deadline,
                4 => Event::Loaded {
                    load: LoadId(random.below(10)),
                    stream_db: None,
                },
                5 => Event::LoadFailed {
                    load: LoadId(random.below(10)),
                    reason: "no".into(),
                },
                6 => Event::Bytes(Bytes::from(format!(
                    "+FULLRESYNC {X} {}\r\n",
                    random.next_u64() >> random.below(64)
                ))),
                7 => Event::Bytes(Bytes::from(format!(
                    "$EOF:{Y}\r\n{}",
                    &Y[..random.below(41) as usize]
                ))),
                8 => Event::Bytes(Bytes::from(format!("+CONTINUE {Y}\r\n"))),
                9 => Event::DatasetDropped,
                10 => Event::AckRequested,
                11 => {
                    let length = random.below(2000) as usize;
                    Event::Bytes((0..length).map(|_| random.next_u64() as u8).collect())
                }
                _ => Event::Bytes(Bytes::from(good[random.below(good.len() as u64) as usize])),
            };
            talk.link.handle(event, talk.now, &mut actions);
            if let Some(deadline) = talk.link.deadline() {
                assert!(
                    deadline <= talk.now + Duration::from_secs(60),
                    "seed {seed}"
                );
            }
            let _ = (talk.link.sync_progress(talk.now), talk.link.read_offset());
            actions.clear();
        }
    }
}
