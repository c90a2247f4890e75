//! The one list of differences that are meant: `known_differences.txt`, read by every test here.
//!
//! A line is `what | ours | theirs | reason`. `what` is a typed command, or `CONFIG GET name`, `INFO field`,
//! `COMMAND INFO name`, `STREAM command`; `...` stands for any text in the first three columns.

use std::sync::OnceLock;

use crate::support::transcript::fits;

struct Difference {
    what: String,
    ours: String,
    theirs: String,
}

/// Whether this difference is on the list.
pub fn is_known(what: &str, ours: &str, theirs: &str) -> bool {
    list().iter().any(|known| {
        fits(&known.what, what) && fits(&known.ours, ours) && fits(&known.theirs, theirs)
    })
}

fn list() -> &'static [Difference] {
    static LIST: OnceLock<Vec<Difference>> = OnceLock::new();
    LIST.get_or_init(|| {
        let text = include_str!("known_differences.txt");
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let columns: Vec<&str> = line.split(" | ").map(str::trim).collect();
                let [what, ours, theirs, reason] = columns[..] else {
                    panic!("known_differences.txt: expected four columns, found {line:?}");
                };
                assert!(reason.len() > 10, "a difference needs its reason: {line:?}");
                Difference {
                    what: what.to_string(),
                    ours: ours.to_string(),
                    theirs: theirs.to_string(),
                }
            })
            .collect()
    })
}
