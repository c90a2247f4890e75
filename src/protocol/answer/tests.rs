//! Answers of every kind, whole and in pieces, good and bad.

use super::{Answer, AnswerReader, Limits, Problem};
use crate::random::Random;

fn bulk(text: &str) -> Answer {
    Answer::Bulk(text.into())
}

fn read(input: &[u8], piece: usize, limits: Limits) -> Result<Vec<Answer>, String> {
    let mut reader = AnswerReader::new(limits);
    let mut answers = Vec::new();
    for piece in input.chunks(piece) {
        reader.feed(piece);
        while let Some(answer) = reader.next_answer().map_err(|error| error.to_string())? {
            answers.push(answer);
        }
    }
    assert!(reader.is_idle(), "bytes were left over");
    Ok(answers)
}

#[track_caller]
fn check(input: &str, expected: &[Answer]) {
    for piece in [1, 2, 3, 7, input.len()] {
        let answers = read(input.as_bytes(), piece, Limits::default()).expect("well formed");
        assert_eq!(answers, expected, "in pieces of {piece}");
    }
}

#[track_caller]
fn refuse(input: &str, limits: Limits, why: &str) {
    for piece in [1, input.len()] {
        let error = read(input.as_bytes(), piece, limits).expect_err("malformed");
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn every_form_of_resp2_is_read() {
    check("+OK\r\n", &[Answer::Simple("OK".into())]);
    check("-ERR no\r\n", &[Answer::Error("ERR no".into())]);
    check(
        ":-42\r\n:+7\r\n",
        &[Answer::Integer(-42), Answer::Integer(7)],
    );
    check("$5\r\na\r\nbc\r\n$0\r\n\r\n", &[bulk("a\r\nbc"), bulk("")]);
    check("$-1\r\n*-1\r\n", &[Answer::Null, Answer::Null]);
    check(
        "*3\r\n:1\r\n*0\r\n*1\r\n$1\r\nx\r\n",
        &[Answer::Array(vec![
            Answer::Integer(1),
            Answer::Array(vec![]),
            Answer::Array(vec![bulk("x")]),
        ])],
    );
}

#[test]
fn every_form_of_resp3_is_read() {
    check(
        "_\r\n#t\r\n#f\r\n",
        &[Answer::Null, Answer::Boolean(true), Answer::Boolean(false)],
    );
    check(
        ",1.5\r\n,-inf\r\n",
        &[Answer::Double(1.5), Answer::Double(f64::NEG_INFINITY)],
    );
    check(
        "(-123456789012345678901\r\n",
        &[Answer::BigNumber("-123456789012345678901".into())],
    );
    check("=6\r\ntxt:ab\r\n", &[bulk("ab")]);
    check("!6\r\nERR no\r\n", &[Answer::Error("ERR no".into())]);
    check(
        "%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n#t\r\n",
        &[Answer::Map(vec![
            (Answer::Simple("a".into()), Answer::Integer(1)),
            (
                Answer::Simple("b".into()),
                Answer::Set(vec![Answer::Boolean(true)]),
            ),
        ])],
    );
    check(
        ">2\r\n+message\r\n+x\r\n",
        &[Answer::Push(vec![
            Answer::Simple("message".into()),
            Answer::Simple("x".into()),
        ])],
    );
    let nan = read(b",nan\r\n", 1, Limits::default()).expect("well formed");
    assert!(matches!(nan[..], [Answer::Double(value)] if value.is_nan()));
}

#[test]
fn attributes_are_read_and_dropped() {
    check(
        "|1\r\n+ttl\r\n:3\r\n*2\r\n:1\r\n|1\r\n+a\r\n*1\r\n:9\r\n:2\r\n|0\r\n:5\r\n",
        &[
            Answer::Array(vec![Answer::Integer(1), Answer::Integer(2)]),
            Answer::Integer(5),
        ],
    );
}

#[test]
fn what_is_malformed_is_refused_at_its_byte() {
    let limits = Limits::default();
    refuse(
        "+OK\r\nhello\r\n",
        limits,
        "byte 5: expected the mark of a value, found 'h'",
    );
    refuse(
        "+OK\r\n:x\r\n",
        limits,
        "byte 5: expected an integer, found \"x\"",
    );
    refuse("+OK\n", limits, "CR LF");
    refuse("\n", limits, "CR LF");
    refuse("\r\n", limits, "expected a mark");
    refuse(
        "$3\r\nabcd\r\n",
        limits,
        "byte 4: expected CR LF behind a string",
    );
    refuse("$-2\r\n", limits, "expected a length");
    refuse("$?\r\n", limits, "expected a length");
    refuse("*1e3\r\n", limits, "expected a length");
    refuse("_x\r\n", limits, "nothing behind a null");
    refuse("#y\r\n", limits, "t or f");
    refuse(",1.5x\r\n", limits, "expected a double");
    refuse("(12a\r\n", limits, "expected a big number");
    refuse("=3\r\nabc\r\n", limits, "its format");
}

#[test]
fn what_is_too_much_is_refused_before_it_has_come() {
    let limits = Limits {
        line_bytes: 20,
        answer_bytes: 100,
        values: 6,
        depth: 2,
    };
    refuse("$101\r\n", limits, "at most 100 bytes in one answer");
    refuse("$9223372036854775807\r\n", limits, "at most 100 bytes");
    refuse("*7\r\n", limits, "at most 6 values");
    refuse("%4\r\n", limits, "at most 6 values");
    refuse("%9223372036854775807\r\n", limits, "at most 6 values");
    refuse("*1\r\n*1\r\n*0\r\n", limits, "at most 2 levels");
    refuse(
        "+aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        limits,
        "at most 20 bytes in a line",
    );
    refuse(
        "*2\r\n*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
        limits,
        "at most 6 values",
    );
    // Each answer has the limits for itself.
    let twice = "*2\r\n$20\r\naaaaaaaaaaaaaaaaaaaa\r\n$20\r\naaaaaaaaaaaaaaaaaaaa\r\n".repeat(3);
    assert_eq!(read(twice.as_bytes(), 5, limits).expect("within").len(), 3);
    refuse(
        "*2\r\n$40\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n$50\r\n",
        limits,
        "at most 100 bytes",
    );
}

#[test]
fn an_error_stays() {
    let mut reader = AnswerReader::new(Limits::default());
    reader.feed(b"?\r\n");
    let error = reader.next_answer().expect_err("no such mark");
    assert_eq!(error.problem, Problem::UnknownMark(b'?'));
    reader.feed(b"+OK\r\n");
    assert_eq!(reader.next_answer(), Err(error));
}

#[test]
fn garbage_ends_in_an_error_or_waits_for_more() {
    let mut random = Random::from_seed(11);
    let alphabet = b"+-:$*%~>|_#,(!=0123456789\r\n\r\n\r\nab";
    for _ in 0..20_000 {
        let length = random.below(40) as usize;
        let input: Vec<u8> = (0..length)
            .map(|_| alphabet[random.below(alphabet.len() as u64) as usize])
            .collect();
        let outcome = |piece: usize| {
            let mut reader = AnswerReader::new(Limits::default());
            let mut answers = Vec::new();
            for bytes in input.chunks(piece) {
                reader.feed(bytes);
                loop {
                    match reader.next_answer() {
                        Ok(Some(answer)) => answers.push(format!("{answer:?}")),
                        Ok(None) => break,
                        Err(error) => return (answers, Some(error)),
                    }
                }
            }
            (answers, None)
        };
        assert_eq!(
            outcome(1),
            outcome(40),
            "{:?}",
            input.escape_ascii().to_string()
        );
    }
}
