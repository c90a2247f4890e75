//! One line of words, as configuration files, inline requests and the AOF manifest write them.
//!
//! Words are separated by white space. `"..."` knows the escapes `\n \r \t \b \a \xHH`, and a backslash before any
//! other byte gives that byte; `'...'` knows only `\'`. A closing quote ends its word, so white space or the end of the
//! line has to follow it. Words are bytes: nothing here asks for UTF-8.

/// The words of a line; `None` where a quote does not close, or closes in front of something else than white space.
pub fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.iter().position(|&byte| !is_space(byte));
        let Some(start) = start else {
            return Some(words);
        };
        let (word, after) = first_word(&rest[start..])?;
        words.push(word);
        rest = after;
    }
}

/// The word as a line can hold it: bare where that reads back as itself, else in double quotes with escapes.
pub fn quoted_if_needed(word: &[u8]) -> Vec<u8> {
    let bare = |&byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !word.is_empty() && word[0] != b'#' && word.iter().all(bare) {
        word.to_vec()
    } else {
        quoted(word)
    }
}

/// The word in double quotes, with an escape for every byte that is not printable ASCII.
pub fn quoted(word: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(word.len() + 2);
    text.push(b'"');
    for &byte in word {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', byte]),
            b'\n' => text.extend(b"\\n"),
            b'\r' => text.extend(b"\\r"),
            b'\t' => text.extend(b"\\t"),
            0x07 => text.extend(b"\\a"),
            0x08 => text.extend(b"\\b"),
            b' '..=b'~' => text.push(byte),
            _ => text.extend(format!("\\x{byte:02x}").into_bytes()),
        }
    }
    text.push(b'"');
    text
}

/// White space as C's `isspace` has it: the vertical tab too, which Rust's ASCII test leaves out.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// The word at the start of `text` and what stands behind it.
fn first_word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut at = 0;
    while at < text.len() && !is_space(text[at]) {
        let quote = text[at];
        if quote != b'"' && quote != b'\'' {
            word.push(quote);
            at += 1;
            continue;
        }
        at += 1 + unquote(&text[at + 1..], quote, &mut word)?;
        return match text.get(at) {
            Some(&next) if !is_space(next) => None,
            _ => Some((word, &text[at..])),
        };
    }
    Some((word, &text[at..]))
}

/// Appends to `word` what stands before the closing quote; gives the bytes read, that quote included.
fn unquote(text: &[u8], quote: u8, word: &mut Vec<u8>) -> Option<usize> {
    let mut at = 0;
    loop {
        let byte = *text.get(at)?;
        if byte == quote {
            return Some(at + 1);
        }
        if byte != b'\\' {
            word.push(byte);
            at += 1;
        } else if quote == b'\'' {
            let escaped = text.get(at + 1) == Some(&b'\'');
            word.push(if escaped { b'\'' } else { b'\\' });
            at += 1 + usize::from(escaped);
        } else if let Some(value) = hex_escape(&text[at..]) {
            word.push(value);
            at += 4;
        } else {
            word.push(match *text.get(at + 1)? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 0x08,
                b'a' => 0x07,
                other => other,
            });
            at += 2;
        }
    }
}

/// The byte that `\xHH` stands for.
fn hex_escape(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    match *text.get(..4)? {
        [b'\\', b'x', high, low] => Some((digit(high)? * 16 + digit(low)?) as u8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn check(line: &str, expected: Option<&[&[u8]]>) {
        let words = split(line.as_bytes());
        let expected = expected.map(|words| words.iter().map(|word| word.to_vec()).collect());
        assert_eq!(words, expected, "{line:?}");
    }

    #[test]
    fn words_are_split_at_white_space_and_joined_by_quotes() {
        check("", Some(&[]));
        check("  \t\r\n", Some(&[]));
        check(" port\t6379 ", Some(&[b"port", b"6379"]));
        check("a \"b c\" 'd e'", Some(&[b"a", b"b c", b"d e"]));
        check("a\"b c\"", Some(&[b"ab c"]));
        check("save \"\"", Some(&[b"save", b""]));
    }

    #[test]
    fn escapes_differ_by_quote() {
        check(
            r#""a\"b\n\t\r\a\b\x41\xfF\q\\""#,
            Some(&[b"a\"b\n\t\r\x07\x08A\xffq\\"]),
        );
        check(r#""\xg1""#, Some(&[b"xg1"]));
        check(r"'a\'b\n\x41'", Some(&[br"a'b\n\x41"]));
        check(r"a\nb", Some(&[br"a\nb"]));
    }

    #[test]
    fn a_quote_has_to_close_before_white_space_or_the_end() {
        for line in [
            "\"", "'", "a \"b", "a 'b", "\"a\"b", "'a'b", "\"a\\", "\"a\\\"",
        ] {
            check(line, None);
        }
    }

    #[test]
    fn every_word_survives_quoting() {
        let mut random = Random::from_seed(11);
        for _ in 0..2000 {
            let word: Vec<u8> = (0..random.below(12))
                .map(|_| random.below(256) as u8)
                .collect();
            assert_eq!(split(&quoted(&word)), Some(vec![word.clone()]));
            assert_eq!(split(&quoted_if_needed(&word)), Some(vec![word]));
        }
        assert_eq!(quoted_if_needed(b"/var/lib"), b"/var/lib");
        assert_eq!(quoted_if_needed(b"#x"), b"\"#x\"");
    }

    #[test]
    fn random_lines_never_panic() {
        let mut random = Random::from_seed(12);
        for _ in 0..20_000 {
            let line: Vec<u8> = (0..random.below(16))
                .map(|_| b"\"'\\ xn4a#\0\xff"[random.below(11) as usize])
                .collect();
            split(&line);
        }
    }
}
