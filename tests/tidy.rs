//! The architecture, checked: who may name whom, and where the outside world may be touched.
//!
//! The order of the rooms is read from src/lib.rs. Comments and strings are not code: they may name what they like,
//! except the words that belong into no source.

use std::fmt::Write;
use std::fs;
use std::path::Path;

#[test]
fn every_file_names_only_what_it_may() {
    let files = sources();
    assert!(files.len() > 10, "the sources should be found");
    let complaints = complaints(&files);
    assert!(complaints.is_empty(), "{complaints}");
}

struct Source {
    /// Below src, as `types/list/commands.rs`.
    path: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).expect("below src");
                files.push(Source {
                    path: below.to_string_lossy().into_owned(),
                    text: fs::read_to_string(&path).expect("a source is UTF-8"),
                });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

/// One line per broken rule: `path:line: what is wrong`.
fn complaints(files: &[Source]) -> String {
    let rooms = rooms_in_order(files);
    let mut found = String::new();
    for file in files {
        let code = code_of(&file.text);
        let mut complain = |line: usize, what: &str| {
            writeln!(found, "src/{}:{}: {what}", file.path, line + 1).expect("a String takes it");
        };
        let lines_max = if file.path.ends_with("tests.rs") {
            TEST_LINES_MAX
        } else {
            LINES_MAX
        };
        if file.text.lines().count() > lines_max {
            complain(LINES_MAX, "over 700 lines: find the second idea and split");
        }
        for (number, line) in file.text.lines().enumerate() {
            for word in BANNED_WORDS {
                if line.contains(word) {
                    complain(number, &format!("the word {word:?} belongs into no source"));
                }
            }
        }
        let tests_start = code
            .iter()
            .position(|line| line.trim() == "#[cfg(test)]")
            .unwrap_or(code.len());
        let is_test = file.path.ends_with("tests.rs") || file.path.contains("/tests/");
        for (number, line) in code.iter().enumerate() {
            for (word, places) in KEPT_IN {
                let tests_may = number >= tests_start || is_test;
                if names(line, word) && !tests_may && !in_one_of(&file.path, places) {
                    complain(
                        number,
                        &format!("{word} belongs into {} only", places.join(", ")),
                    );
                }
            }
        }
        if file.path == "lib.rs" || in_one_of(&file.path, &PROGRAMS) {
            continue;
        }
        let room = file.path.split(['/', '.']).next().unwrap_or_default();
        let floor = match rooms.iter().position(|name| name == room) {
            None => {
                complain(0, "its room is not declared in src/lib.rs");
                continue;
            }
            Some(_) if is_commands(&file.path) => rooms.iter().position(|name| name == "engine"),
            own => own,
        };
        for (number, path) in paths_from_root(&code) {
            let named = path.split("::").next().unwrap_or_default();
            let place = rooms.iter().position(|name| name == named);
            if place.is_some() && place > floor {
                complain(
                    number,
                    &format!("{room} may not name {named}, which stands below it in src/lib.rs"),
                );
            }
            // The AOF reaches the file system through one door of its own.
            let may_name_io = ["io", "tasks"].contains(&room) || file.path == "aof/disk.rs";
            if named == "io" && !may_name_io {
                complain(number, "only tasks may name io");
            }
            let names_commands = path.split("::").any(is_commands_module);
            if names_commands && !is_commands(&file.path) && file.path != "engine/table.rs" {
                complain(number, "only engine/table.rs may name commands");
            }
        }
    }
    found
}

/// The modules of src/lib.rs, top first.
fn rooms_in_order(files: &[Source]) -> Vec<String> {
    let lib = files.iter().find(|file| file.path == "lib.rs");
    let text = lib.map_or("", |file| &file.text);
    let declared = text.lines().filter_map(|line| {
        let name = line
            .trim()
            .trim_start_matches("pub ")
            .strip_prefix("mod ")?;
        name.strip_suffix(';').map(str::to_string)
    });
    declared.collect()
}

fn is_commands(path: &str) -> bool {
    // The tests of a commands file stand below it.
    path.ends_with("commands.rs") || path.ends_with("commands/tests.rs")
}

fn is_commands_module(segment: &str) -> bool {
    segment == "commands" || segment.ends_with("_commands")
}

fn in_one_of(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| match place.strip_suffix('/') {
        Some(_) => path.starts_with(place),
        None => path == *place,
    })
}

