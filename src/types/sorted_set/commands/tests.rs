//! What the commands of sorted sets answer in both versions of the protocol, count as changes, and announce. Every line was
//! tried on redis 7.0.15.

use crate::clock::{Clock, UnixMillis};
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::spec::Run;
use crate::engine::table;
use crate::engine::trial::Trial;
use crate::protocol::reply::{Reply, ReplyBuffer, Resp};
use crate::protocol::request::OwnedRequest;
use crate::random::Random;

struct Server {
    engine: Engine,
    resp: Resp,
}

impl Server {
    fn new(resp: Resp) -> Self {
        let clock = Clock::manual(UnixMillis(1_700_000_000_000));
        let engine = Engine::new(Config::default(), clock, Random::from_seed(1));
        Server { engine, resp }
    }

    /// The reply with spaces for line ends.
    fn call(&mut self, call: &str) -> String {
        let request = OwnedRequest::new(call.split(' ').map(str::as_bytes));
        let argv = request.argv();
        let command = table::lookup(argv).command(argv).expect("a command");
        let Run::OnData(run) = command.spec.run else {
            panic!("{call} is not about data")
        };
        let mut buffer = ReplyBuffer::default();
        let (expiry, access) = (self.engine.expiry_rule(), self.engine.access_rule());
        let mut data = self.engine.data(0, expiry, access);
        let mark = buffer.mark();
        if let Err(refusal) = run(&mut data, argv, &mut Reply::new(&mut buffer, self.resp)) {
            buffer.rewind(mark);
            Reply::new(&mut buffer, self.resp).error(refusal.text());
        }
        let reply = String::from_utf8(buffer.to_vec()).expect("text");
        reply.trim_end().replace("\r\n", " ")
    }
}

/// Calls with their replies.
fn check(resp: Resp, lines: &[(&str, &str)]) {
    let mut server = Server::new(resp);
    for (call, reply) in lines {
        assert_eq!(server.call(call), *reply, "{call}");
    }
}

#[test]
fn scores_are_strings_in_resp2() {
    check(
        Resp::Two,
        &[
            ("zadd z 1 a 2.5 b inf c", ":3"),
            ("zscore z b", "$3 2.5"),
            ("zscore z x", "$-1"),
            ("zmscore z a x", "*2 $1 1 $-1"),
            ("zincrby z 1 a", "$1 2"),
            ("zadd z XX INCR 1 x", "$-1"),
            ("zadd z CH 7 a 8 d", ":2"),
            ("zrange z 0 1 WITHSCORES", "*4 $1 b $3 2.5 $1 a $1 7"),
            ("zrank z d WITHSCORE", "*2 :2 $1 8"),
            ("zrank z x WITHSCORE", "*-1"),
            ("zrevrank z d", ":1"),
            ("zscan z 0 MATCH [ab]", "*2 $1 0 *4 $1 b $3 2.5 $1 a $1 7"),
            ("zpopmax z", "*2 $1 c $3 inf"),
            (
                "zmpop 2 x z MIN COUNT 2",
                "*2 $1 z *2 *2 $1 b $3 2.5 *2 $1 a $1 7",
            ),
            ("zmpop 1 x MIN", "*-1"),
            ("zunion 1 z WITHSCORES", "*2 $1 d $1 8"),
            ("zpopmin z 5", "*2 $1 d $1 8"),
            ("zpopmin z 5", "*0"),
        ],
    );
}

#[test]
fn scores_are_doubles_beside_their_members_in_resp3() {
    check(
        Resp::Three,
        &[
            ("zadd z 1 a 2.5 b inf c", ":3"),
            ("zscore z b", ",2.5"),
            ("zscore z x", "_"),
            ("zmscore z a x", "*2 ,1 _"),
            ("zincrby z 1 a", ",2"),
            ("zadd z XX INCR 1 x", "_"),
            ("zrange z 0 1", "*2 $1 a $1 b"),
            ("zrange z 0 1 WITHSCORES", "*2 *2 $1 a ,2 *2 $1 b ,2.5"),
            (
                "zrandmember z 9 WITHSCORES",
                "*3 *2 $1 c ,inf *2 $1 b ,2.5 *2 $1 a ,2",
            ),
            ("zrank z x WITHSCORE", "_"),
            (
                "zscan z 0 COUNT 1",
                "*2 $1 0 *6 $1 a $1 2 $1 b $3 2.5 $1 c $3 inf",
            ),
            ("zpopmax z", "*2 $1 c ,inf"),
            ("zmpop 1 z MIN", "*2 $1 z *1 *2 $1 a ,2"),
            ("zinter 2 z z WITHSCORES", "*1 *2 $1 b ,5"),
            ("zpopmin z 5", "*1 *2 $1 b ,2.5"),
            ("zpopmin z", "*0"),
            ("zmpop 1 z MIN", "_"),
        ],
    );
}

