//! CONFIG REWRITE: the text of a configuration file that says what the server does now, with as little changed as can be.
//!
//! Comments, order and lines that are still right stay as they are, byte for byte. A parameter that differs gets its new
//! lines where its first line stood; what the file does not name and is not the default goes to the end, under a marker.
//! A value that an `include` further down could override goes to the end too, and where a file includes others, only
//! what has changed since it was read is written: the rest is theirs.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{Assembly, INCLUDE, USER};
use super::kinds::Kind;
use super::parameter::{self, Parameter, find};
use super::{Config, words};

/// The new text of the main file.
///
/// `loaded` is what reading the files gave when the server started, or what the last rewrite wrote: the caller keeps `now`
/// as the new `loaded` once the text is on disk. `users` are the ACL users as lines, `user` included, where this file is
/// their place; without, such lines are left alone.
pub fn rewrite(old: &[u8], now: &Config, loaded: &Config, users: Option<&[String]>) -> Vec<u8> {
    let mut file = Lines::read(old);
    for parameter in parameter::all() {
        file.update(parameter, now, loaded);
    }
    if let Some(users) = users {
        let lines = users.iter().map(|user| user.clone().into_bytes()).collect();
        let places = std::mem::take(&mut file.users);
        file.replace(places, lines);
    }
    file.into_text()
}

/// The file as it stands, line by line, with what has to become of each.
struct Lines<'a> {
    old: Vec<&'a [u8]>,
    /// What stands in place of a line; it stays as it is where there is no entry.
    replaced: BTreeMap<usize, Vec<Vec<u8>>>,
    appended: Vec<Vec<u8>>,
    /// Where the lines of each parameter are, by its name.
    places: BTreeMap<&'static str, Vec<usize>>,
    /// Parameters with a line that was spoilt after the start.
    spoilt: BTreeSet<&'static str>,
    users: Vec<usize>,
    last_include: Option<usize>,
    /// What the lines of this file alone say.
    own: Config,
}

impl<'a> Lines<'a> {
    fn read(text: &'a [u8]) -> Self {
        let mut lines = Lines {
            old: text.split(|&byte| byte == b'\n').collect(),
            replaced: BTreeMap::new(),
            appended: Vec::new(),
            places: BTreeMap::new(),
            spoilt: BTreeSet::new(),
            users: Vec::new(),
            last_include: None,
            own: Config::default(),
        };
        if lines.old.last() == Some(&&b""[..]) {
            lines.old.pop();
        }
        let mut assembly = Assembly::default();
        for (index, line) in lines.old.iter().enumerate() {
            let line = line.trim_ascii();
            if line.first() == Some(&b'#') {
                continue;
            }
            let Some(words) = words::split(line) else {
                continue;
            };
            let Some((name, values)) = words.split_first() else {
                continue;
            };
            if let Some((parameter, _)) = find(name) {
                lines.places.entry(parameter.name).or_default().push(index);
                if assembly.apply(parameter, values).is_err() {
                    lines.spoilt.insert(parameter.name);
                }
            } else if name.eq_ignore_ascii_case(INCLUDE) {
                lines.last_include = Some(index);
            } else if name.eq_ignore_ascii_case(USER) {
                lines.users.push(index);
            }
        }
        lines.own = assembly.config;
        lines
    }

    fn update(&mut self, parameter: &'static Parameter, now: &Config, loaded: &Config) {
        let places = self.places.remove(parameter.name).unwrap_or_default();
        let setting = now.setting(parameter);
        let changed = setting != loaded.setting(parameter);
        let right = match self.last_include {
            Some(_) => !changed,
            None => setting == self.own.setting(parameter),
        };
        if right && !self.spoilt.contains(parameter.name) {
            return;
        }
        let mut lines: Vec<Vec<u8>> = parameter.kind.lines(&setting);
        let overridden = self
            .last_include
            .is_some_and(|include| places.first().is_none_or(|&first| first < include));
        // At the end, after other files and options, absence no longer says "none", and save points would add up.
        match parameter.kind {
            Kind::Master if lines.is_empty() && (overridden || places.is_empty()) => {
                lines.push(b"no one".to_vec())
            }
            Kind::SavePoints if self.last_include.is_some() && lines != [b"\"\""] => {
                lines.insert(0, b"\"\"".to_vec())
            }
            _ => {}
        }
        for line in &mut lines {
            line.splice(..0, format!("{} ", parameter.name).into_bytes());
        }
        if overridden {
            self.replace(places, Vec::new());
            self.appended.extend(lines);
        } else {
            self.replace(places, lines);
        }
    }

    /// Puts the new lines where the old ones stood: one for one, the rest of the new ones behind the last.
    fn replace(&mut self, places: Vec<usize>, lines: Vec<Vec<u8>>) {
        let Some(&last) = places.last() else {
            self.appended.extend(lines);
            return;
        };
        let mut lines = lines.into_iter();
        for &place in &places {
            self.replaced
                .insert(place, lines.next().into_iter().collect());
        }
        self.replaced.entry(last).or_default().extend(lines);
    }

