//! `sluice digest`: do these nodes hold the same data?
//!
//! Two datasets are comparable at one offset of one history, so the nodes are first given time to meet: none loads, each
//! replica's link is up, and all that follow the same replication id stand at the same offset. Then all compute their
//! digests at once. If those differ and a node has moved meanwhile, they are asked again while there is time.

use std::io::{self, IsTerminal, Write, stderr};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use sluice::clock::Clock;

use crate::peer::{ANSWER_WAIT, Credentials, Peer, Trouble};

/// How long to wait for what.
#[derive(Clone, Copy)]
pub struct Patience {
    /// Until the nodes stand at one offset.
    pub meet: Duration,
    /// Until a node has computed its digest.
    pub digest: Duration,
}

pub struct Comparison {
    pub rows: Vec<Row>,
    pub verdict: Verdict,
}

/// What is known of one node.
pub struct Row {
    pub name: String,
    pub place: Place,
    pub found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Equal,
    Different,
    /// The offsets never met, so digests that differ say nothing about who is right.
    Apart,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub role: Role,
    pub history: String,
    pub offset: i64,
    /// It loads a file or a snapshot, or its link to the master is down.
    pub unsettled: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Master,
    Replica,
}

/// What a node has found in its dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub digest: String,
    /// Keys of all databases, as the digest covers them all.
    pub keys: u64,
    pub time: Duration,
}

pub fn connect(names: &[String], credentials: &Credentials) -> Result<Vec<Peer>, String> {
    let connected = names.iter().map(|name| {
        Peer::connect(name, credentials).map_err(|trouble| format!("{name}: {trouble}"))
    });
    connected.collect()
}

pub fn compare(peers: &mut [Peer], patience: Patience) -> Result<Comparison, String> {
    let clock = Clock::system();
    let spinner = spinner();
    loop {
        let places = meet(peers, &clock, patience.meet, &spinner)?;
        let equal_offsets = apart(&places).is_none();
        let found = digests(peers, patience.digest, &spinner)?;
        let equal = found.iter().all(|one| one.digest == found[0].digest);
        let time_left = clock.monotonic() < patience.meet;
        if !equal && equal_offsets && time_left && self::places(peers)? != places {
            continue;
        }
        spinner.finish_and_clear();
        let verdict = match (equal_offsets, equal) {
            (false, _) => Verdict::Apart,
            (true, true) => Verdict::Equal,
            (true, false) => Verdict::Different,
        };
        let rows = peers.iter().zip(places).zip(found);
        let rows = rows.map(|((peer, place), found)| Row {
            name: peer.name().to_string(),
            place,
            found,
        });
        return Ok(Comparison {
            rows: rows.collect(),
            verdict,
        });
    }
}

pub fn report(comparison: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    let titles = ["node", "role", "replid", "offset", "keys", "digest", "time"];
    let mut lines = vec![titles.map(str::to_string)];
    for row in &comparison.rows {
        let Row { place, found, .. } = row;
        let role = match place.role {
            Role::Master => "master",
            Role::Replica => "replica",
        };
        lines.push([
            row.name.clone(),
            role.to_string(),
            place.history.chars().take(HISTORY_SHOWN).collect(),
            place.offset.to_string(),
            found.keys.to_string(),
            found.digest.clone(),
            humantime::format_duration(Duration::from_millis(found.time.as_millis() as u64))
                .to_string(),
        ]);
    }
    write_table(&lines, out)?;
    for row in &comparison.rows {
        if let Some(why) = row.place.unsettled {
            writeln!(out, "{}: {why}", row.name)?;
        }
    }
    let nodes = comparison.rows.len();
    match comparison.verdict {
        Verdict::Equal if nodes == 1 => Ok(()),
        Verdict::Equal => writeln!(out, "EQUAL: all {nodes} nodes hold the same data."),
        Verdict::Different => writeln!(out, "DIFFERENT: these nodes do not hold the same data."),
        Verdict::Apart => writeln!(
            out,
            "APART: the nodes did not reach one offset; end the writes, or wait longer with --wait."
        ),
    }
}

