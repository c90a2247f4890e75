//! `catalogue.txt` as values: what clients are told about a command beyond its row in the table. The file explains its
//! notation itself.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

/// One line.
#[derive(Debug, Default)]
pub struct Facts {
    pub keys: Vec<KeyFacts>,
    pub tips: Vec<&'static str>,
    /// In place of the category of the group.
    pub categories: Option<Vec<&'static str>>,
    pub is_internal: bool,
    pub deprecated: Option<Deprecation>,
    pub arguments: Vec<Argument>,
}

/// One key specification.
#[derive(Debug)]
pub struct KeyFacts {
    pub flags: Vec<&'static str>,
    /// Where the row of the command cannot tell.
    pub place: Option<(Begin, Find)>,
}

/// Where the keys of a specification begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Index(i32),
    /// Behind `word`, looked for from word `from` on; from the end where that is negative.
    Keyword {
        word: &'static str,
        from: i32,
    },
    Unknown,
}

/// Which words are keys from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// `last` counts from the beginning, or from the end where it is negative; with a limit of 2, half of the words are.
    Range {
        last: i32,
        step: i32,
        limit: i32,
    },
    /// The first word says how many follow it.
    Count,
    Unknown,
}

#[derive(Debug)]
pub struct Deprecation {
    pub since: &'static str,
    pub instead: String,
}

/// An argument of a command, as COMMAND DOCS has it.
#[derive(Debug, Default)]
pub struct Argument {
    pub name: Cow<'static, str>,
    pub kind: &'static str,
    pub key_spec: Option<i64>,
    pub token: Option<&'static str>,
    pub since: Option<&'static str>,
    pub deprecated_since: Option<&'static str>,
    pub optional: bool,
    pub multiple: bool,
    pub multiple_token: bool,
    pub arguments: Vec<Argument>,
}

/// What is noted about a command or subcommand, by its full name.
pub fn facts(name: &str) -> Option<&'static Facts> {
    CATALOGUE.get(name)
}

static CATALOGUE: LazyLock<HashMap<&'static str, Facts>> = LazyLock::new(|| {
    let lines = include_str!("catalogue.txt").lines();
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default();
            (name, read_line(&mut words))
        })
        .collect()
});

type Words<'w> = std::str::Split<'w, char>;

fn read_line(words: &mut Words<'static>) -> Facts {
    let mut facts = Facts::default();
    while let Some(word) = words.next() {
        if let Some(first) = word.strip_prefix('[') {
            facts.keys.push(read_keys(bracketed(first, ']', words)));
        } else if let Some(first) = word.strip_prefix('<') {
            facts.tips = bracketed(first, '>', words);
        } else if let Some(names) = word.strip_prefix('%') {
            facts.categories = Some(names.split(',').filter(|name| !name.is_empty()).collect());
        } else if word == "!syscmd" {
            facts.is_internal = true;
        } else if let Some(text) = word.strip_prefix("!deprecated:") {
            let (since, instead) = text.split_once(':').unwrap_or((text, ""));
            let instead = instead.replace('_', " ");
            facts.deprecated = Some(Deprecation { since, instead });
        } else {
            facts.arguments.push(read_argument(word, words));
        }
    }
    facts
}

/// The words up to the one that ends with `end`.
fn bracketed(first: &'static str, end: char, words: &mut Words<'static>) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut word = first;
    loop {
        match word.strip_suffix(end) {
            Some(last) => {
                found.push(last);
                return found;
            }
            None => found.push(word),
        }
        match words.next() {
            Some(next) => word = next,
            None => return found,
        }
    }
}

fn read_keys(words: Vec<&'static str>) -> KeyFacts {
    let (mut flags, mut begin, mut find) = (Vec::new(), None, Find::Unknown);
    for word in words {
        if let Some(place) = word.strip_prefix('@') {
            begin = Some(match place.split_once(':') {
                Some((word, from)) => Begin::Keyword {
                    word,
                    from: number(from),
                },
                None if place == "?" => Begin::Unknown,
                None => Begin::Index(number(place)),
            });
        } else if let Some(range) = word.strip_prefix("..") {
            let mut numbers = range.split('/').map(number);
            find = Find::Range {
                last: numbers.next().unwrap_or(0),
                step: numbers.next().unwrap_or(1),
                limit: numbers.next().unwrap_or(0),
            };
        } else if word != "?" {
            flags.push(word);
        }
    }
    KeyFacts {
        flags,
        place: begin.map(|begin| (begin, find)),
    }
}

fn number(text: &str) -> i32 {
    text.parse().unwrap_or(0)
}

const KINDS: [&str; 5] = ["integer", "double", "pattern", "unix-time", "key"];

