//! Every command with every wrong number of words, on keys of every type, with every edge in every place.

use crate::grammar::{self, Step, TEMPLATES};
use crate::pair::Pair;
use crate::random_commands::grammar;
use crate::support::dice::Dice;
use crate::support::value::words;

/// One key of each kind, small and past the compact form.
const KEYS: [&str; 11] = [
    "text", "number", "list", "biglist", "ints", "set", "bigset", "hash", "bighash", "zset",
    "nokey",
];

fn fill(pair: &mut Pair) {
    let mut long: Vec<String> = [
        "RPUSH biglist",
        "SADD bigset",
        "HSET bighash",
        "ZADD bigzset",
    ]
    .map(str::to_string)
    .to_vec();
    for number in 0..200 {
        long[0].push_str(&format!(" element{number}"));
        long[1].push_str(&format!(" member{number}"));
        long[2].push_str(&format!(" field{number} {number}"));
        long[3].push_str(&format!(" {number} member{number}"));
    }
    let short = [
        "SET text hello",
        "SET number 42",
        "RPUSH list a b c 1 2 3",
        "SADD ints 1 2 3 -3",
        "SADD set a b 1",
        "HSET hash a 1 b 2.5 c x",
        "ZADD zset 1 a 2 b 2 c -inf d",
    ];
    for line in short.into_iter().chain(long.iter().map(String::as_str)) {
        must_agree(pair, words(line));
    }
}

#[track_caller]
fn must_agree(pair: &mut Pair, words: Vec<Vec<u8>>) {
    let step = Step {
        connection: 0,
        words,
    };
    if let Err(difference) = pair.step(&step) {
        panic!("{difference}");
    }
}

fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = TEMPLATES
        .iter()
        .flat_map(|template| grammar::names(template))
        .filter(|name| !name.starts_with('!') && !is_about_the_connection(name))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn is_about_the_connection(name: &str) -> bool {
    [
        "MULTI", "EXEC", "DISCARD", "RESET", "HELLO", "SELECT", "SWAPDB",
    ]
    .contains(&name)
}

/// Collects what differs, so that one run shows all.
struct Findings(Vec<String>);

impl Findings {
    fn try_step(&mut self, pair: &mut Pair, words: Vec<Vec<u8>>) {
        let step = Step {
            connection: 0,
            words,
        };
        if let Err(difference) = pair.step(&step) {
            self.0.push(difference);
        }
    }

    fn check(self) {
        assert!(
            self.0.is_empty(),
            "{} differences:\n{}",
            self.0.len(),
            self.0[..self.0.len().min(60)].join("\n")
        );
    }
}

#[test]
fn wrong_numbers_of_words_are_answered_alike() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    let mut findings = Findings(Vec::new());
    pair.begin_anew();
    fill(&mut pair);
    for name in names() {
        for count in 0..7 {
            for rest in ["x", "1", ""] {
                let mut command = vec![name.as_bytes().to_vec()];
                if count > 0 {
                    command.push(b"nokey".to_vec());
                    command.extend((1..count).map(|_| rest.as_bytes().to_vec()));
                }
                if !comes_soon(&command) {
                    findings.try_step(&mut pair, command);
                }
            }
        }
    }
    findings.check();
}

#[test]
fn every_command_meets_every_type_alike() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    let mut findings = Findings(Vec::new());
    let mut grammar = grammar(&pair);
    for (seed, key) in KEYS.into_iter().enumerate() {
        pair.begin_anew();
        fill(&mut pair);
        grammar.key = Some(key);
        let mut dice = Dice::new(seed as u64);
        for template in TEMPLATES {
            if grammar::names(template).any(is_about_the_connection) {
                continue;
            }
            for _ in 0..3 {
                let words = grammar.words(template, &mut dice);
                findings.try_step(&mut pair, words);
            }
        }
        if let Err(difference) = pair.compare_data() {
            findings.0.push(difference);
        }
    }
    findings.check();
}

#[test]
fn every_edge_in_every_place_is_answered_alike() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    let edges = [
        "",
        "0",
        "-1",
        "x",
        "1.5",
        "nan",
        "inf",
        "-0",
        "+1",
        " 1",
        "0x10",
        "1e400",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "(1",
        "[a",
        "NX",
        "LIMIT",
    ];
    let mut findings = Findings(Vec::new());
    let mut grammar = grammar(&pair);
    for (kind, key) in [
        ("s", "number"),
        ("l", "list"),
        ("t", "set"),
        ("h", "hash"),
        ("z", "zset"),
    ] {
        pair.begin_anew();
        fill(&mut pair);
        grammar.key = Some(key);
        let mut dice = Dice::new(5);
        let own = format!("<{kind}>");
        for template in TEMPLATES {
            if !template.contains(&own) && !template.contains("<k>") || template.starts_with('!') {
                continue;
            }
            let plain = grammar.words(template, &mut dice);
            for place in 1..plain.len().min(8) {
                for edge in edges {
                    let mut bent = plain.clone();
                    bent[place] = edge.as_bytes().to_vec();
                    if !comes_soon(&bent) {
                        findings.try_step(&mut pair, bent);
                    }
                }
            }
        }
        if let Err(difference) = pair.compare_data() {
            findings.0.push(difference);
        }
    }
    findings.check();
}

/// A lifetime that ends within the run would make the two differ by chance.
fn comes_soon(words: &[Vec<u8>]) -> bool {
    words
        .iter()
        .skip(1)
        .any(|word| ["1", "+1", " 1"].iter().any(|soon| word == soon.as_bytes()))
        && words[0]
            .to_ascii_uppercase()
            .windows(2)
            .any(|pair| pair == b"EX")
}
