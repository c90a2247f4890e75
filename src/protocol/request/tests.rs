//! Requests whole and in pieces, well-formed and not.

use super::*;
use crate::random::Random;

/// Feeds `stream` in pieces as a connection would and returns all requests and the error that ended it.
fn feed(
    stream: &[u8],
    mut piece: impl FnMut() -> usize,
) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let mut parser = Parser::default();
    let (mut kept, mut all, mut at) = (Vec::new(), Vec::new(), 0);
    while at < stream.len() {
        let end = (at + piece().max(1)).min(stream.len());
        if let Some((buffer, missing)) = parser.receiving() {
            let take = missing.min(end - at);
            buffer.extend_from_slice(&stream[at..at + take]);
            at += take;
        } else {
            kept.extend_from_slice(&stream[at..end]);
            at = end;
        }
        let (parsed, error) = parser.parse(&kept, Limits::default());
        for argv in parser.requests(&kept) {
            all.push(argv.iter().map(<[u8]>::to_vec).collect());
        }
        if error.is_some() {
            return (all, error);
        }
        kept.truncate(parsed.keep);
        kept.drain(..parsed.consumed);
    }
    (all, None)
}

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[test]
fn any_chunking_gives_the_same_requests() {
    for seed in 0..60 {
        let mut random = Random::from_seed(seed);
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            let words: Vec<Vec<u8>> = (0..1 + random.below(5))
                .map(|_| {
                    let length = match random.below(12) {
                        0 => BIG_ARGUMENT_BYTES as u64 + random.below(100_000),
                        1 => BIG_ARGUMENT_BYTES as u64 - 1 + random.below(3),
                        _ => random.below(30),
                    };
                    (0..length).map(|_| random.next_u64() as u8).collect()
                })
                .collect();
            let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            stream.extend(request(&slices));
            expected.push(words);
            if random.chance(1, 5) {
                stream.extend_from_slice(b"\r\n");
            }
        }
        let most = [3, 100, 5_000, 300_000][seed as usize % 4];
        let most = if most == 3 && stream.len() > 200_000 {
            1_000
        } else {
            most
        };
        let (found, error) = feed(&stream, || random.below(most) as usize);
        assert_eq!(error, None, "seed {seed}");
        assert!(found == expected, "seed {seed}");
    }
}

#[test]
fn inline_requests_are_split_and_unescaped() {
    let (found, _) = feed(b"SET k \"a\\x41\\n b\"\r\n\r\nGET 'it\\'s'\n", || 7);
    assert_eq!(
        found,
        [
            vec![b"SET".to_vec(), b"k".to_vec(), b"aA\n b".to_vec()],
            vec![b"GET".to_vec(), b"it's".to_vec()],
        ]
    );
    assert_eq!(
        feed(b"GET \"open\r\n", || 50).1,
        Some(ProtocolError::UnbalancedQuotes)
    );
    assert_eq!(
        feed(b"GET \"a\"b\r\n", || 50).1,
        Some(ProtocolError::UnbalancedQuotes)
    );
}

#[test]
fn bad_headers_end_the_connection_with_their_reason() {
    let cases: [(&[u8], ProtocolError); 7] = [
        (b"*x\r\n", ProtocolError::InvalidCount),
        (b"*2147483648\r\n", ProtocolError::InvalidCount),
        (b"*1\r\nx", ProtocolError::ExpectedDollar(b'x')),
        (b"*1\r\n$-1\r\n", ProtocolError::InvalidLength),
        (b"*1\r\n$536870913\r\n", ProtocolError::InvalidLength),
        (b"*1\r\n$x\r\n", ProtocolError::InvalidLength),
        (&[b'a'; LINE_BYTES_MAX + 10], ProtocolError::InlineTooBig),
    ];
    for (bytes, expected) in cases {
        assert_eq!(feed(bytes, || 1_000_000).1, Some(expected));
    }
    let mut parser = Parser::default();
    let strict = Limits {
        authenticated: false,
        ..Limits::default()
    };
    assert_eq!(
        parser.parse(b"*11\r\n", strict).1,
        Some(ProtocolError::UnauthenticatedCount)
    );
    assert_eq!(
        parser.parse(b"*1\r\n$16385\r\n", strict).1,
        Some(ProtocolError::UnauthenticatedLength)
    );
}

#[test]
fn a_claimed_length_reserves_little() {
    let mut parser = Parser::default();
    parser.parse(b"*1\r\n$500000000\r\nabc", Limits::default());
    let (buffer, missing) = parser
        .receiving()
        .expect("a big argument is being received");
    assert_eq!(missing, 500_000_002 - 3);
    assert!(buffer.capacity() <= 2 * BIG_RESERVATION_BYTES);
}

#[test]
fn random_bytes_never_panic() {
    let alphabet = b"*$0123456789\r\n abc\"'\\x-";
    for seed in 0..3000 {
        let mut random = Random::from_seed(seed);
        let bytes: Vec<u8> = (0..random.below(60))
            .map(|_| alphabet[random.below(alphabet.len() as u64) as usize])
            .collect();
        feed(&bytes, || random.below(9) as usize);
    }
}

#[test]
fn an_owned_request_keeps_words_and_shared_buffers() {
    let owned = OwnedRequest::new([&b"GET"[..], b"", b"k"]);
    let again = OwnedRequest::from(owned.argv().skip(1));
    assert_eq!(again.argv().iter().collect::<Vec<_>>(), [&b""[..], b"k"]);
    assert_eq!(again.argv().payload_bytes(), 1);
}