fn read_argument(word: &'static str, words: &mut Words<'static>) -> Argument {
    let (token, rest) = match word.get(1..).and_then(|behind| behind.find('=')) {
        // The token may itself be an equals sign, or, in front of a lone one, nothing.
        Some(at) => (Some(&word[..at + 1]), &word[at + 2..]),
        None if word.starts_with('=') => (Some(""), &word[1..]),
        None => (None, word),
    };
    let mut argument = Argument {
        token,
        kind: "string",
        ..Argument::default()
    };
    for (open, close, kind) in [('(', ')', "oneof"), ('{', '}', "block")] {
        if let Some(name) = rest.strip_suffix(open) {
            argument.name = name.into();
            argument.kind = kind;
            while let Some(word) = words.next() {
                if let Some(marks) = word.strip_prefix(close) {
                    read_marks(marks, &mut argument);
                    return argument;
                }
                argument.arguments.push(read_argument(word, words));
            }
            return argument;
        }
    }
    let rest = read_marks(rest, &mut argument);
    if let Some(name) = rest.strip_suffix('!') {
        argument.name = name.into();
        argument.kind = "pure-token";
        return argument;
    }
    let is_token = token.is_none() && !rest.contains(|letter: char| letter.is_ascii_lowercase());
    if is_token {
        argument.name = rest.to_ascii_lowercase().into();
        argument.kind = "pure-token";
        argument.token = Some(rest);
        return argument;
    }
    let (rest, key_spec) = match rest.split_once('@') {
        Some((rest, key_spec)) => (rest, Some(i64::from(number(key_spec)))),
        None => (rest, None),
    };
    argument.key_spec = key_spec;
    argument.name = rest.into();
    if key_spec.is_some() {
        argument.kind = "key";
    }
    // A name may have a colon of its own.
    if let Some((name, kind)) = rest.rsplit_once(':')
        && let Some(kind) = KINDS.iter().find(|known| **known == kind)
    {
        argument.name = name.into();
        argument.kind = kind;
    }
    argument
}

/// Takes the marks off the end of a word, and returns the rest.
fn read_marks(word: &'static str, argument: &mut Argument) -> &'static str {
    let mut rest = word;
    if let Some((before, version)) = rest.split_once('~') {
        argument.deprecated_since = Some(version);
        rest = before;
    }
    if let Some((before, version)) = rest.split_once('^') {
        argument.since = Some(version);
        rest = before;
    }
    for (mark, is_set) in [
        ('+', &mut argument.multiple_token),
        ('*', &mut argument.multiple),
        ('?', &mut argument.optional),
    ] {
        if let Some(before) = rest.strip_suffix(mark) {
            *is_set = true;
            rest = before;
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An argument in one line, in a notation of its own: name type, token, marks, then what is inside.
    fn shown(argument: &Argument) -> String {
        let inside: Vec<String> = argument.arguments.iter().map(shown).collect();
        format!(
            "{} {} {:?} {}{}{} {:?} [{}]",
            argument.name,
            argument.kind,
            argument.token,
            u8::from(argument.optional),
            u8::from(argument.multiple),
            u8::from(argument.multiple_token),
            argument.since,
            inside.join(", ")
        )
    }

    #[test]
    fn a_line_is_read_as_its_notation_says() {
        let line = "[RO access @STREAMS:1 ..-1/1/2] [OW] <a b> %x,y !deprecated:1.2:`GET`_it key@0 NX? n:integer?* \
            T=t( ==equal! ip:port )?^6.2.0 P=p{ =none! }*+";
        let line: &'static str = line;
        let facts = read_line(&mut line.split(' '));
        assert_eq!(facts.keys[0].flags, ["RO", "access"]);
        let keyword = Begin::Keyword {
            word: "STREAMS",
            from: 1,
        };
        let range = Find::Range {
            last: -1,
            step: 1,
            limit: 2,
        };
        assert_eq!(facts.keys[0].place, Some((keyword, range)));
        assert_eq!(facts.keys[1].place, None);
        assert_eq!(facts.tips, ["a", "b"]);
        assert_eq!(facts.categories.unwrap(), ["x", "y"]);
        assert_eq!(facts.deprecated.unwrap().instead, "`GET` it");
        let arguments: Vec<String> = facts.arguments.iter().map(shown).collect();
        assert_eq!(
            arguments,
            [
                "key key None 000 None []",
                "nx pure-token Some(\"NX\") 100 None []",
                "n integer None 110 None []",
                "t oneof Some(\"T\") 100 Some(\"6.2.0\") [equal pure-token Some(\"=\") 000 None [], ip:port string None 000 None []]",
                "p block Some(\"P\") 011 None [none pure-token Some(\"\") 000 None []]",
            ]
        );
    }

    #[test]
    fn every_line_of_the_file_is_closed_and_every_type_is_known() {
        fn check(name: &str, argument: &Argument) {
            assert!(!argument.name.is_empty(), "{name}");
            let odd = |letter: char| "(){}[]<>@=?*+^~!".contains(letter);
            assert!(!argument.name.contains(odd), "{name}: {}", argument.name);
            let is_nest = matches!(argument.kind, "oneof" | "block");
            assert_eq!(is_nest, !argument.arguments.is_empty(), "{name}");
            for inner in &argument.arguments {
                check(name, inner);
            }
        }
        assert!(CATALOGUE.len() > 250);
        for (name, facts) in CATALOGUE.iter() {
            for argument in &facts.arguments {
                check(name, argument);
            }
        }
    }
}
