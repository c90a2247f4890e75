//! The table against Redis, and CONFIG GET and CONFIG SET over the whole of it.

use super::*;
use crate::random::Random;
use kinds::Kind;

const NOW: Circumstances = Circumstances {
    loading: false,
    local: false,
};

fn text(config: &Config, name: &str) -> String {
    String::from_utf8(config.get(name.as_bytes()).unwrap()).unwrap()
}

fn set(config: &Config, pairs: &[(&str, &str)]) -> Result<Config, String> {
    config
        .changed_by(pairs, NOW)
        .map(|change| change.config)
        .map_err(|error| error.to_string())
}

/// After CONFIG SET, CONFIG GET gives this text, or the reason is this one.
fn check(name: &str, value: &str, expected: Result<&str, &str>) {
    let found = set(&Config::default(), &[(name, value)]).map(|config| text(&config, name));
    let refused = |reason| {
        format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    };
    assert_eq!(
        found,
        expected.map(str::to_owned).map_err(refused),
        "{name} {value:?}"
    );
}

#[test]
fn every_default_of_redis_is_answered_as_redis_answers_it() {
    let config = Config::default();
    let mut ours = config
        .matching(&["*"])
        .into_iter()
        .collect::<std::collections::BTreeMap<_, _>>();
    for line in include_str!("redis_7_0_15_defaults.txt").lines() {
        let (name, value) = line.split_once('=').unwrap();
        let found = ours
            .remove(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(String::from_utf8_lossy(&found), value, "{name}");
    }
    assert_eq!(
        ours.remove("dir"),
        Some(
            std::env::current_dir()
                .unwrap()
                .into_os_string()
                .into_encoded_bytes()
        )
    );
    let newer: Vec<_> = ours.keys().map(String::as_str).collect();
    assert_eq!(
        newer,
        [
            "aof-exit-on-error",
            "aof-load-corrupt-tail-max-size",
            "aof-newer-rdb",
            "aof-rewrite-cpulist",
            "availability-zone",
            "bgsave-cpulist",
            "bio-cpulist",
            "cluster-announce-client-ipv4",
            "cluster-announce-client-ipv6",
            "cluster-announce-human-nodename",
            "cluster-blacklist-ttl",
            "cluster-slot-stats-enabled",
            "dual-channel-replication-enabled",
            "events-per-io-thread",
            "extended-redis-compatibility",
            "hide-user-data-from-log",
            "locale-collate",
            "max-new-connections-per-cycle",
            "max-new-tls-connections-per-cycle",
            "prefetch-batch-max-size",
            "primaryauth",
            "primaryuser",
            "rdb-version",
            "repl-backlog-disk-size",
            "repl-diskless-sync-period",
            "repl-send-durable-only",
            "repl-slow-replica",
            "server-cpulist",
            "set-max-listpack-entries",
            "set-max-listpack-value",
            "snapshot-retained-bytes-max",
            "unixsocketgroup",
        ]
    );
}

#[test]
fn names_are_in_lower_case_and_belong_to_one_parameter() {
    let mut seen = HashSet::new();
    for parameter in parameter::all() {
        assert!(
            !parameter.about.trim().is_empty() && parameter.about.trim().ends_with('.'),
            "{}",
            parameter.name
        );
        for name in parameter.names() {
            assert!(seen.insert(name), "{name} stands twice");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase()
                    || byte.is_ascii_digit()
                    || b"-_".contains(&byte)),
                "{name}"
            );
            assert!(
                find(name.to_ascii_uppercase().as_bytes()).is_some_and(|(_, found)| found == name)
            );
        }
    }
    assert_eq!(
        parameters::SECTIONS
            .iter()
            .map(|section| section.2)
            .sum::<usize>(),
        parameters::PARAMETERS.len()
    );
    assert!(find(b"\xff").is_none());
}

