//! Glob patterns as KEYS, SCAN, PSUBSCRIBE and CONFIG GET understand them.
//!
//! ```text
//! *         any bytes, also none
//! ?         one byte
//! [abc]     one byte of these; [^abc] one byte that is none of these; [a-z] or [z-a] a range with its ends
//! \x        the byte x, within brackets too
//! ```
//!
//! Any other byte stands for itself, and so does a `\` that ends the pattern. Odd corners are those of Redis 7.0: a bracket
//! that is never closed ends with the pattern, `[]` matches nothing and `[^]` any byte, ranges come before the meaning
//! of `]` (`[a-]` is open: a range up to `]`), and an empty text is matched by the empty pattern only, not by `*`.

/// Whether all of `text` matches `pattern`; letters of ASCII match in either case if `nocase`.
///
/// Takes at most `pattern * text` steps and no memory: when a byte does not match, only the last `*` can have been too
/// short, because all that an earlier one could reach by growing the last one reaches too.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut rest, mut at) = (pattern, 0);
    // The pattern behind the last star, and where the text behind the star's bytes begins.
    let mut retry: Option<(&[u8], usize)> = None;
    loop {
        if let [b'*', behind @ ..] = rest {
            rest = behind;
            if rest.is_empty() {
                return true;
            }
            retry = Some((rest, at));
            continue;
        }
        let Some(&byte) = text.get(at) else {
            return rest.is_empty();
        };
        if let Some(behind) = match_one(rest, byte, nocase) {
            rest = behind;
            at += 1;
        } else if let Some((behind, begin)) = retry {
            rest = behind;
            at = begin + 1;
            retry = Some((behind, at));
        } else {
            return false;
        }
    }
}

/// Matches `byte` with the front of a pattern that is no star, and gives what is behind it.
fn match_one(pattern: &[u8], byte: u8, nocase: bool) -> Option<&[u8]> {
    let (matched, behind) = match pattern {
        [] => return None,
        [b'?', behind @ ..] => (true, behind),
        [b'[', behind @ ..] => match_bracket(behind, byte, nocase),
        [b'\\', literal, behind @ ..] | [literal, behind @ ..] => {
            (fold(*literal, nocase) == fold(byte, nocase), behind)
        }
    };
    matched.then_some(behind)
}

/// Matches `byte` with a bracket whose `[` has been taken, and gives what is behind its `]`. An escaped byte must match
/// exactly, even if `nocase`.
fn match_bracket(pattern: &[u8], byte: u8, nocase: bool) -> (bool, &[u8]) {
    let (inverted, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let byte_folded = fold(byte, nocase);
    let mut found = false;
    loop {
        rest = match rest {
            [] => return (found != inverted, rest),
            [b'\\', literal, behind @ ..] => {
                found |= *literal == byte;
                behind
            }
            [b']', behind @ ..] => return (found != inverted, behind),
            [from, b'-', to, behind @ ..] => {
                let (from, to) = (*from.min(to), *from.max(to));
                found |= (fold(from, nocase)..=fold(to, nocase)).contains(&byte_folded);
                behind
            }
            [literal, behind @ ..] => {
                found |= fold(*literal, nocase) == byte_folded;
                behind
            }
        }
    }
}

fn fold(byte: u8, nocase: bool) -> u8 {
    if nocase {
        byte.to_ascii_lowercase()
    } else {
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        for text in yes {
            let matched = matches(pattern.as_bytes(), text.as_bytes(), false);
            assert!(matched, "{pattern} should match {text:?}");
        }
        for text in no {
            let matched = matches(pattern.as_bytes(), text.as_bytes(), false);
            assert!(!matched, "{pattern} should not match {text:?}");
        }
    }

    #[test]
    fn stars_take_any_bytes() {
        check("*", &["a", "abc", "*"], &[""]);
        check("**", &["a"], &[""]);
        check("", &[""], &["a"]);
        check("h*llo", &["hllo", "heeello", "hllollo"], &["hell", "hllo!"]);
        check("*a*b", &["ab", "xaxbxb", "aab"], &["a", "b", "ba", "abc"]);
        check("a**", &["a", "ab"], &["b"]);
        check("*?", &["a", "ab"], &[""]);
        check("a*?", &["ab", "abc"], &["a"]);
    }

    #[test]
    fn brackets_take_one_byte() {
        check("h[ae]llo", &["hello", "hallo"], &["hillo", "hllo"]);
        check("h[^e]llo", &["hallo"], &["hello", "hllo"]);
        check("[a-c]", &["a", "b", "c"], &["d", "-", "ab"]);
        check("[c-a]", &["a", "b", "c"], &["d"]);
        check("[a-]", &["a", "^", "]"], &["b", "-"]);
        check("[a\\-z]", &["a", "-", "z"], &["b"]);
        check("[\\]]x", &["]x"], &["x", "\\x"]);
        check("[ab", &["a", "b"], &["c", "[ab"]);
        check("[", &[], &["a", "["]);
        check("[]", &[], &["a", "]"]);
        check("[^]", &["a"], &[""]);
        check("[^", &["a"], &[]);
        check("[\\", &["\\"], &["a"]);
    }

    #[test]
    fn a_backslash_takes_the_meaning_away() {
        check("h\\?llo", &["h?llo"], &["hello"]);
        check("\\*", &["*"], &["a", "\\*"]);
        check("a\\", &["a\\"], &["a"]);
        check("\\a", &["a"], &["\\a"]);
    }

    #[test]
    fn letters_match_in_either_case_on_request() {
        assert!(matches(b"HeL?o*", b"hEllO!", true));
        assert!(!matches(b"HeL?o*", b"hEllO!", false));
        assert!(matches(b"[A-C]", b"b", true));
        assert!(matches(b"[^x]", b"Y", true));
        assert!(!matches(b"[^x]", b"X", true));
        assert!(!matches(b"[\\x]", b"X", true));
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = b"a*".repeat(50);
        let text = vec![b'a'; 20_000];
        assert!(matches(&pattern, &text, false));
        assert!(!matches(&[&pattern[..], b"b"].concat(), &text, false));
        assert!(!matches(&b"*a".repeat(30_000), &text, false));
        assert!(!matches(&b"*?[a-z]".repeat(5_001), &text[..10_000], false));
    }
}
