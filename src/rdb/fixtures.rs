//! Access to the RDB files that the tests share.
//!
//! `tests/fixtures/rdb/MANIFEST.md` tells where each file comes from; the two JSON files beside it hold what servers read from
//! them, or how they refused to. The names here are paths in that folder without `.rdb`.

use std::fs;
use std::path::{Path, PathBuf};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rdb")
}

pub fn file(name: &str) -> Vec<u8> {
    let path = folder().join(name).with_extension("rdb");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all files in a folder of the fixtures, sorted, without `.rdb`.
pub fn names(within: &str) -> Vec<String> {
    let entries = fs::read_dir(folder().join(within)).expect("the fixtures are there");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rdb"))
        .map(|path| {
            let stem = path.file_stem().expect("a name").to_string_lossy();
            Path::new(within)
                .join(&*stem)
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// What servers made of each file.
pub fn expected(json: &str) -> Json {
    Json::parse(&fs::read(folder().join(json)).expect("the fixtures are there"))
}

/// The JSON writes what is not printable as `hex:` and digits.
pub fn bytes_of(text: &str) -> Vec<u8> {
    let Some(digits) = text.strip_prefix("hex:") else {
        return text.as_bytes().to_vec();
    };
    let pairs = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair));
    pairs
        .map(|pair| u8::from_str_radix(pair.expect("ascii"), 16).expect("hex"))
        .collect()
}

/// As much of JSON as the fixtures need.
#[derive(Debug)]
pub enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Text(String),
    Number(f64),
    Other,
}

impl Json {
    fn parse(text: &[u8]) -> Json {
        let mut at = 0;
        Json::value(text, &mut at)
    }

    pub fn member(&self, name: &str) -> Option<&Json> {
        let Json::Object(members) = self else {
            return None;
        };
        members
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    pub fn items(&self) -> &[Json] {
        match self {
            Json::Array(items) => items,
            _ => &[],
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Json::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn value(text: &[u8], at: &mut usize) -> Json {
        match Json::skip_to_token(text, at) {
            b'{' => {
                let mut members = Vec::new();
                *at += 1;
                while Json::skip_to_token(text, at) != b'}' {
                    let Json::Text(name) = Json::value(text, at) else {
                        panic!("a name expected at byte {at}");
                    };
                    members.push((name, Json::value(text, at)));
                }
                *at += 1;
                Json::Object(members)
            }
            b'[' => {
                let mut items = Vec::new();
                *at += 1;
                while Json::skip_to_token(text, at) != b']' {
                    items.push(Json::value(text, at));
                }
                *at += 1;
                Json::Array(items)
            }
            b'"' => Json::string(text, at),
            _ => {
                let from = *at;
                while !b",]}\n ".contains(&text[*at]) {
                    *at += 1;
                }
                let word = String::from_utf8_lossy(&text[from..*at]);
                word.parse().map_or(Json::Other, Json::Number)
            }
        }
    }

    fn string(text: &[u8], at: &mut usize) -> Json {
        let mut bytes = Vec::new();
        *at += 1;
        while text[*at] != b'"' {
            if text[*at] == b'\\' {
                *at += 1;
                match text[*at] {
                    b'n' => bytes.push(b'\n'),
                    b'r' => bytes.push(b'\r'),
                    b't' => bytes.push(b'\t'),
                    b'u' => {
                        let digits = String::from_utf8_lossy(&text[*at + 1..*at + 5]);
                        let code = u32::from_str_radix(&digits, 16).expect("hex");
                        let character = char::from_u32(code).unwrap_or('\u{fffd}');
                        bytes.extend_from_slice(character.to_string().as_bytes());
                        *at += 4;
                    }
                    other => bytes.push(other),
                }
            } else {
                bytes.push(text[*at]);
            }
            *at += 1;
        }
        *at += 1;
        Json::Text(String::from_utf8(bytes).expect("text"))
    }

    /// Commas and colons say nothing that the brackets do not.
    fn skip_to_token(text: &[u8], at: &mut usize) -> u8 {
        while b" \n,:".contains(&text[*at]) {
            *at += 1;
        }
        text[*at]
    }
}
