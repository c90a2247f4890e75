//! Sorted sets: scores, ranks and ranges.

use crate::support::dice::Dice;
use crate::support::server;
use crate::support::transcript::transcript;

#[test]
fn zadd_takes_its_options() {
    transcript(
        r#"
        > ZADD z 1 a 2 b 3 c
        :3
        > ZADD z 1 a 5 b
        :0
        > ZADD z CH 1 a 6 b 7 d
        :2
        > ZADD z NX 9 a 9 e
        :1
        > ZADD z XX 8 a 8 f
        :0
        > ZADD z XX CH 4 a
        :1
        > ZADD z GT CH 3 a
        :0
        > ZADD z GT CH 5 a
        :1
        > ZADD z LT CH 9 a
        :0
        > ZADD z LT CH 2 a
        :1
        > ZADD z INCR 3 a
        "5"
        > ZADD z NX INCR 3 a
        nil
        > ZADD z XX INCR 3 nope
        nil
        > ZADD z GT INCR -1 a
        nil
        > ZADD z LT INCR 1 a
        nil
        > ZADD z GT INCR 1 a
        "6"
        > ZADD z GT XX CH 100 a 100 nope
        :1
        > ZADD z GT 1 fresh
        :1
        > ZADD z NX XX 1 a
        -ERR XX and NX options at the same time are not compatible
        > ZADD z GT LT 1 a
        -ERR GT, LT, and/or NX options at the same time are not compatible
        > ZADD z NX GT 1 a
        -ERR GT, LT, and/or NX options at the same time are not compatible
        > ZADD z INCR 1 a 2 b
        -ERR INCR option supports a single increment-element pair
        > ZADD z 1
        -ERR wrong number of arguments for 'zadd' command
        > ZADD z NX
        -ERR wrong number of arguments for 'zadd' command
        > ZADD z x a
        -ERR value is not a valid float
        > ZADD z 1 a x b
        -ERR value is not a valid float
        > ZADD z nan a
        -ERR value is not a valid float
        > ZADD z inf i -inf j +inf k
        :3
        > ZADD z INCR -inf i
        -ERR resulting score is not a number (NaN)
        > ZADD z XX 1 nope
        :0
        > ZADD nokey XX 1 nope
        :0
        > EXISTS nokey
        :0
        > ZCARD z
        :9
        > ZCARD nokey
        :0
        "#,
    );
}

#[test]
fn scores_are_printed_with_the_digits_they_need() {
    transcript(
        r#"
        > ZADD z 1 a 1.5 b 0.1 c 3.0 d 1e20 e 1e21 f 1e22 g 1.1e-7 h -0 i 17179869184 j 123456789012345678 k 0.30000000000000004 l 5e-324 m 1.7976931348623157e308 n
        :14
        > ZRANGE z 0 -1 WITHSCORES
        ["i" "0" "m" "4.9406564584124654e-324" "h" "1.1000000000000001e-07" "c" "0.10000000000000001" "l" "0.30000000000000004" "a" "1" "b" "1.5" "d" "3" "j" "17179869184" "k" "1.2345678901234568e+17" "e" "1e+20" "f" "1e+21" "g" "1e+22" "n" "1.7976931348623157e+308"]
        > ZSCORE z c
        "0.10000000000000001"
        > ZMSCORE z a nope l
        ["1" nil "0.30000000000000004"]
        > ZSCORE z nope
        nil
        > ZSCORE nokey a
        nil
        > ZMSCORE nokey a
        [nil]
        > ZINCRBY z 0.2 c
        "0.30000000000000004"
        > ZINCRBY z 1 new
        "1"
        > ZINCRBY z x a
        -ERR value is not a valid float
        > ZINCRBY z nan a
        -ERR value is not a valid float
        > ZINCRBY z 1e400 a
        -ERR value is not a valid float
        > ZADD z inf p
        :1
        > ZINCRBY z -inf p
        -ERR resulting score is not a number (NaN)
        > ZADD z 0x10 q
        :1
        > ZSCORE z q
        "16"
        "#,
    );
}

