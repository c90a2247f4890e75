//! Random commands that mostly make sense: each command's syntax, and what may stand in its places.
//!
//! A template is the syntax as a reference page would print it. `(a|b)` takes one, `[a]` is there or not, `{a}` stands one to
//! four times, `<place>` is filled from the table in [`fill`]. One command in ten is then bent: a word dropped, added or
//! replaced by an edge. Times are far away or long past, so that nothing expires between two servers by accident.

use crate::support::dice::Dice;

pub type Words = Vec<Vec<u8>>;

/// Name of the connection and the words sent on it. A name that begins with `!` is work for the runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub connection: usize,
    pub words: Words,
}

pub const TEMPLATES: &[&str] = &[
    // Strings.
    "SET <s> <v> [(NX|XX)] [GET] [(EX <seconds>|PX <millis>|EXAT <at>|PXAT <atms>|KEEPTTL)]",
    "SET <s> <v>",
    "SET <s> <i>",
    "GET <s>",
    "GETSET <s> <v>",
    "GETDEL <s>",
    "GETEX <s> [(EX <seconds>|PX <millis>|EXAT <at>|PXAT <atms>|PERSIST)]",
    "SETNX <s> <v>",
    "SETEX <s> <seconds> <v>",
    "PSETEX <s> <millis> <v>",
    "MSET {<s> <v>}",
    "MSETNX {<s> <v>}",
    "MGET {<k>}",
    "APPEND <s> <v>",
    "STRLEN <s>",
    "SETRANGE <s> <offset> <v>",
    "GETRANGE <s> <index> <index>",
    "SUBSTR <s> <index> <index>",
    "INCR <s>",
    "DECR <s>",
    "INCRBY <s> <i>",
    "DECRBY <s> <i>",
    "INCRBYFLOAT <s> <f>",
    "LCS <s> <s> [LEN] [IDX] [MINMATCHLEN <n>] [WITHMATCHLEN]",
    // Lists.
    "LPUSH <l> {<m>}",
    "RPUSH <l> {<m>}",
    "RPUSH <l> {<v>}",
    "LPUSHX <l> {<m>}",
    "RPUSHX <l> {<m>}",
    "LPOP <l> [<n>]",
    "RPOP <l> [<n>]",
    "LLEN <l>",
    "LRANGE <l> <index> <index>",
    "LINDEX <l> <index>",
    "LSET <l> <index> <m>",
    "LREM <l> <index> <m>",
    "LTRIM <l> <index> <index>",
    "LINSERT <l> (BEFORE|AFTER) <m> <m>",
    "LMOVE <l> <l> (LEFT|RIGHT) (LEFT|RIGHT)",
    "RPOPLPUSH <l> <l>",
    "LPOS <l> <m> [RANK <index>] [COUNT <n>] [MAXLEN <n>]",
    "LMPOP 1 <l> (LEFT|RIGHT) [COUNT <n>]",
    "LMPOP 2 <l> <l> (LEFT|RIGHT) [COUNT <n>]",
    // Sets.
    "SADD <t> {<m>}",
    "SADD <t> {<i>}",
    "SADD <t> {<v>}",
    "SREM <t> {<m>}",
    "SMOVE <t> <t> <m>",
    "SPOP <t> [<n>]",
    "SCARD <t>",
    "SISMEMBER <t> <m>",
    "SMISMEMBER <t> {<m>}",
    "SMEMBERS <t>",
    "SRANDMEMBER <t> [<draws>]",
    "SINTER {<t>}",
    "SUNION {<t>}",
    "SDIFF {<t>}",
    "SINTERSTORE <t> {<t>}",
    "SUNIONSTORE <t> {<t>}",
    "SDIFFSTORE <t> {<t>}",
    "SINTERCARD 1 <t> [LIMIT <n>]",
    "SINTERCARD 2 <t> <t> [LIMIT <n>]",
    "SINTERCARD <n> {<t>}",
    "SSCAN <t> 0 COUNT 10000 [MATCH <pattern>]",
    // Hashes.
    "HSET <h> {<m> <v>}",
    "HSET <h> {<m> <i>}",
    "HMSET <h> {<m> <v>}",
    "HSETNX <h> <m> <v>",
    "HGET <h> <m>",
    "HMGET <h> {<m>}",
    "HGETALL <h>",
    "HKEYS <h>",
    "HVALS <h>",
    "HLEN <h>",
    "HSTRLEN <h> <m>",
    "HEXISTS <h> <m>",
    "HDEL <h> {<m>}",
    "HINCRBY <h> <m> <i>",
    "HINCRBYFLOAT <h> <m> <f>",
    "HRANDFIELD <h> [<draws> [WITHVALUES]]",
    "HSCAN <h> 0 COUNT 10000 [MATCH <pattern>]",
    // Sorted sets.
    "ZADD <z> [(NX|XX)] [(GT|LT)] [CH] [INCR] {<score> <m>}",
    "ZADD <z> {<score> <m>}",
    "ZADD <z> <score> <v>",
    "ZADD <y> {0 <m>}",
    "ZADD <z> [(NX|XX|GT|LT)] INCR <score> <m>",
    "ZREM <z> {<m>}",
    "ZSCORE <z> <m>",
    "ZMSCORE <z> {<m>}",
    "ZINCRBY <z> <score> <m>",
    "ZCARD <z>",
    "ZCOUNT <z> <bound> <bound>",
    "ZRANK <z> <m>",
    "ZREVRANK <z> <m>",
    "ZRANGE <z> <index> <index> [REV] [WITHSCORES]",
    "ZRANGE <z> <bound> <bound> BYSCORE [REV] [LIMIT <index> <index>] [WITHSCORES]",
    "ZRANGE <y> <lex> <lex> BYLEX [REV] [LIMIT <index> <index>]",
    "ZREVRANGE <z> <index> <index> [WITHSCORES]",
    "ZRANGEBYSCORE <z> <bound> <bound> [WITHSCORES] [LIMIT <index> <index>]",
    "ZREVRANGEBYSCORE <z> <bound> <bound> [WITHSCORES] [LIMIT <index> <index>]",
    "ZRANGEBYLEX <y> <lex> <lex> [LIMIT <index> <index>]",
    "ZREVRANGEBYLEX <y> <lex> <lex> [LIMIT <index> <index>]",
    "ZPOPMIN <z> [<n>]",
    "ZPOPMAX <z> [<n>]",
    "ZREMRANGEBYRANK <z> <index> <index>",
    "ZREMRANGEBYSCORE <z> <bound> <bound>",
    "ZREMRANGEBYLEX <y> <lex> <lex>",
    "ZRANDMEMBER <z> [<index> [WITHSCORES]]",
    "ZLEXCOUNT <y> <lex> <lex>",
    "ZRANGESTORE <z> <z> <index> <index> [REV]",
    "ZRANGESTORE <z> <z> <bound> <bound> BYSCORE [REV] [LIMIT <index> <index>]",
    "ZRANGESTORE <y> <y> <lex> <lex> BYLEX [REV] [LIMIT <index> <index>]",
    "ZMPOP 1 <z> (MIN|MAX) [COUNT <n>]",
    "ZMPOP 2 <z> <z> (MIN|MAX) [COUNT <n>]",
    "(ZUNION|ZINTER) 2 (<z>|<t>) <z> [WEIGHTS <score> <score>] [AGGREGATE (SUM|MIN|MAX)] [WITHSCORES]",
    "(ZUNION|ZINTER) <n> {<z>} [WITHSCORES]",
    "ZDIFF 2 <z> (<z>|<t>) [WITHSCORES]",
    "ZDIFF <n> {<z>}",
    "(ZUNIONSTORE|ZINTERSTORE) <z> 2 <z> (<z>|<t>) [WEIGHTS <score> <score>] [AGGREGATE (SUM|MIN|MAX)]",
    "ZDIFFSTORE <z> 2 <z> <z>",
    "ZINTERCARD 2 <z> <z> [LIMIT <n>]",
    "ZSCAN <z> 0 COUNT 10000 [MATCH <pattern>]",
    // Keys.
    "DEL {<k>}",
    "UNLINK {<k>}",
    "EXISTS {<k>}",
    "TYPE <k>",
    "TOUCH {<k>}",
    "RENAME <k> <k>",
    "RENAMENX <k> <k>",
    "COPY <k> <k> [DB <db>] [REPLACE]",
    "MOVE <k> <db>",
    "EXPIRE <k> <seconds> [(NX|XX|GT|LT)] [(NX|XX|GT|LT)]",
    "PEXPIRE <k> <millis> [(NX|XX|GT|LT)]",
    "EXPIREAT <k> <at> [(NX|XX|GT|LT)]",
    "PEXPIREAT <k> <atms> [(NX|XX|GT|LT)]",
    "TTL <k>",
    "PTTL <k>",
    "EXPIRETIME <k>",
    "PEXPIRETIME <k>",
    "PERSIST <k>",
    "KEYS <pattern>",
    "RANDOMKEY",
    "DBSIZE",
    "SCAN 0 COUNT 10000 [MATCH <pattern>] [TYPE (string|list|set|hash|zset|stream)]",
    "OBJECT ENCODING <k>",
    "OBJECT REFCOUNT <k>",
    "OBJECT FREQ <k>",
    "OBJECT IDLETIME <k>",
    "MEMORY USAGE <k> [SAMPLES <n>]",
    "DUMP <k>",
    "RESTORE <k> <millis> <v> [REPLACE] [ABSTTL] [IDLETIME <n>] [FREQ <n>]",
    "!CROSSDUMP <k> <k> <restored> [REPLACE] [REPLACE] [IDLETIME <n>] [FREQ <n>]",
    "!CROSSDUMP <k> <k> <atms> ABSTTL [REPLACE]",
    // Databases and connections.
    "SELECT <db>",
    "SELECT 0",
    "SELECT 0",
    "SWAPDB <db> <db>",
    "ECHO <v>",
    "PING [<v>]",
    "HELLO (2|3)",
    "RESET",
    "PUBLISH <m> <v>",
    "PUBSUB (NUMPAT|CHANNELS [<pattern>]|NUMSUB {<m>})",
    "CLIENT (GETNAME|SETNAME <m>|ID|INFO|NO-EVICT (ON|OFF|x)|REPLY ON|UNBLOCK <i>|KILL ID 99999|LIST ID 99999|KILL <m>)",
    "CONFIG GET (maxmemory*|save|hash-max-*|list-max-listpack-size|nosuch)",
    "COMMAND (GETKEYS|GETKEYSANDFLAGS) (SET <k> <v>|MSET {<k> <v>}|ZUNIONSTORE <z> <n> {<z>}|COPY <k> <k>|DEL {<k>})",
    "COMMAND (GETKEYS|GETKEYSANDFLAGS) (GET <k> [GET]|LMPOP <n> {<k>}|SMOVE <t> <t> <m>|WAIT 0 0|<m> <m>|OBJECT FREQ <k>)",
    "WAIT 0 0",
    "(TIME|LASTSAVE|ROLE)",
    "SLOWLOG (LEN|GET 0|GET <i>)",
    "AUTH [default] <m>",
    // Transactions.
    "MULTI",
    "EXEC",
    "EXEC",
    "EXEC",
    "DISCARD",
    "WATCH {<k>}",
    "UNWATCH",
];

