//! Random command sequences from a seed. A failure prints the seed and the shortest list of steps that still fails,
//! in the notation of the behavior tests, ready to become one of them.

use crate::grammar::{Grammar, Step, TEMPLATES, TRANSACTION_TEMPLATES, names};
use crate::pair::Pair;
use crate::shrink::shrink;
use crate::support::dice::Dice;
use crate::support::server;
use crate::support::value::{Value, typed};

/// Steps in one sequence; each begins with empty databases.
const STEPS: usize = 400;

#[test]
fn random_commands_are_answered_alike() {
    run_seeds(1, sequences(40), &[]);
}

#[test]
fn random_commands_are_answered_alike_when_collections_leave_their_compact_form_early() {
    let limits = [
        ("list-max-listpack-size", "4"),
        ("set-max-intset-entries", "4"),
        ("hash-max-listpack-entries", "4"),
        ("hash-max-listpack-value", "8"),
        ("zset-max-listpack-entries", "4"),
        ("zset-max-listpack-value", "8"),
    ];
    run_seeds(1_000_001, sequences(25), &limits);
}

#[test]
fn random_commands_are_answered_alike_under_lfu() {
    run_seeds(
        2_000_001,
        sequences(8),
        &[("maxmemory-policy", "allkeys-lfu")],
    );
}

#[test]
fn random_commands_meet_expired_keys_alike() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    pair.expire_on_access_only();
    // The keys that RANDOMKEY finds expired are chance.
    let grammar = grammar(&pair)
        .without(&["RANDOMKEY"])
        .with(&["!LAPSE <k>"; 20]);
    run_seeds_with(&mut pair, &grammar, 3_000_001, sequences(10));
}

#[test]
fn random_transactions_are_answered_alike() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    pair.expire_on_access_only();
    let grammar = Grammar::of(TRANSACTION_TEMPLATES);
    run_seeds_with(&mut pair, &grammar, 4_000_001, sequences(15));
}

/// A change of one reply is found and cut down to the one command that shows it.
#[test]
fn a_planted_difference_is_found_and_shrunk() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    let grammar = grammar(&pair);
    let mut dice = Dice::new(7);
    let mut steps: Vec<Step> = (0..100).map(|_| grammar.step(&mut dice)).collect();
    // The reference has one key more, which only this command can see.
    let planted = Step {
        connection: 0,
        words: vec![b"!PLANT".to_vec()],
    };
    steps.insert(50, planted.clone());
    let mut run = |steps: &[Step]| -> bool {
        pair.begin_anew();
        steps.iter().any(|step| {
            if *step == planted {
                pair.theirs.must("SET s1 planted");
                return pair.compare_data().is_err();
            }
            pair.step(step).is_err()
        })
    };
    assert!(run(&steps), "the planted difference should be seen");
    assert_eq!(shrink(&steps, 500, run), [planted]);
}

/// How many sequences: the default, or `SLUICE_SEQUENCES`.
fn sequences(otherwise: u64) -> u64 {
    Dice::seed_from("SLUICE_SEQUENCES", otherwise)
}

/// The grammar of all commands that ours knows; panics where one in scope is missing.
pub fn grammar(pair: &Pair) -> Grammar {
    let mut client = pair.ours.client();
    for name in TEMPLATES.iter().flat_map(|template| names(template)) {
        if !name.starts_with('!') {
            let info = client.command(&["COMMAND", "INFO", name]);
            let is_known = info.items().first().is_some_and(|entry| !entry.is_nil());
            assert!(is_known, "{name} should be there: COMMAND INFO says {info}");
        }
    }
    Grammar::new(|_| true)
}

fn run_seeds(first: u64, count: u64, settings: &[(&str, &str)]) {
    let Some(mut pair) = Pair::start_with(settings) else {
        return;
    };
    let grammar = grammar(&pair);
    run_seeds_with(&mut pair, &grammar, first, count);
}

fn run_seeds_with(pair: &mut Pair, grammar: &Grammar, first: u64, count: u64) {
    let (first, count) = match std::env::var("SLUICE_SEED") {
        Ok(_) => (Dice::seed_from("SLUICE_SEED", first), 1),
        Err(_) => (first, count),
    };
    for seed in first..first + count {
        let mut dice = Dice::new(seed);
        let mut steps = Vec::new();
        while steps.len() < STEPS {
            steps.push(grammar.step(&mut dice));
            if steps.len() % 50 == 0 {
                steps.push(digest());
            }
        }
        if let Err((number, difference)) = pair.run(&steps) {
            let until = &steps[..(number + 1).min(steps.len())];
            let shortest = shrink(until, 600, |steps| pair.run(steps).is_err());
            let last = pair.run(&shortest);
            panic!(
                "SLUICE_SEED={seed}, step {number}: {difference}\n\nshortest:\n{}\n{}\n",
                written(&shortest),
                match last {
                    Err((_, difference)) => difference,
                    Ok(()) => "(passes when run again: it depends on time or chance)".to_string(),
                }
            );
        }
        // Servers that live on across seeds show what a leftover does to the next one.
        assert_eq!(pair.ours.must("PING"), Value::Simple("PONG".into()));
    }
}

fn digest() -> Step {
    Step {
        connection: 0,
        words: vec![b"!DIGEST".to_vec()],
    }
}

fn written(steps: &[Step]) -> String {
    let lines = steps.iter().map(|step| {
        let connection = if step.connection == 0 { "" } else { "b" };
        format!("        {connection}> {}", typed(&step.words))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_agrees_with_itself() {
    let (Some(one), Some(other)) = (server::redis(), server::redis()) else {
        return;
    };
    let mut pair = Pair::of(one.start(), other.start());
    let grammar = Grammar::new(|_| true);
    let mut dice = Dice::new(99);
    let steps: Vec<Step> = (0..2000).map(|_| grammar.step(&mut dice)).collect();
    if let Err((number, difference)) = pair.run(&steps) {
        panic!("these tests are wrong at step {number}: {difference}");
    }
}
