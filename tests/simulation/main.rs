//! Replication under faults: real engines on a network in memory, driven by a virtual clock, one seed a run.
//!
//! `cargo test --test simulation` lives through thousands of seeds. A failing one is told with all that its nodes did;
//! `SEED=123` lives through that one again, `SEEDS=100000` through more, `SOAK=minutes` for so long, from a seed of the clock.
//! In reading order: `world` (what befalls the nodes), `oracle` (what must hold all the same), `node`, `network`, `time`; `follow`,
//! `serve` and `full_sync` do what the tasks of the same names do. Single conversations are told in `transcripts/`, and played by
//! `transcript`.

mod clients;
mod follow;
mod full_sync;
mod network;
mod node;
mod oracle;
mod serve;
mod time;
mod trace;
mod transcript;
mod world;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use node::Sabotage;
use world::Options;

/// Seeds of an ordinary test run.
const SEEDS: u64 = 4000;
const ORDERLY_SEEDS: u64 = 100;

/// So that a seed is the same run in every process.
const HASH_SEED: u64 = 7;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

/// Lives through `seed` again and tells what happened.
fn tell(seed: u64, failure: &str) -> String {
    trace::begin();
    let again = world::run(seed, Sabotage::None, |_| {});
    let story: Vec<String> = trace::end().iter().map(|line| line.to_string()).collect();
    let again = match again {
        Ok(_) => "nothing, the second time".into(),
        Err(failure) => failure,
    };
    format!(
        "{}\n\nSEED={seed} fails: {failure}\n(told above: {again})",
        story.join("\n")
    )
}

/// Lives through seeds until one fails or `more` says so; returns how many, and the failure.
fn live(more: impl Fn(u64) -> Option<u64> + Sync) -> (u64, Option<(u64, String)>) {
    let next = AtomicU64::new(0);
    let failure: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let totals = Mutex::new((0, 0, 0, Duration::ZERO));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failure.lock().unwrap().is_none()
                    && let Some(seed) = more(next.fetch_add(1, Ordering::Relaxed))
                {
                    match world::run(seed, Sabotage::None, |_| {}) {
                        Ok(summary) => {
                            let mut totals = totals.lock().unwrap();
                            totals.0 += summary.full_syncs;
                            totals.1 += summary.partial_syncs;
                            totals.2 += summary.agreements;
                            totals.3 += summary.virtual_time;
                        }
                        Err(text) => {
                            let mut failure = failure.lock().unwrap();
                            if failure.as_ref().is_none_or(|(other, _)| seed < *other) {
                                *failure = Some((seed, text));
                            }
                        }
                    }
                }
            });
        }
    });
    let (full, partial, agreements, time) = totals.into_inner().unwrap();
    let lived = next.into_inner();
    eprintln!(
        "{lived} seeds: {full} full and {partial} partial syncs, {agreements} times the same dataset on two nodes, {} hours",
        time.as_secs() / 3600
    );
    (lived, failure.into_inner().unwrap())
}

#[test]
fn nodes_agree_after_any_trouble() {
    sluice::random::fix_hash_seed(HASH_SEED);
    if let Some(seed) = number("SEED") {
        trace::begin();
        let outcome = world::run(seed, Sabotage::None, |_| {});
        for line in trace::end() {
            eprintln!("{line}");
        }
        match outcome {
            Ok(_) => return,
            Err(failure) => panic!("SEED={seed} fails: {failure}"),
        }
    }
    let began = Instant::now();
    let failure = match number("SOAK") {
        Some(minutes) => {
            let first = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as u64);
            let until = began + Duration::from_secs(60 * minutes);
            live(|index| (Instant::now() < until).then_some(first + index)).1
        }
        None => {
            let count = number("SEEDS").unwrap_or(SEEDS);
            live(|index| (index < count).then_some(index)).1
        }
    };
    if let Some((seed, failure)) = failure {
        panic!("{}", tell(seed, &failure));
    }
}

/// As Redis's own test of PSYNC2 has it: each node is synced once, and continues ever after.
#[test]
fn nodes_that_change_places_are_synced_once() {
    sluice::random::fix_hash_seed(HASH_SEED);
    if let Some(seed) = number("ORDERLY_SEED") {
        trace::begin();
        let outcome = world::run_orderly(seed);
        for line in trace::end() {
            eprintln!("{line}");
        }
        assert!(outcome.is_ok(), "{outcome:?}");
        return;
    }
    for seed in 0..ORDERLY_SEEDS {
        if let Err(failure) = world::run_orderly(seed) {
            panic!("ORDERLY_SEED={seed} fails: {failure}");
        }
    }
}

/// The checks are worth something only if they see what is wrong.
#[test]
fn broken_rules_are_seen() {
    let rules = [
        Sabotage::DropByte,
        Sabotage::Repeat,
        Sabotage::AssumeAck,
        Sabotage::LieInAck,
        Sabotage::HalfSnapshot,
        Sabotage::ExpireOnReplica,
        Sabotage::ForgetExpiry,
        Sabotage::SkipAckGate,
    ];
    sluice::random::fix_hash_seed(HASH_SEED);
    for rule in rules {
        let calm = |options: &mut Options| {
            options.crash = 0;
            options.power_failure = 0;
        };
        let seen = (0..100).find(|seed| world::run(*seed, rule, calm).is_err());
        assert!(seen.is_some(), "{rule:?} goes unseen");
        eprintln!("{rule:?} is seen with seed {}", seen.unwrap_or_default());
    }
}

/// Conversations that are told step by step; `UPDATE=1` tells them anew.
#[test]
fn conversations_go_as_told() {
    sluice::random::fix_hash_seed(HASH_SEED);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/transcripts");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    paths.sort();
    let update = std::env::var_os("UPDATE").is_some();
    let played = paths.iter().map(|path| transcript::play(path, update));
    let different: Vec<String> = played.filter_map(Result::err).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}