/// Commands that appear seldom, because they end what the others have built.
pub const RARE_TEMPLATES: &[&str] = &[
    "FLUSHDB [(SYNC|ASYNC)]",
    "FLUSHALL [(SYNC|ASYNC)]",
    "DEBUG RELOAD",
];

/// Few commands on few keys, so that watching, expiring and moving meet each other.
pub const TRANSACTION_TEMPLATES: &[&str] = &[
    "WATCH {<k>}",
    "WATCH <k>",
    "WATCH <s>",
    "UNWATCH",
    "MULTI",
    "MULTI",
    "MULTI",
    "EXEC",
    "EXEC",
    "EXEC",
    "EXEC",
    "DISCARD",
    "RESET",
    "HELLO (2|3)",
    "SET <s> <i>",
    "SET <s> <v> (KEEPTTL|XX|NX|GET|EX 1000000|PXAT 1)",
    "INCR <s>",
    "GET <s>",
    "MGET {<k>}",
    "DEL <k>",
    "RPUSH <l> <m>",
    "LPOP <l>",
    "SADD <t> <m>",
    "SREM <t> <m>",
    "HDEL <h> <m>",
    "HSET <h> <m> <v>",
    "ZADD <z> <score> <m>",
    "TOUCH <k>",
    "EXISTS <k>",
    "TYPE <k>",
    "TTL <k>",
    "PEXPIRE <k> <millis> [(NX|XX|GT|LT)]",
    "PERSIST <k>",
    "GETEX <s> (PERSIST|EX 1000000|PXAT 1)",
    "RENAME <k> <k>",
    "RENAMENX <k> <k>",
    "COPY <k> <k> [DB <db>] [REPLACE]",
    "MOVE <k> <db>",
    "SELECT <db>",
    "SELECT 0",
    "SWAPDB <db> <db>",
    "FLUSHDB",
    "FLUSHALL",
    "PUBLISH <m> <v>",
    "NOSUCH <k>",
    "KEYS *",
    "SCAN 0 COUNT 10000",
    "OBJECT ENCODING <k>",
    "!LAPSE <k>",
    "!LAPSE <s>",
];