/// Letters of a replication id that tell it from others.
const HISTORY_SHOWN: usize = 8;

/// Columns as wide as their widest entry; numbers and times to the right.
fn write_table(lines: &[[String; 7]], out: &mut dyn Write) -> io::Result<()> {
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max();
    let widths: Vec<usize> = (0..7).map(|column| width(column).unwrap_or(0)).collect();
    for line in lines {
        let mut text = String::new();
        for (column, (entry, &width)) in line.iter().zip(&widths).enumerate() {
            text += &match column {
                3 | 4 | 6 => format!("{entry:>width$}  "),
                _ => format!("{entry:<width$}  "),
            };
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// Waits until the nodes have met, or the time is over; where they stand then.
fn meet(
    peers: &mut [Peer],
    clock: &Clock,
    until: Duration,
    spinner: &ProgressBar,
) -> Result<Vec<Place>, String> {
    loop {
        let places = places(peers)?;
        let reason = places
            .iter()
            .zip(peers.iter())
            .find_map(|(place, peer)| Some(format!("{}: {}", peer.name(), place.unsettled?)))
            .or_else(|| apart(&places));
        let Some(reason) = reason else {
            return Ok(places);
        };
        if clock.monotonic() >= until {
            return Ok(places);
        }
        spinner.set_message(format!("waiting: {reason}"));
        spinner.tick();
        thread::sleep(POLL_INTERVAL);
    }
}

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How far those of one history are from each other; nothing if they are not.
fn apart(places: &[Place]) -> Option<String> {
    places.iter().find_map(|place| {
        let same_history = places.iter().filter(|one| one.history == place.history);
        let ahead = same_history.map(|one| one.offset - place.offset).max()?;
        (ahead > 0).then(|| format!("a node is {ahead} bytes behind"))
    })
}

fn places(peers: &mut [Peer]) -> Result<Vec<Place>, String> {
    let places = peers.iter_mut().map(|peer| {
        let persistence = peer.ask_text(&["INFO", "persistence"], ANSWER_WAIT);
        let replication = peer.ask_text(&["INFO", "replication"], ANSWER_WAIT);
        persistence
            .and_then(|persistence| place(&persistence, &replication?))
            .map_err(|trouble| format!("{}: {trouble}", peer.name()))
    });
    places.collect()
}

/// Reads the place from two sections of INFO.
fn place(persistence: &str, replication: &str) -> Result<Place, Trouble> {
    let field = |name| {
        info_field(replication, name).ok_or_else(|| Trouble::Unexpected {
            request: format!("INFO replication ({name})"),
        })
    };
    let offset = field("master_repl_offset")?;
    let role = match field("role")? {
        "master" => Role::Master,
        _ => Role::Replica,
    };
    let unsettled = if info_field(persistence, "loading") == Some("1") {
        Some("it is loading its dataset")
    } else if info_field(replication, "master_sync_in_progress") == Some("1") {
        Some("it is receiving a snapshot from its master")
    } else if info_field(replication, "master_link_status") == Some("down") {
        Some("its link to the master is down")
    } else {
        None
    };
    Ok(Place {
        role,
        history: field("master_replid")?.to_string(),
        offset: offset.parse().map_err(|_| Trouble::Unexpected {
            request: "INFO replication (master_repl_offset)".to_string(),
        })?,
        unsettled,
    })
}

fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Lets all nodes compute at the same time; the first trouble wins.
fn digests(
    peers: &mut [Peer],
    wait: Duration,
    spinner: &ProgressBar,
) -> Result<Vec<Found>, String> {
    thread::scope(|scope| {
        let asked: Vec<_> = peers
            .iter_mut()
            .map(|peer| scope.spawn(move || found(peer, wait)))
            .collect();
        let mut waiting = usize::MAX;
        while waiting > 0 {
            waiting = asked.iter().filter(|one| !one.is_finished()).count();
            spinner.set_message(format!("{waiting} of {} nodes compute", asked.len()));
            spinner.tick();
            thread::sleep(POLL_INTERVAL.min(wait));
        }
        let answers = asked.into_iter().map(|one| match one.join() {
            Ok(answer) => answer,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        answers.collect()
    })
}

fn found(peer: &mut Peer, wait: Duration) -> Result<Found, String> {
    let mut ask = || {
        let clock = Clock::system();
        let digest = peer.ask_text(&["DEBUG", "DIGEST"], wait)?;
        let time = clock.monotonic();
        let keys = keys(&peer.ask_text(&["INFO", "keyspace"], ANSWER_WAIT)?);
        Ok(Found { digest, keys, time })
    };
    ask().map_err(|trouble: Trouble| format!("{}: {trouble}", peer.name()))
}

/// All keys, from lines such as `db0:keys=3,expires=0,avg_ttl=0`.
fn keys(keyspace: &str) -> u64 {
    let of_databases = keyspace.lines().filter_map(|line| {
        let (_, fields) = line.strip_prefix("db")?.split_once(":keys=")?;
        fields.split(',').next()?.parse::<u64>().ok()
    });
    of_databases.sum()
}

/// Drawn on standard error, if somebody is there to look at it.
fn spinner() -> ProgressBar {
    let target = match stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let spinner = ProgressBar::with_draw_target(None, target);
    match ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        Ok(style) => spinner.with_style(style),
        Err(_) => spinner,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Comparison, Found, Place, Role, Row, Verdict, apart, keys, place, report};

    fn at(history: &str, offset: i64) -> Place {
        Place {
            role: Role::Master,
            history: history.to_string(),
            offset,
            unsettled: None,
        }
    }

    #[test]
    fn only_nodes_of_one_history_can_be_apart() {
        assert_eq!(apart(&[at("a", 5), at("a", 5), at("b", 9)]), None);
        let behind = apart(&[at("a", 5), at("b", 9), at("a", 2)]);
        assert_eq!(behind.as_deref(), Some("a node is 3 bytes behind"));
    }

    #[test]
    fn the_place_is_read_from_info() {
        let replication = "# Replication\r\nrole:slave\r\nmaster_link_status:up\r\n\
            master_sync_in_progress:0\r\nmaster_replid:abc\r\nmaster_replid2:000\r\n\
            master_repl_offset:42\r\n";
        let found = place("# Persistence\r\nloading:0\r\n", replication).expect("complete");
        assert_eq!(
            (found.role, found.offset, found.unsettled),
            (Role::Replica, 42, None)
        );
        assert_eq!(found.history, "abc");
        let unsettled = |persistence, replication: &str| {
            place(persistence, replication).expect("complete").unsettled
        };
        assert!(unsettled("loading:1\r\n", replication).is_some());
        let down = replication.replace("status:up", "status:down");
        assert_eq!(
            unsettled("loading:0\r\n", &down),
            Some("its link to the master is down")
        );
        assert!(place("", "role:master\r\n").is_err());
    }

    #[test]
    fn keys_of_all_databases_are_summed() {
        let info = "# Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\ndb12:keys=40,expires=1\r\n";
        assert_eq!(keys(info), 43);
        assert_eq!(keys("# Keyspace\r\n"), 0);
    }

    #[test]
    fn the_table_is_aligned() {
        let row = |name: &str, offset, keys| Row {
            name: name.to_string(),
            place: at("0123456789", offset),
            found: Found {
                digest: "d1".to_string(),
                keys,
                time: Duration::from_micros(1_020_300),
            },
        };
        let comparison = Comparison {
            rows: vec![row("a:1", 7, 1000), row("host:6379", 7, 2)],
            verdict: Verdict::Equal,
        };
        let mut out = Vec::new();
        report(&comparison, &mut out).expect("a Vec takes it");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "node       role    replid    offset  keys  digest     time\n\
             a:1        master  01234567       7  1000  d1      1s 20ms\n\
             host:6379  master  01234567       7     2  d1      1s 20ms\n\
             EQUAL: all 2 nodes hold the same data.\n"
        );
    }
}