/// Words for every kind that are not its default, with both ends of ranges.
fn examples(kind: &Kind) -> Vec<String> {
    let examples: &[&str] = match kind {
        Kind::Bool => &["no", "yes", "NO"],
        Kind::Int { min, max, .. } => return vec![min.to_string(), max.to_string()],
        Kind::Seconds { max } => return vec!["0".into(), max.to_string(), "90s".into()],
        Kind::Memory { min, max, .. } => {
            return vec![min.to_string(), max.to_string(), "7mb".into()];
        }
        Kind::Words(words) => {
            return words.iter().map(|word| word.to_ascii_uppercase()).collect();
        }
        Kind::Only { word, .. } => &[word],
        Kind::MemoryShare => &["5%", "1gb", "0"],
        Kind::Octal { .. } => &["0", "777", "640"],
        Kind::Text(_) => &["plain", "a.b"],
        Kind::Bytes => &["\"\"", "\"a b\\xff\\\"\""],
        Kind::Directory => &["/", "/tmp"],
        Kind::KeyspaceEvents => &["KEA", "Knm", "\"\"", "AKEmn", "Kg$l"],
        Kind::ShutdownOptions => &["save now", "nosave now force", "default", "force"],
        Kind::SavePoints => &["1 0 2 3", "\"\"", "900 1"],
        Kind::Bind => &["127.0.0.1 -::1", "\"\"", "* -::*"],
        Kind::OutputBufferLimits => &["normal 1 2 3", "replica 1gb 1mb 5 pubsub 1 1 1"],
        Kind::Master => &["127.0.0.1 6379", "no one", "::1 0", "host 65535"],
        Kind::Percentiles => &["50 99 99.9", "\"\"", "0.1 33.333333 100"],
        Kind::Scores => &["-2000 0 2000"],
    };
    examples
        .iter()
        .map(|example| (*example).to_owned())
        .collect()
}

#[test]
fn whatever_get_prints_set_takes() {
    for parameter in parameter::all() {
        for example in examples(&parameter.kind) {
            let mut config = Config::default();
            let example = words::split(example.as_bytes()).unwrap();
            config
                .set(parameter.name, &example)
                .unwrap_or_else(|error| panic!("{example:?}: {error}"));
            let printed = config.get(parameter.name.as_bytes()).unwrap();
            if let (
                [word],
                Kind::Int {
                    kept_min, kept_max, ..
                },
            ) = (&example[..], &parameter.kind)
            {
                let number: i64 = std::str::from_utf8(word).unwrap().parse().unwrap();
                let kept = number.clamp(*kept_min, *kept_max).to_string();
                assert_eq!(
                    printed,
                    kept.into_bytes(),
                    "the type of {} is too narrow",
                    parameter.name
                );
            }
            if matches!(parameter.kind, Kind::Master) && printed.is_empty() {
                continue;
            }
            let mut again = Config::default();
            let words: Vec<&[u8]> = match (parameter.kind.takes_words(), &printed[..]) {
                (true, []) => vec![],
                (true, printed) => printed.split(|&byte| byte == b' ').collect(),
                (false, printed) => vec![printed],
            };
            again.set(parameter.name, &words).unwrap();
            assert_eq!(again, config, "{}", parameter.name);
        }
    }
}

#[test]
fn values_are_printed_as_redis_prints_them() {
    check("maxmemory", "1KB", Ok("1024"));
    check(
        "maxmemory",
        "18446744073709551615",
        Ok("18446744073709551615"),
    );
    check("appendonly", "YES", Ok("yes"));
    check("hz", "1000", Ok("500"));
    check("hz", "0", Ok("1"));
    check("repl-backlog-size", "1", Ok("16384"));
    check("maxmemory-clients", "5%", Ok("5%"));
    check("maxmemory-clients", "0%", Ok("0"));
    check("maxmemory-policy", "ALLKEYS-LRU", Ok("allkeys-lru"));
    check("oom-score-adj-values", "10 5 1", Ok("10 5 1"));
    check(
        "client-output-buffer-limit",
        "replica 1mb 2k 3 normal 1 2 3",
        Ok("normal 1 2 3 slave 1048576 2000 3 pubsub 33554432 8388608 60"),
    );
    check("save", "10 20 5 6", Ok("10 20 5 6"));
    check("save", "", Ok(""));
    check("save", "1 0", Ok("1 0"));
    check(
        "latency-tracking-info-percentiles",
        "99.990 5e1 0.1 100 99.123456789",
        Ok("99.99 50 0.1 100 99.123457"),
    );
    check("latency-tracking-info-percentiles", "", Ok(""));
    check("shutdown-on-sigint", "now save", Ok("save now"));
    check("shutdown-on-sigint", "default now", Ok("now"));
    check("bind", "-::1 127.0.0.1", Ok("-::1 127.0.0.1"));
    check("bind", "", Ok(""));
    check("hash-max-ziplist-value", "1kb", Ok("1024"));
    check("notify-keyspace-events", "KEA", Ok("AKE"));
    check("slowlog-log-slower-than", "-1", Ok("-1"));
    check("masteruser", "", Ok(""));
    check("list-max-listpack-size", "-9", Ok("-9"));
    check("repl-diskless-sync-period", "2min", Ok("120"));
}