pub struct Grammar {
    /// Stands in for every key, where it is set.
    pub key: Option<&'static str>,
    /// How many steps in a hundred are taken by the second connection.
    pub others_share: u64,
    templates: Vec<&'static str>,
    rare: &'static [&'static str],
}

impl Grammar {
    /// All templates whose command `is_there`.
    pub fn new(is_there: impl Fn(&str) -> bool) -> Grammar {
        let known = |template: &&&str| {
            let mut names = names(template);
            names.all(|name| name.starts_with('!') || is_there(name))
        };
        Grammar {
            key: None,
            others_share: 15,
            templates: TEMPLATES.iter().filter(known).copied().collect(),
            rare: RARE_TEMPLATES,
        }
    }

    /// Only these templates, by two connections that are equally busy.
    pub fn of(templates: &[&'static str]) -> Grammar {
        Grammar {
            key: None,
            others_share: 40,
            templates: templates.to_vec(),
            rare: &[],
        }
    }

    /// Without the commands whose name is on the list.
    pub fn without(mut self, unwanted: &[&str]) -> Grammar {
        self.templates
            .retain(|template| !names(template).any(|name| unwanted.contains(&name)));
        self.rare = &[];
        self
    }

    pub fn with(mut self, templates: &[&'static str]) -> Grammar {
        self.templates.extend(templates);
        self
    }

    pub fn step(&self, dice: &mut Dice) -> Step {
        let template = if dice.below(400) == 0 && !self.rare.is_empty() {
            dice.pick(self.rare)
        } else {
            dice.pick(&self.templates)
        };
        let mut words = self.words(template, dice);
        if dice.chance(10) && !words[0].starts_with(b"!") {
            bend(&mut words, dice);
        }
        Step {
            connection: usize::from(dice.chance(self.others_share)),
            words,
        }
    }

    pub fn words(&self, template: &str, dice: &mut Dice) -> Words {
        let mut words = Vec::new();
        self.expand(template, dice, &mut words);
        words
    }

    fn expand(&self, template: &str, dice: &mut Dice, words: &mut Words) {
        let mut rest = template.trim();
        while !rest.is_empty() {
            let end = match rest.as_bytes()[0] {
                b'(' | b'[' | b'{' => closing(rest) + 1,
                _ => rest.find(' ').unwrap_or(rest.len()),
            };
            let (item, behind) = rest.split_at(end);
            let inside = || &item[1..item.len() - 1];
            match item.as_bytes()[0] {
                b'(' => {
                    let choices = alternatives(inside());
                    self.expand(dice.pick(&choices), dice, words);
                }
                b'[' => {
                    if dice.chance(35) {
                        self.expand(inside(), dice, words);
                    }
                }
                b'{' => {
                    let times = if dice.below(30) == 0 {
                        40
                    } else {
                        1 + dice.below(4)
                    };
                    for _ in 0..times {
                        self.expand(inside(), dice, words);
                    }
                }
                b'<' => words.push(self.fill(inside(), dice)),
                b'!' => words.push(item.as_bytes().to_vec()),
                _ => words.push(in_some_case(item, dice)),
            }
            rest = behind.trim_start();
        }
    }

    fn fill(&self, place: &str, dice: &mut Dice) -> Vec<u8> {
        let text = match place {
            "k" | "s" | "l" | "t" | "h" | "z" | "y" => self.key(place, dice),
            "v" => return value(dice),
            "m" => match dice.below(8) {
                0 => edge(dice),
                1 => dice.between(0, 300).to_string(),
                _ => dice
                    .pick(&["a", "b", "c", "d", "e", "1", "2", "10", "-3", "aa", "ab"])
                    .to_string(),
            },
            "i" => match dice.below(3) {
                0 => edge(dice),
                _ => dice.between(-100, 100).to_string(),
            },
            "n" => match dice.below(12) {
                0 => edge(dice),
                _ => dice.between(0, 5).to_string(),
            },
            "index" => match dice.below(10) {
                0 => edge(dice),
                1 => dice.between(-1000, 1000).to_string(),
                _ => dice.between(-6, 6).to_string(),
            },
            // A large negative one asks for as many members: the reference would answer for minutes.
            "draws" => match dice.below(10) {
                0 => far_edge(dice),
                _ => dice.between(-20, 20).to_string(),
            },
            "offset" => dice
                .pick(&[
                    "0",
                    "1",
                    "3",
                    "10",
                    "100",
                    "600",
                    "-1",
                    "536870912",
                    "9223372036854775807",
                    "x",
                ])
                .to_string(),
            "f" => match dice.below(6) {
                0 => edge(dice),
                1 => dice
                    .pick(&["1e3", "-2.5e-3", "inf", "nan", "1e400", "3.0e0"])
                    .to_string(),
                _ => format!("{}", dice.between(-4000, 4000) as f64 / 8.0),
            },
            "score" => match dice.below(10) {
                0 => edge(dice),
                1 => dice
                    .pick(&[
                        "inf", "-inf", "+inf", "nan", "1e308", "-1e308", "5e-324", "1e22", "0.1",
                    ])
                    .to_string(),
                2 => format!("{}", dice.between(-100_000, 100_000) as f64 / 1000.0),
                _ => dice.between(-5, 5).to_string(),
            },
            "bound" => match dice.below(8) {
                0 => dice
                    .pick(&["-inf", "+inf", "(inf", "(-inf", "inf"])
                    .to_string(),
                1 => edge(dice),
                2 => format!("({}", dice.between(-5, 5)),
                3 => "-inf".to_string(),
                4 => "+inf".to_string(),
                _ => dice.between(-5, 5).to_string(),
            },
            "lex" => dice
                .pick(&[
                    "-", "+", "[a", "(a", "[b", "(c", "[aa", "[zz", "(", "[", "a", "", "[1", "(-3",
                ])
                .to_string(),
            "seconds" => match dice.below(6) {
                0 => far_edge(dice),
                1 => dice.between(-1000, 0).to_string(),
                _ => (dice.between(1, 9) * 100_000).to_string(),
            },
            "millis" => match dice.below(6) {
                0 => far_edge(dice),
                1 => dice.between(-100_000, 0).to_string(),
                _ => (dice.between(1, 9) * 100_000_000).to_string(),
            },
            "restored" => match dice.below(4) {
                0 => (dice.between(1, 9) * 100_000_000).to_string(),
                1 => dice
                    .pick(&["-1", "x", "", "1.5", "9223372036854775808", "99999999999"])
                    .to_string(),
                _ => "0".to_string(),
            },
            "at" => match dice.below(6) {
                0 => far_edge(dice),
                1 => dice.between(-10, 1000).to_string(),
                _ => (4_102_444_800 + dice.between(0, 5) * 100_000).to_string(),
            },
            "atms" => match dice.below(6) {
                0 => far_edge(dice),
                1 => dice.between(-10, 1000).to_string(),
                _ => (4_102_444_800_000 + dice.between(0, 5) * 100_000_123).to_string(),
            },
            "db" => match dice.below(10) {
                0 => edge(dice),
                1 => dice.between(-1, 17).to_string(),
                _ => dice.between(0, 2).to_string(),
            },
            "pattern" => dice
                .pick(&[
                    "*", "s*", "?1", "[lt]?", "[^s]*", "[a-h]1", "*1", "\\s1", "", "nothing",
                    "a*b*c*d*", "[", "\\", "[a-",
                ])
                .to_string(),
            other => panic!("no such place in a template: <{other}>"),
        };
        text.into_bytes()
    }

    /// A key of this kind (`y`: a sorted set whose scores are mostly equal, for ranges by name); one in eight belongs to
    /// another kind, so that types clash.
    fn key(&self, kind: &str, dice: &mut Dice) -> String {
        if let Some(key) = self.key {
            return key.to_string();
        }
        let kind = match kind {
            "k" => dice.pick(&["s", "l", "t", "h", "z"]),
            own if dice.below(8) > 0 => own,
            _ => dice.pick(&["s", "l", "t", "h", "z"]),
        };
        format!("{kind}{}", dice.below(4))
    }
}

/// The commands that a template can become.
pub fn names(template: &str) -> impl Iterator<Item = &str> {
    let first = match template.starts_with('(') {
        true => &template[1..closing(template)],
        false => template.split(' ').next().unwrap_or_default(),
    };
    first.split('|')
}

/// Numbers and texts at which parsers stumble.
fn edge(dice: &mut Dice) -> String {
    let edges = [
        "0",
        "-0",
        "1",
        "-1",
        "01",
        "+1",
        " 1",
        "1 ",
        "",
        "x",
        "1.0",
        "1.5",
        "1e2",
        "0x10",
        "nan",
        "inf",
        "-inf",
        "2147483647",
        "2147483648",
        "-2147483649",
        "4294967296",
        "32767",
        "-32769",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "99999999999999999999",
        "1e308",
        "1e-5",
        "3.141592653589793238",
    ];
    dice.pick(&edges).to_string()
}

/// As [`edge`], but never a moment that comes soon.
fn far_edge(dice: &mut Dice) -> String {
    let edges = [
        "0",
        "-1",
        "x",
        "",
        "1.5",
        "nan",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "9223372036854775",
        "99999999999",
        "4611686018427387904",
    ];
    dice.pick(&edges).to_string()
}

fn value(dice: &mut Dice) -> Vec<u8> {
    match dice.below(20) {
        0 => edge(dice).into_bytes(),
        1 => vec![b'x'; dice.pick(&[&44, &45, &64, &65, &300, &5000]).to_owned()],
        2 => (0..dice.below(40)).map(|_| dice.next() as u8).collect(),
        3..=8 => dice.between(-100, 100_000).to_string().into_bytes(),
        _ => format!("value{}", dice.below(50)).into_bytes(),
    }
}

fn bend(words: &mut Words, dice: &mut Dice) {
    match dice.below(3) {
        0 if words.len() > 1 => {
            let place = 1 + dice.below(words.len() - 1);
            words.remove(place);
        }
        1 if !LONGER_SINCE.contains(&words[0].to_ascii_uppercase().as_slice()) => {
            words.push(far_edge(dice).into_bytes());
        }
        _ if words.len() > 1 => {
            let place = 1 + dice.below(words.len() - 1);
            words[place] = far_edge(dice).into_bytes();
        }
        _ => {}
    }
}

/// Commands that take more words in 7.2 than in the reference: in a transaction one word too many would part the two.
const LONGER_SINCE: [&[u8]; 2] = [b"ZRANK", b"ZREVRANK"];

fn in_some_case(word: &str, dice: &mut Dice) -> Vec<u8> {
    match dice.below(10) {
        0 => word.to_ascii_lowercase().into_bytes(),
        _ => word.as_bytes().to_vec(),
    }
}

/// Where the bracket that opens `text` closes.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return place;
        }
    }
    panic!("a template's bracket stays open: {text}");
}

fn alternatives(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut start = 0;
    let mut found = Vec::new();
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b'|' if depth == 0 => {
                found.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found
}