    fn into_text(self) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut marked = false;
        for (index, old) in self.old.into_iter().enumerate() {
            marked |= old.trim_ascii() == MARKER;
            match self.replaced.get(&index) {
                Some(new) => lines.extend(new.iter().cloned()),
                None => lines.push(old.to_vec()),
            }
        }
        if !self.appended.is_empty() && !marked {
            if !lines.is_empty() {
                lines.push(Vec::new());
            }
            lines.push(MARKER.to_vec());
        }
        lines.extend(self.appended);
        let mut text = lines.join(&b'\n');
        if !text.is_empty() {
            text.push(b'\n');
        }
        text
    }
}

/// Stands above what was not in the file before.
const MARKER: &[u8] = b"# Generated by CONFIG REWRITE";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::arguments::Arguments;
    use crate::config::file::{Loaded, load};
    use crate::random::Random;

    fn read(text: &[u8]) -> Config {
        let arguments = Arguments {
            standard_input: true,
            ..Arguments::default()
        };
        let Loaded { config, .. } = load(&arguments, &mut &text[..]).unwrap();
        config
    }

    /// Starts with `old`, sets `pairs`, rewrites; and a server that starts with the result has the same settings.
    fn check(old: &str, pairs: &[(&str, &str)], new: &str) {
        let loaded = read(old.as_bytes());
        let mut now = loaded.clone();
        for (name, values) in pairs {
            now.set(name, &words::split(values.as_bytes()).unwrap())
                .unwrap();
        }
        let text = rewrite(old.as_bytes(), &now, &loaded, None);
        assert_eq!(String::from_utf8_lossy(&text), new);
        assert_eq!(read(&text), now);
        assert_eq!(
            rewrite(&text, &now, &now, None),
            text,
            "a second rewrite changes nothing"
        );
    }

    #[test]
    fn comments_order_and_lines_that_are_right_stay() {
        let old = "# top\nhz  \"11\"\n\n\t# mid\n  SLAVE-READ-ONLY yes\nmaxmemory 0\r\nrename-command A b\n# end\n";
        check(old, &[], old);
        check(
            old,
            &[("maxmemory", "10mb")],
            &old.replace("maxmemory 0\r", "maxmemory 10mb"),
        );
        check(
            old,
            &[("slave-read-only", "no")],
            &old.replace("  SLAVE-READ-ONLY yes", "replica-read-only no"),
        );
    }

    #[test]
    fn what_differs_from_the_default_goes_to_the_end_under_a_marker() {
        check(
            "",
            &[("hz", "20")],
            "# Generated by CONFIG REWRITE\nhz 20\n",
        );
        check(
            "port 7\n# no newline at the end",
            &[("hz", "20"), ("maxmemory", "5000")],
            "port 7\n# no newline at the end\n\n# Generated by CONFIG REWRITE\nhz 20\nmaxmemory 5000\n",
        );
        check(
            "# Generated by CONFIG REWRITE\nport 7\n",
            &[("hz", "20")],
            "# Generated by CONFIG REWRITE\nport 7\nhz 20\n",
        );
        check(
            "activerehashing yes\n",
            &[("activerehashing", "no")],
            "activerehashing no\n",
        );
    }

    #[test]
    fn a_name_that_stands_twice_keeps_its_first_line() {
        check(
            "hz 5\n# a\nhz 6\nport 1\n",
            &[("hz", "7")],
            "hz 7\n# a\nport 1\n",
        );
        check(
            "hash-max-ziplist-entries 5\nhash-max-listpack-entries 6\n",
            &[("hash-max-listpack-entries", "9")],
            "hash-max-listpack-entries 9\n",
        );
    }

    #[test]
    fn a_promoted_replica_loses_its_line_and_a_demoted_master_gets_one() {
        check(
            "slaveof 127.0.0.1 1\n# b\n",
            &[("replicaof", "no one")],
            "# b\n",
        );
        check(
            "replicaof 10.0.0.1 1\n# b\n",
            &[("replicaof", "::1 2")],
            "replicaof ::1 2\n# b\n",
        );
        check(
            "# b\n",
            &[("replicaof", "10.0.0.1 1")],
            "# b\n\n# Generated by CONFIG REWRITE\nreplicaof 10.0.0.1 1\n",
        );
    }

    #[test]
    fn settings_of_several_lines_stay_together() {
        check(
            "save 1 2\nsave 3 4\n# e\n",
            &[("save", "5 6 7 8 9 10")],
            "save 5 6\nsave 7 8\nsave 9 10\n# e\n",
        );
        check(
            "save 1 2\n# m\nsave 3 4\n# e\n",
            &[("save", "5 6")],
            "save 5 6\n# m\n# e\n",
        );
        check("save 1 2\nsave 3 4\n", &[("save", "\"\"")], "save \"\"\n");
        check(
            "save \"\"\n",
            &[("save", "3600 1 300 100 60 10000")],
            "save 3600 1\nsave 300 100\nsave 60 10000\n",
        );
        check(
            "client-output-buffer-limit pubsub 32mb 8mb 60\nhz 9\n",
            &[("client-output-buffer-limit", "slave 1024 2000 9")],
            "client-output-buffer-limit normal 0 0 0\nclient-output-buffer-limit replica 1kb 2000 9\n\
             client-output-buffer-limit pubsub 32mb 8mb 60\nhz 9\n",
        );
    }

    #[test]
    fn values_are_quoted_where_they_need_it() {
        check(
            "requirepass x\nbind 127.0.0.1\nlogfile a\nunixsocketperm 0\nnotify-keyspace-events KEA\n",
            &[
                ("requirepass", r#""a b\x01\"\xff""#),
                ("bind", "-::1 *"),
                ("logfile", "\"\""),
                ("unixsocketperm", "755"),
                ("notify-keyspace-events", "\"\""),
            ],
            "requirepass \"a b\\x01\\\"\\xff\"\nbind -::1 *\nlogfile \"\"\nunixsocketperm 755\n\
             notify-keyspace-events \"\"\n",
        );
    }

    #[test]
    fn a_line_that_was_spoilt_after_the_start_is_mended() {
        let config = Config::default();
        assert_eq!(
            rewrite(b"hz abc\nfoo bar\n\"\n", &config, &config, None),
            b"hz 10\nfoo bar\n\"\n"
        );
    }

    #[test]
    fn what_an_include_could_override_goes_behind_it() {
        // The directory is missing, so nothing is included; only the place of the line matters.
        let old = "hz 20\nsave 1 2\ninclude /no/such/dir/*.conf\nport 7\n";
        check(
            old,
            &[
                ("hz", "30"),
                ("port", "8"),
                ("save", "3 4"),
                ("replicaof", "10.0.0.1 1"),
            ],
            "include /no/such/dir/*.conf\nport 8\n\n# Generated by CONFIG REWRITE\nhz 30\nsave \"\"\nsave 3 4\n\
             replicaof 10.0.0.1 1\n",
        );
        let mut loaded = read(old.as_bytes());
        loaded.set("replicaof", &["10.0.0.1", "1"]).unwrap();
        loaded.set("maxmemory", &["1gb"]).unwrap();
        let mut now = loaded.clone();
        now.set("replicaof", &["no", "one"]).unwrap();
        let expected = format!("{old}\n# Generated by CONFIG REWRITE\nreplicaof no one\n");
        assert_eq!(
            String::from_utf8_lossy(&rewrite(old.as_bytes(), &now, &loaded, None)),
            expected
        );
    }

    #[test]
    fn users_take_the_place_of_their_old_lines() {
        let config = Config::default();
        let users = [
            "user default on nopass ~* &* +@all".to_owned(),
            "user a off".to_owned(),
        ];
        let old = b"user b on\n# x\nUSER c on\nuser d on\n";
        let expected = format!("{}\n# x\n{}\n", users[0], users[1]);
        assert_eq!(
            rewrite(old, &config, &config, Some(&users)),
            expected.as_bytes()
        );
        assert_eq!(rewrite(old, &config, &config, None), old);
    }

    #[test]
    fn random_settings_survive_a_rewrite_of_random_files() {
        let mut random = Random::from_seed(17);
        let choices = [
            ("hz", ["1", "10", "20"]),
            ("maxmemory", ["0", "1gb", "77"]),
            ("save", ["\"\"", "3600 1 300 100 60 10000", "5 6"]),
            ("replicaof", ["no one", "a 1", "b 2"]),
            ("requirepass", ["\"\"", "\"a b\"", "#"]),
            (
                "client-output-buffer-limit",
                [
                    "normal 0 0 0",
                    "replica 1 2 3",
                    "normal 5 5 5 pubsub 1kb 1mb 1",
                ],
            ),
            (
                "latency-tracking-info-percentiles",
                ["\"\"", "50 99 99.9", "1"],
            ),
            ("cluster-node-timeout", ["15000", "1", "2"]),
        ];
        let mut line = || {
            let (name, values) = choices[random.below(choices.len() as u64) as usize];
            (name, values[random.below(3) as usize])
        };
        for round in 0..400 {
            let file: Vec<_> = (0..round % 7).map(|_| line()).collect();
            let file: String = file
                .iter()
                .map(|(name, value)| format!("{name} {value}\n# c\n"))
                .collect();
            let loaded = read(file.as_bytes());
            let mut now = loaded.clone();
            for (name, value) in (0..round % 5).map(|_| line()) {
                now.set(name, &words::split(value.as_bytes()).unwrap())
                    .unwrap();
            }
            let text = rewrite(file.as_bytes(), &now, &loaded, None);
            let shown = String::from_utf8_lossy(&text);
            assert_eq!(read(&text), now, "{file}----\n{shown}");
            assert_eq!(
                rewrite(&text, &now, &now, None),
                text,
                "{file}----\n{shown}"
            );
        }
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut random = Random::from_seed(18);
        let config = Config::default();
        for _ in 0..500 {
            let pieces = [
                "save ", "\"", "\n", "1 ", "include ", "user ", "\r", "hz ", "#", "\0", "x", "'",
            ];
            let text: String = (0..random.below(30))
                .map(|_| pieces[random.below(12) as usize])
                .collect();
            rewrite(text.as_bytes(), &config, &config, None);
        }
    }
}