#[test]
fn refusals_have_the_texts_of_redis() {
    for (name, value, reason) in [
        ("maxmemory", "foo", "argument must be a memory value"),
        ("maxmemory", "1.5gb", "argument must be a memory value"),
        ("appendonly", "maybe", "argument must be 'yes' or 'no'"),
        ("slave-read-only", "foo", "argument must be 'yes' or 'no'"),
        ("hz", "010", "argument couldn't be parsed into an integer"),
        (
            "hz",
            "-1",
            "argument must be between 0 and 2147483647 inclusive",
        ),
        (
            "port",
            "70000",
            "argument must be between 0 and 65535 inclusive",
        ),
        (
            "repl-backlog-size",
            "0",
            "argument must be between 1 and 9223372036854775807 inclusive",
        ),
        (
            "client-query-buffer-limit",
            "5",
            "argument must be between 1048576 and 9223372036854775807 inclusive",
        ),
        (
            "slowlog-log-slower-than",
            "-2",
            "argument must be between -1 and 9223372036854775807 inclusive",
        ),
        (
            "maxclients",
            "0",
            "argument must be between 1 and 4294967295 inclusive",
        ),
        (
            "maxmemory-clients",
            "101%",
            "percentage argument must be less or equal to 100",
        ),
        (
            "maxmemory-clients",
            "5%%",
            "argument must be a memory or percent value",
        ),
        (
            "appendfsync",
            "foo",
            "argument(s) must be one of the following: everysec, always, no",
        ),
        (
            "acl-pubsub-default",
            "x",
            "argument(s) must be one of the following: allchannels, resetchannels",
        ),
        (
            "maxmemory-policy",
            "foo",
            "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, \
             allkeys-lru, allkeys-lfu, allkeys-random, noeviction",
        ),
        ("oom-score-adj-values", "0 1", "wrong number of arguments"),
        (
            "oom-score-adj-values",
            "0  200 800",
            "wrong number of arguments",
        ),
        (
            "oom-score-adj-values",
            "0 1 5000",
            "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
        ),
        (
            "client-output-buffer-limit",
            "foo",
            "Wrong number of arguments in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            "master 1 2 3",
            "Invalid client class specified in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            "normal -1 2 3",
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
        ),
        ("save", "1 2 3", "Invalid save parameters"),
        ("save", " 3 4 ", "Invalid save parameters"),
        ("save", "0 1", "Invalid save parameters"),
        (
            "notify-keyspace-events",
            "q",
            "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
        ),
        (
            "latency-tracking-info-percentiles",
            "inf",
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
        ),
        (
            "latency-tracking-info-percentiles",
            "nan",
            "Invalid latency-tracking-info-percentiles parameters",
        ),
        (
            "shutdown-on-sigint",
            "",
            "argument(s) must be one of the following: default, save, nosave, now, force",
        ),
        (
            "shutdown-on-sigint",
            "save nosave",
            "shutdown options SAVE and NOSAVE can't be used simultaneously",
        ),
        (
            "bind",
            "a b c d e f g h i j k l m n o p q r",
            "Too many bind addresses specified.",
        ),
        (
            "cluster-announce-hostname",
            "a b",
            "Hostnames may only contain alphanumeric characters, hyphens or dots",
        ),
        (
            "proc-title-template",
            "{foo}",
            "template format is invalid or contains unknown variables",
        ),
        ("databases", "3", "can't set immutable config"),
        ("slaveof", "x", "can't set immutable config"),
        ("dir", "/", "can't set protected config"),
        (
            "activedefrag",
            "yes",
            "argument must be 'no': active defragmentation is not built in",
        ),
    ] {
        check(name, value, Err(reason));
    }
}