/// Whether the line has this word, not as a part of a longer one.
fn names(line: &str, word: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The lines without comments and without what stands in string literals; as many lines as the source has.
fn code_of(text: &str) -> Vec<String> {
    let mut code = String::new();
    let mut letters = text.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        match letter {
            '/' if letters.peek() == Some(&'/') => {
                while letters.next_if(|&next| next != '\n').is_some() {}
            }
            '/' if letters.peek() == Some(&'*') => {
                let mut last = ' ';
                for inside in letters.by_ref() {
                    if inside == '\n' {
                        code.push('\n');
                    }
                    if last == '*' && inside == '/' {
                        break;
                    }
                    last = inside;
                }
            }
            'r' if !before.is_alphanumeric()
                && before != '_'
                && matches!(letters.peek(), Some('"' | '#')) =>
            {
                let mut hashes = 0;
                while letters.next_if_eq(&'#').is_some() {
                    hashes += 1;
                }
                if letters.next_if_eq(&'"').is_some() {
                    skip_raw_string(&mut letters, hashes, &mut code);
                }
            }
            '"' => {
                while let Some(inside) = letters.next() {
                    match inside {
                        '\\' => code.extend(letters.next().filter(|&next| next == '\n')),
                        '"' => break,
                        '\n' => code.push('\n'),
                        _ => {}
                    }
                }
            }
            // A character literal may hold a quote; a lifetime has no second one.
            '\'' => match letters.next() {
                Some('\\') => {
                    letters.next();
                    while letters.next_if(|&next| next != '\'').is_some() {}
                    letters.next();
                }
                Some(inside) if letters.peek() == Some(&'\'') => {
                    letters.next();
                    if inside == '\n' {
                        code.push('\n');
                    }
                }
                Some(inside) => code.push(inside),
                None => {}
            },
            plain => code.push(plain),
        }
        before = letter;
    }
    code.lines().map(str::to_string).collect()
}

fn skip_raw_string(
    letters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    hashes: usize,
    code: &mut String,
) {
    while let Some(inside) = letters.next() {
        if inside == '\n' {
            code.push('\n');
        }
        if inside == '"' {
            let mut closed = 0;
            while closed < hashes && letters.next_if_eq(&'#').is_some() {
                closed += 1;
            }
            if closed == hashes {
                return;
            }
        }
    }
}

/// Every path that starts at `crate::`, with its line; groups are spelled out: `crate::{a, b::c}` is `a` and `b::c`.
fn paths_from_root(code: &[String]) -> Vec<(usize, String)> {
    let text = code.join("\n");
    let mut found = Vec::new();
    for (start, matched) in text.match_indices("crate::") {
        if text[..start].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let line = text[..start].matches('\n').count();
        let mut rest = text[start + matched.len()..].chars().peekable();
        let mut paths = Vec::new();
        spell_out(&mut rest, String::new(), &mut paths);
        found.extend(paths.into_iter().map(|path| (line, path)));
    }
    found
}

fn spell_out(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    prefix: String,
    paths: &mut Vec<String>,
) {
    let mut path = prefix;
    loop {
        match rest.peek() {
            Some(&letter) if letter.is_alphanumeric() || letter == '_' || letter == ':' => {
                path.push(letter);
                rest.next();
            }
            Some('{') => {
                rest.next();
                loop {
                    while rest
                        .next_if(|letter| letter.is_whitespace() || *letter == ',')
                        .is_some()
                    {}
                    match rest.peek() {
                        Some('}') => {
                            rest.next();
                            return;
                        }
                        Some(&letter) if letter.is_alphanumeric() || letter == '_' => {
                            spell_out(rest, path.clone(), paths);
                            // `as name`, if there is one, up to the next entry.
                            while rest
                                .next_if(|letter| *letter != ',' && *letter != '}')
                                .is_some()
                            {}
                        }
                        _ => return,
                    }
                }
            }
            _ => break,
        }
    }
    paths.push(path);
}

const LINES_MAX: usize = 700;

/// Tests read as a list: a long one hides less.
const TEST_LINES_MAX: usize = 900;

const PROGRAMS: [&str; 2] = ["main.rs", "operator/"];

/// What may be named in these places only; tests beside the code may have deadlines and seeds of their own.
const KEPT_IN: [(&str, &[&str]); 4] = [
    ("async_std", &["io/", "tasks/", "main.rs"]),
    ("SystemTime", &["clock.rs"]),
    ("Instant::now", &["clock.rs"]),
    ("getrandom", &["random.rs"]),
];