#[test]
fn changes_are_counted_and_announced_as_redis_does() {
    let mut trial = Trial::new();
    trial.check(&[
        ("zadd z 1 a 2 b 3 c 4 d 5 e 6 f", "zadd z", 6),
        ("zadd z 1 a 3 b 9 g", "zadd z", 2),
        ("zadd z NX 7 a", "", 0),
        ("zincrby z 0 a", "", 0),
        ("zincrby z 1 a", "zincr z", 1),
        ("zadd z INCR 1 a", "zincr z", 1),
        ("zpopmin z 2", "zpopmin z", 2),
        ("zpopmax z 0", "", 0),
        ("zrem z g x", "zrem z", 1),
        ("zrem x y", "", 0),
        ("zremrangebyrank z 0 0", "zremrangebyrank z", 1),
        ("zrangestore y z 0 -1", "zrangestore y", 1),
        ("zrangestore y z 7 8", "del y", 1),
        ("zrangestore y z 7 8", "", 0),
        ("zunionstore y 2 z x", "zunionstore y", 1),
        ("zinterstore y 2 z x", "del y", 1),
        ("zdiffstore y 2 z x", "zdiffstore y", 1),
        ("zpopmin z", "zpopmin z", 1),
        ("zremrangebyscore z 0 1", "", 0),
        (
            "zremrangebyscore z -inf +inf",
            "zremrangebyscore z, del z",
            2,
        ),
        ("zremrangebylex y - +", "zremrangebylex y, del y", 3),
        ("zadd z 1 a", "zadd z", 1),
        ("zpopmax z 9", "zpopmax z, del z", 1),
        ("zadd z 1 a", "zadd z", 1),
        ("zrem z a b", "zrem z, del z", 1),
    ]);
    assert!(trial.engine.keyspace.is_empty());
}

#[test]
fn zmpop_is_recorded_as_what_it_popped() {
    let mut trial = Trial::new();
    trial.run("zadd z 1 a 2 b 3 c");
    let mut popped = |request: &str| {
        let done = trial.run(request);
        (done.events, done.effect.unwrap_or_default())
    };
    assert_eq!(
        popped("zmpop 2 x z MAX COUNT 2"),
        ("zpopmax z".into(), "ZPOPMAX z 2".into())
    );
    assert_eq!(
        popped("zmpop 1 z MIN COUNT 9"),
        ("zpopmin z, del z".into(), "ZPOPMIN z 1".into())
    );
    assert_eq!(popped("zmpop 1 z MIN"), (String::new(), String::new()));
}

#[test]
fn a_score_that_would_be_no_number_changes_nothing() {
    check(
        Resp::Two,
        &[
            ("zadd z inf a", ":1"),
            (
                "zincrby z -inf a",
                "-ERR resulting score is not a number (NaN)",
            ),
            (
                "zadd z INCR -inf a",
                "-ERR resulting score is not a number (NaN)",
            ),
            ("zscore z a", "$3 inf"),
            ("zadd z nan b", "-ERR value is not a valid float"),
            ("zadd z 1 b x c", "-ERR value is not a valid float"),
            ("zcard z", ":1"),
            ("zunion 2 z z WEIGHTS 1 -1 WITHSCORES", "*2 $1 a $1 0"),
        ],
    );
}

#[test]
fn draws_differ_unless_repetition_is_asked_for() {
    let mut server = Server::new(Resp::Two);
    for number in 0..300 {
        server.call(&format!("zadd z {number} m{number:03}"));
    }
    for count in [1, 5, 100, 299, 300] {
        let reply = server.call(&format!("zrandmember z {count}"));
        let mut members: Vec<&str> = reply
            .split(' ')
            .filter(|word| word.starts_with('m'))
            .collect();
        members.sort_unstable();
        members.dedup();
        assert_eq!(members.len(), count);
    }
    let reply = server.call("zrandmember z -900");
    assert_eq!(
        reply
            .split(' ')
            .filter(|word| word.starts_with('m'))
            .count(),
        900
    );
    assert_ne!(
        server.call("zrandmember z -9"),
        server.call("zrandmember z -9")
    );
    for (call, refusal) in [
        (
            "zrandmember z x",
            "-ERR value is not an integer or out of range",
        ),
        (
            "zrandmember z -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ),
        (
            "zrandmember z 9223372036854775807 WITHSCORES",
            "-ERR value is out of range",
        ),
        ("zrandmember z 1 SCORES", "-ERR syntax error"),
    ] {
        assert_eq!(server.call(call), refusal);
    }
}

#[test]
fn a_set_counts_as_a_sorted_set_whose_scores_are_one() {
    check(
        Resp::Two,
        &[
            ("sadd s a 7", ":2"),
            ("zadd z 2 a 3 b", ":2"),
            (
                "zunion 2 z s WEIGHTS 1 10 WITHSCORES",
                "*6 $1 b $1 3 $1 7 $2 10 $1 a $2 12",
            ),
            ("zinter 2 s z AGGREGATE MIN WITHSCORES", "*2 $1 a $1 1"),
            ("zdiff 2 s z WITHSCORES", "*2 $1 7 $1 1"),
            ("zintercard 2 s z", ":1"),
            ("zunionstore s 1 s", ":2"),
            ("zscore s 7", "$1 1"),
        ],
    );
}