#[test]
fn members_have_ranks_and_can_be_removed() {
    transcript(
        r#"
        > ZADD z 1 a 2 b 3 c 3 d
        :4
        > ZRANK z a
        :0
        > ZRANK z d
        :3
        > ZREVRANK z d
        :0
        > ZREVRANK z a
        :3
        > ZRANK z nope
        nil
        > ZREVRANK z nope
        nil
        > ZRANK nokey a
        nil
        > ZREM z a nope
        :1
        > ZREM nokey a
        :0
        > ZREM z b c d
        :3
        > EXISTS z
        :0
        > ZRANK z
        -ERR wrong number of arguments for 'zrank' command
        > ZREM z
        -ERR wrong number of arguments for 'zrem' command
        "#,
    );
}

#[test]
fn ranges_by_rank() {
    transcript(
        r#"
        > ZADD z 1 a 2 b 3 c 4 d
        :4
        > ZRANGE z 0 -1
        ["a" "b" "c" "d"]
        > ZRANGE z 1 2 WITHSCORES
        ["b" "2" "c" "3"]
        > ZRANGE z 0 1 REV
        ["d" "c"]
        > ZRANGE z -2 -1 REV WITHSCORES
        ["b" "2" "a" "1"]
        > ZRANGE z 5 9
        []
        > ZRANGE z 2 1
        []
        > ZRANGE nokey 0 -1
        []
        > ZREVRANGE z 0 1
        ["d" "c"]
        > ZREVRANGE z 0 -1 WITHSCORES
        ["d" "4" "c" "3" "b" "2" "a" "1"]
        > ZRANGE z 0 -1 LIMIT 0 1
        -ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
        > ZRANGE z a b
        -ERR value is not an integer or out of range
        > ZRANGE z 0 1 NOSUCH
        -ERR syntax error
        > ZRANGE z 0 1 BYLEX WITHSCORES
        -ERR syntax error, WITHSCORES not supported in combination with BYLEX
        > ZRANGE z 0 1 BYSCORE BYLEX
        -ERR syntax error
        > ZREVRANGE z 0 1 REV
        -ERR syntax error
        > ZREVRANGE z 0 1 BYSCORE
        -ERR syntax error
        > ZRANGE z 0
        -ERR wrong number of arguments for 'zrange' command
        "#,
    );
}