/// Spelled in halves, so that this file may be held to its own rule one day.
const BANNED_WORDS: [&str; 9] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("issue", " #"),
    concat!("this ", "session"),
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/t", "mp/"),
];

#[cfg(test)]
mod tests {
    use super::{Source, code_of, complaints};

    fn tree(path: &str, text: &str) -> String {
        let lib = "pub mod clock;\npub mod io;\npub mod journal;\npub mod types;\npub mod engine;\npub mod tasks;\n";
        let mut files = vec![("lib.rs", lib), (path, text)];
        if path != "journal/mod.rs" {
            files.push(("journal/mod.rs", "use crate::clock::Clock;\n"));
        }
        let files: Vec<Source> = files
            .into_iter()
            .map(|(path, text)| Source {
                path: path.to_string(),
                text: text.to_string(),
            })
            .collect();
        complaints(&files)
    }

    #[track_caller]
    fn passes(path: &str, text: &str) {
        assert_eq!(tree(path, text), "");
    }

    #[track_caller]
    fn fails(path: &str, text: &str, why: &str) {
        let found = tree(path, text);
        assert!(
            found.contains(why),
            "{path} should fail for {why:?}: {found:?}"
        );
    }

    #[test]
    fn a_room_may_name_rooms_above_it_and_itself() {
        passes(
            "types/mod.rs",
            "use crate::journal::Position;\nuse crate::types::Value;\n",
        );
        passes("engine/mod.rs", "fn f() -> crate::types::Value {}\n");
        passes("types/list/commands.rs", "use crate::engine::Data;\n");
    }

    #[test]
    fn a_room_may_not_name_rooms_below_it() {
        fails(
            "journal/block.rs",
            "use crate::engine::Engine;\n",
            "block.rs:1: journal may not name engine",
        );
        fails(
            "types/mod.rs",
            "use crate::{\n    clock,\n    tasks::{run, stop},\n};\n",
            "may not name tasks",
        );
        fails(
            "clock.rs",
            "type T = Option<crate::types::Value>;\n",
            "may not name types",
        );
        fails(
            "types/list/commands.rs",
            "use crate::tasks::run;\n",
            "may not name tasks",
        );
    }

    #[test]
    fn commands_are_named_by_the_table_alone() {
        passes("engine/table.rs", "use crate::types::list::commands;\n");
        fails(
            "engine/mod.rs",
            "use crate::types::{list, list::push_commands};\n",
            "only engine/table.rs",
        );
    }

    #[test]
    fn the_world_outside_has_its_doors() {
        fails(
            "engine/mod.rs",
            "use crate::io::Sink;\n",
            "only tasks may name io",
        );
        passes(
            "tasks/mod.rs",
            "use async_std::task;\nuse crate::io::Sink;\n",
        );
        fails(
            "engine/mod.rs",
            "use async_std::task;\n",
            "async_std belongs into",
        );
        fails(
            "types/mod.rs",
            "let now = Instant::now();\n",
            "Instant::now belongs into clock.rs",
        );
        fails(
            "types/mod.rs",
            "use std::time::SystemTime;\n",
            "SystemTime belongs into",
        );
        fails(
            "types/mod.rs",
            "getrandom::fill(&mut x);\n",
            "getrandom belongs into",
        );
        passes(
            "types/mod.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests { fn t() { Instant::now(); } }\n",
        );
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        passes(
            "types/mod.rs",
            "// crate::tasks\n/* crate::tasks */ const A: &str = \"crate::tasks \\\" crate::tasks\";\n",
        );
        passes(
            "types/mod.rs",
            "const A: &str = r#\"crate::tasks\"#;\nconst B: char = '\"';\nfn f<'a>(x: &'a str) {}\n",
        );
        fails(
            "types/mod.rs",
            "const B: char = '\"';\nuse crate::tasks;\n",
            "mod.rs:2: types may not name tasks",
        );
        assert_eq!(code_of("a // b\n\"c\nd\" e\n"), ["a ", "", " e"]);
    }

    #[test]
    fn files_are_short_and_speak_of_the_matter() {
        fails("types/mod.rs", &"\n".repeat(701), "over 700 lines");
        fails(
            "types/mod.rs",
            concat!("// TO", "DO: later\n"),
            "belongs into no source",
        );
        fails(
            "types/mod.rs",
            concat!("// see issue", " #7\n"),
            "belongs into no source",
        );
    }

    #[test]
    fn every_room_is_declared() {
        fails("nowhere/mod.rs", "", "not declared in src/lib.rs");
    }
}