#[test]
fn several_pairs_change_together_or_not_at_all() {
    let config = Config::default();
    let both = config
        .changed_by(&[("HZ", "20"), ("maxmemory", "0"), ("timeout", "5")], NOW)
        .unwrap();
    assert_eq!((both.config.hz, both.config.timeout), (20, 5));
    assert_eq!(both.changed, ["hz", "timeout"]);
    let prefix = "ERR CONFIG SET failed (possibly related to argument";
    for (pairs, error) in [
        (
            &[("hz", "20"), ("timeout", "x")][..],
            format!("{prefix} 'timeout') - argument couldn't be parsed into an integer"),
        ),
        (
            &[("hz", "x"), ("databases", "3")],
            format!("{prefix} 'databases') - can't set immutable config"),
        ),
        (
            &[("hz", "1"), ("hz", "2")],
            format!("{prefix} 'hz') - duplicate parameter"),
        ),
        (
            &[("hz", "1"), ("Foo", "2")],
            "ERR Unknown option or number of arguments for CONFIG SET - 'Foo'".into(),
        ),
    ] {
        assert_eq!(set(&config, pairs), Err(error));
    }
    let aliases = set(
        &config,
        &[("slave-read-only", "yes"), ("replica-read-only", "no")],
    )
    .unwrap();
    assert!(!aliases.replica_read_only);
}

#[test]
fn protected_parameters_and_those_of_loading_ask_for_the_circumstances() {
    let mut config = Config::default();
    let pairs = [("dbfilename", "x")];
    let local = Circumstances { local: true, ..NOW };
    let loading = Circumstances {
        loading: true,
        ..NOW
    };
    for (permission, from_afar, from_here) in [
        ("no", false, false),
        ("local", false, true),
        ("yes", true, true),
    ] {
        config
            .set("enable-protected-configs", &[permission])
            .unwrap();
        assert_eq!(config.changed_by(&pairs, NOW).is_ok(), from_afar);
        assert_eq!(config.changed_by(&pairs, local).is_ok(), from_here);
    }
    let error = config
        .changed_by(&[("appendonly", "yes")], loading)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "LOADING Redis is loading the dataset in memory"
    );
    assert!(config.changed_by(&[("hz", "5")], loading).is_ok());
}

#[test]
fn get_answers_patterns_once_each_and_hidden_names_only_in_full() {
    let config = Config::default();
    let names = |patterns: &[&str]| -> Vec<String> {
        config
            .matching(patterns)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    };
    assert_eq!(names(&["HZ", "hz", "h?"]), ["HZ"]);
    assert_eq!(names(&["slave-read-*", "foo", ""]), ["slave-read-only"]);
    assert_eq!(
        names(&["MAXMEMORY-S*", "maxmemory-[st]*", "maxmemory"]),
        ["maxmemory-samples", "maxmemory"]
    );
    assert_eq!(
        names(&["client-output*", "client-*"]),
        ["client-output-buffer-limit", "client-query-buffer-limit"]
    );
    assert_eq!(names(&["watchdog-*", "key-load-delay"]), ["key-load-delay"]);
}

#[test]
fn random_pairs_never_panic() {
    let mut random = Random::from_seed(23);
    let names: Vec<&str> = parameter::all()
        .flat_map(|parameter| parameter.names())
        .collect();
    let pieces = [
        "1",
        "-",
        "%",
        "g",
        " ",
        "0",
        "yes",
        "\0",
        "save",
        "999999999999",
        "9",
        "é",
        "normal",
        ".",
    ];
    let mut config = Config::default();
    for _ in 0..5000 {
        let name = names[random.below(names.len() as u64) as usize];
        let value: String = (0..random.below(5))
            .map(|_| pieces[random.below(14) as usize])
            .collect();
        if let Ok(change) = config.changed_by(&[(name, value)], NOW) {
            config = change.config;
        }
    }
}