#[test]
fn ranges_by_score() {
    transcript(
        r#"
        > ZADD z -inf m 1 a 2 b 2 bb 3 c inf p
        :6
        > ZRANGE z 1 2 BYSCORE
        ["a" "b" "bb"]
        > ZRANGE z (1 (3 BYSCORE WITHSCORES
        ["b" "2" "bb" "2"]
        > ZRANGE z -inf +inf BYSCORE LIMIT 1 2
        ["a" "b"]
        > ZRANGE z +inf -inf BYSCORE REV LIMIT 1 2
        ["c" "bb"]
        > ZRANGE z 3 1 BYSCORE
        []
        > ZRANGE z 3 (1 BYSCORE REV WITHSCORES
        ["c" "3" "bb" "2" "b" "2"]
        > ZRANGEBYSCORE z 1 2
        ["a" "b" "bb"]
        > ZRANGEBYSCORE z (1 2 WITHSCORES
        ["b" "2" "bb" "2"]
        > ZRANGEBYSCORE z -inf inf LIMIT 1 -1
        ["a" "b" "bb" "c" "p"]
        > ZRANGEBYSCORE z -inf inf LIMIT 2 0
        []
        > ZRANGEBYSCORE z -inf inf LIMIT -1 5
        []
        > ZRANGEBYSCORE z -inf inf LIMIT 10 5
        []
        > ZRANGEBYSCORE z -inf inf WITHSCORES LIMIT 0 2
        ["m" "-inf" "a" "1"]
        > ZREVRANGEBYSCORE z 2 1
        ["bb" "b" "a"]
        > ZREVRANGEBYSCORE z 1 2
        []
        > ZREVRANGEBYSCORE z +inf (2 WITHSCORES LIMIT 0 2
        ["p" "inf" "c" "3"]
        > ZRANGEBYSCORE z a b
        -ERR min or max is not a float
        > ZRANGEBYSCORE z (a 1
        -ERR min or max is not a float
        > ZRANGEBYSCORE z nan 1
        -ERR min or max is not a float
        > ZRANGEBYSCORE z 1 2 LIMIT a 1
        -ERR value is not an integer or out of range
        > ZRANGEBYSCORE z 1 2 LIMIT 0
        -ERR syntax error
        > ZRANGEBYSCORE z 1 2 NOSUCH
        -ERR syntax error
        > ZRANGEBYSCORE z 1 2 REV
        -ERR syntax error
        > ZCOUNT z 1 2
        :3
        > ZCOUNT z (1 (3
        :2
        > ZCOUNT z -inf +inf
        :6
        > ZCOUNT z 3 1
        :0
        > ZCOUNT nokey 1 2
        :0
        > ZCOUNT z a 1
        -ERR min or max is not a float
        "#,
    );
}

#[test]
fn ranges_by_name() {
    transcript(
        r#"
        > ZADD z 0 a 0 b 0 c 0 d 0 aa
        :5
        > ZRANGE z - + BYLEX
        ["a" "aa" "b" "c" "d"]
        > ZRANGE z [b [c BYLEX
        ["b" "c"]
        > ZRANGE z (a (c BYLEX
        ["aa" "b"]
        > ZRANGE z + - BYLEX REV
        ["d" "c" "b" "aa" "a"]
        > ZRANGE z [c [a BYLEX REV LIMIT 1 2
        ["b" "aa"]
        > ZRANGEBYLEX z - [b
        ["a" "aa" "b"]
        > ZRANGEBYLEX z [aa +
        ["aa" "b" "c" "d"]
        > ZRANGEBYLEX z [c [a
        []
        > ZRANGEBYLEX z - + LIMIT 1 2
        ["aa" "b"]
        > ZREVRANGEBYLEX z + [b
        ["d" "c" "b"]
        > ZREVRANGEBYLEX z [c - LIMIT 0 1
        ["c"]
        > ZRANGEBYLEX z a b
        -ERR min or max not valid string range item
        > ZRANGEBYLEX z "" +
        -ERR min or max not valid string range item
        > ZRANGEBYLEX z [ +
        ["a" "aa" "b" "c" "d"]
        > ZRANGEBYLEX z -x +
        -ERR min or max not valid string range item
        > ZRANGEBYLEX z - + WITHSCORES
        -ERR syntax error, WITHSCORES not supported in combination with BYLEX
        > ZRANGEBYLEX nokey - +
        []
        > ZREMRANGEBYLEX z [a (b
        :2
        > ZRANGE z 0 -1
        ["b" "c" "d"]
        > ZREMRANGEBYLEX z - +
        :3
        > EXISTS z
        :0
        > ZREMRANGEBYLEX z - +
        :0
        > ZREMRANGEBYLEX z x y
        -ERR min or max not valid string range item
        "#,
    );
}

#[test]
fn ranges_are_removed() {
    transcript(
        r#"
        > ZADD z 1 a 2 b 3 c 4 d 5 e 6 f
        :6
        > ZREMRANGEBYRANK z 0 1
        :2
        > ZREMRANGEBYRANK z -1 -1
        :1
        > ZREMRANGEBYRANK z 5 9
        :0
        > ZREMRANGEBYRANK z a b
        -ERR value is not an integer or out of range
        > ZREMRANGEBYRANK nokey 0 1
        :0
        > ZRANGE z 0 -1
        ["c" "d" "e"]
        > ZREMRANGEBYSCORE z 3 (4
        :1
        > ZREMRANGEBYSCORE z 9 10
        :0
        > ZREMRANGEBYSCORE z a b
        -ERR min or max is not a float
        > ZREMRANGEBYSCORE nokey 0 1
        :0
        > ZRANGE z 0 -1
        ["d" "e"]
        > ZREMRANGEBYSCORE z -inf +inf
        :2
        > EXISTS z
        :0
        "#,
    );
}

#[test]
fn the_ends_are_popped() {
    transcript(
        r#"
        > ZADD z 1 a 2 b 3 c 4 d 5 e
        :5
        > ZPOPMIN z
        ["a" "1"]
        > ZPOPMAX z
        ["e" "5"]
        > ZPOPMIN z 2
        ["b" "2" "c" "3"]
        > ZPOPMAX z 0
        []
        > ZPOPMAX z 10
        ["d" "4"]
        > EXISTS z
        :0
        > ZPOPMIN z
        []
        > ZPOPMIN z 2
        []
        > ZADD z 1 a
        :1
        > ZPOPMIN z -1
        -ERR value is out of range, must be positive
        > ZPOPMIN z x
        -ERR value is out of range, must be positive
        > ZPOPMIN z 1 2
        -ERR syntax error
        "#,
    );
}

#[test]
fn a_sorted_set_changes_its_encoding_at_its_limits() {
    transcript(
        r#"
        > CONFIG SET zset-max-listpack-entries 3 zset-max-listpack-value 5
        +OK
        > ZADD z 1 a 2 b 3 c
        :3
        > OBJECT ENCODING z
        "listpack"
        > ZADD z 4 d
        :1
        > OBJECT ENCODING z
        "skiplist"
        > ZADD y 1 12345
        :1
        > OBJECT ENCODING y
        "listpack"
        > ZADD y 1 123456
        :1
        > OBJECT ENCODING y
        "skiplist"
        > ZRANGE z 0 -1 WITHSCORES
        ["a" "1" "b" "2" "c" "3" "d" "4"]
        "#,
    );
}

#[test]
fn sorted_sets_are_wrong_for_commands_of_other_types() {
    transcript(
        r#"
        > SET k v
        +OK
        > ZADD k 1 a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZADD k INCR 1 a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZREM k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZSCORE k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZMSCORE k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZINCRBY k 1 a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZCARD k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZCOUNT k 0 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZRANK k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZREVRANK k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZRANGE k 0 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZRANGEBYSCORE k 0 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZRANGEBYLEX k - +
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZREVRANGE k 0 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZPOPMIN k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZPOPMAX k 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZREMRANGEBYRANK k 0 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZREMRANGEBYSCORE k 0 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZREMRANGEBYLEX k - +
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZSCAN k 0
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZADD z 1 a
        :1
        > GET z
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SADD z a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LPUSH z a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HSET z a 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn ranks_and_order_hold_in_a_large_sorted_set() {
    let server = server::sluice().start();
    let mut client = server.client();
    let mut dice = Dice::new(11);
    let mut model: Vec<(i64, String)> = Vec::new();
    let mut commands = Vec::new();
    for number in 0..5000 {
        let (score, member) = (dice.between(-300, 300), format!("m{number:04}"));
        commands.push(vec![
            "ZADD".to_string(),
            "z".into(),
            score.to_string(),
            member.clone(),
        ]);
        model.push((score, member));
    }
    client.pipeline(&commands);
    model.sort();
    let members: Vec<&String> = model.iter().map(|(_, member)| member).collect();
    assert!(
        client
            .must("ZRANGE z 0 -1")
            .texts()
            .iter()
            .eq(members.iter().copied())
    );
    for place in [0, 1, 777, 2500, 4999] {
        let (score, member) = &model[place];
        assert_eq!(
            client.must(&format!("ZRANK z {member}")).integer(),
            place as i64
        );
        assert_eq!(
            client.must(&format!("ZREVRANK z {member}")).integer(),
            4999 - place as i64
        );
        assert_eq!(client.must(&format!("ZSCORE z {member}")).integer(), *score);
        assert_eq!(
            &client.must(&format!("ZRANGE z {place} {place}")).texts()[0],
            member
        );
    }
    let below = model.iter().filter(|(score, _)| *score < 17).count();
    assert_eq!(client.must("ZCOUNT z -inf (17").integer(), below as i64);
    assert_eq!(
        client.must("ZREMRANGEBYSCORE z -inf (17").integer(),
        below as i64
    );
    assert_eq!(client.must("ZCARD z").integer(), 5000 - below as i64);
}
