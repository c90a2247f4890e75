//! What files may say, in what order, and what they are refused for.

use super::*;
use crate::random::Random;

/// A directory of its own for one test, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = Random::from_system().hex40();
        let path = std::env::temp_dir().join(String::from_utf8_lossy(&name).as_ref());
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }

    /// Writes a file, in which `@` is the path of the directory.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text.replace('@', &self.0.to_string_lossy())).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(text: &[u8]) -> Result<Loaded, ConfigFileError> {
    let arguments = Arguments {
        standard_input: true,
        ..Arguments::default()
    };
    load(&arguments, &mut &text[..])
}

fn read_file(path: &Path) -> Result<Loaded, ConfigFileError> {
    let arguments = Arguments {
        file: Some(path.to_owned()),
        ..Arguments::default()
    };
    load(&arguments, &mut io::empty())
}

/// The text has this value for a name, or is refused with this reason at this line.
fn check(text: &str, expected: Result<(&str, &str), (usize, &str)>) {
    match (read(text.as_bytes()), expected) {
        (Ok(loaded), Ok((name, value))) => {
            let found = loaded.config.get(name.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&found), value, "{text:?}");
        }
        (Err(ConfigFileError::Line { line, reason }), Err(expected)) => {
            assert_eq!((line.number, reason.as_str()), expected, "{text:?}");
        }
        (found, _) => panic!("{text:?}: {found:?} instead of {expected:?}"),
    }
}

#[test]
fn lines_are_words_and_the_last_one_counts() {
    check("hz 20\n  HZ\t30\r\n", Ok(("hz", "30")));
    check("\n# hz 20\n   # x\nhz '40'", Ok(("hz", "40")));
    check("\"hz\" \"2\\x30\"\n", Ok(("hz", "20")));
    check("slave-read-only no\n", Ok(("replica-read-only", "no")));
    check(
        "hash-max-ziplist-value 1kb\n",
        Ok(("hash-max-listpack-value", "1024")),
    );
    check("requirepass \"a\\\"b c\"\n", Ok(("requirepass", "a\"b c")));
    check("list-max-ziplist-entries 512\nhz 7", Ok(("hz", "7")));
    check(
        "repl-diskless-load flush-before-load",
        Ok(("repl-diskless-load", "flushdb")),
    );
    check("unixsocketperm 755", Ok(("unixsocketperm", "755")));
    check(
        "repl-diskless-sync-period 15min",
        Ok(("repl-diskless-sync-period", "900")),
    );
}

#[test]
fn save_lines_add_up() {
    check("", Ok(("save", "3600 1 300 100 60 10000")));
    check("save 10 20\nsave 30 40", Ok(("save", "10 20 30 40")));
    check("save 10 20 30 40\nsave \"\"\nsave 1 2", Ok(("save", "1 2")));
    check("save 10 20\nsave \"\"", Ok(("save", "")));
    check(
        "client-output-buffer-limit normal 1 2 3\nclient-output-buffer-limit pubsub 4 5 6",
        Ok((
            "client-output-buffer-limit",
            "normal 1 2 3 slave 268435456 67108864 60 pubsub 4 5 6",
        )),
    );
}

#[test]
fn wrong_lines_are_refused_with_the_reasons_of_redis() {
    for (text, number, reason) in [
        ("foo bar", 1, "Bad directive or wrong number of arguments"),
        (
            "# c\n\nmaxmemory foo\n",
            3,
            "argument must be a memory value",
        ),
        ("maxmemory", 1, "wrong number of arguments"),
        ("maxmemory 1 2", 1, "wrong number of arguments"),
        ("hz 20 # comment", 1, "wrong number of arguments"),
        ("appendonly maybe", 1, "argument must be 'yes' or 'no'"),
        (
            "appendonly \"yes",
            1,
            "Unbalanced quotes in configuration line",
        ),
        (
            "appendonly 'yes'x",
            1,
            "Unbalanced quotes in configuration line",
        ),
        ("save 10", 1, "Invalid save parameters"),
        ("save 10 x", 1, "Invalid save parameters"),
        ("replicaof a", 1, "wrong number of arguments"),
        ("replicaof a 99999", 1, "Invalid master port"),
        ("include", 1, "Bad directive or wrong number of arguments"),
        (
            "rename-command get",
            1,
            "Bad directive or wrong number of arguments",
        ),
        ("user", 1, "Bad directive or wrong number of arguments"),
        ("loadmodule /x.so", 1, "Sluice loads no modules"),
        (
            "sentinel monitor x",
            1,
            "sentinel directive while not in sentinel mode",
        ),
        ("hz \"\"", 1, "argument couldn't be parsed into an integer"),
        ("\"\"", 1, "Bad directive or wrong number of arguments"),
        (
            "unixsocketperm 888",
            1,
            "argument couldn't be parsed as an octal number",
        ),
        (
            "unixsocketperm 1777",
            1,
            "argument must be between 0 and 777 inclusive",
        ),
        (
            "databases 0",
            1,
            "argument must be between 1 and 2147483647 inclusive",
        ),
        ("dir /no/such", 1, "No such file or directory"),
        (
            "dbfilename a/b",
            1,
            "dbfilename can't be a path, just a filename",
        ),
        (
            "appendfilename a/b",
            1,
            "appendfilename can't be a path, just a filename",
        ),
        ("appendfilename \"\"", 1, "appendfilename can't be empty"),
        (
            "appenddirname a/b",
            1,
            "appenddirname can't be a path, just a dirname",
        ),
        ("appenddirname \"\"", 1, "appenddirname can't be empty"),
        (
            "client-output-buffer-limit normal 1 2",
            1,
            "Wrong number of arguments in buffer limit configuration.",
        ),
        ("notify-keyspace-events", 1, "wrong number of arguments"),
        ("oom-score-adj-values 1 2", 1, "wrong number of arguments"),
        (
            "io-threads 129",
            1,
            "argument must be between 1 and 128 inclusive",
        ),
        (
            "cluster-enabled yes",
            1,
            "argument must be 'no': cluster mode is not built in",
        ),
        ("tls-port 7", 1, "argument must be '0': TLS is not built in"),
        (
            "rdb-version 9",
            1,
            "argument must be between 10 and 12 inclusive",
        ),
    ] {
        check(text, Err((number, reason)));
    }
}

#[test]
fn the_error_shows_the_place_and_the_line_but_no_password() {
    let directory = Directory::new();
    let path = directory.write("a.conf", "port 1\ninclude @/b.conf\n");
    directory.write("b.conf", "\nhz 3x\n");
    let error = read_file(&path).unwrap_err().to_string();
    let expected = format!(
        "\n*** FATAL CONFIG FILE ERROR (Sluice {VERSION}) ***\nReading the configuration file {}/b.conf, at line 2\n\
         >>> 'hz 3x'\nargument couldn't be parsed into an integer",
        directory.0.display()
    );
    assert_eq!(error, expected);
    let path = directory.write("c.conf", "foo");
    let error = read_file(&path).unwrap_err().to_string();
    assert!(
        error.contains("\nReading the configuration file, at line 1\n>>> 'foo'\nBad directive"),
        "{error}"
    );
    let error = load(
        &Arguments::from(["requirepass very secret"]),
        &mut io::empty(),
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("\nReading the command line\n>>> 'requirepass ***'\n"),
        "{error}"
    );
    let error = read_file(&directory.0.join("none"))
        .unwrap_err()
        .to_string();
    let expected = format!(
        "Fatal error, can't open config file '{}/none': No such file or directory",
        directory.0.display()
    );
    assert_eq!(error, expected);
    assert!(
        read_file(&directory.0)
            .unwrap_err()
            .to_string()
            .ends_with("Is a directory")
    );
}

#[test]
fn file_input_and_options_are_read_in_this_order() {
    let directory = Directory::new();
    let path = directory.write("a.conf", "hz 1\nport 1\ntimeout 1\nsave 1 1\n");
    let mut arguments = Arguments::from(["timeout 3", "save 3 3"]);
    arguments.file = Some(path.clone());
    arguments.standard_input = true;
    let loaded = load(&arguments, &mut &b"port 2\ntimeout 2\n"[..]).unwrap();
    let config = &loaded.config;
    assert_eq!((config.hz, config.port, config.timeout), (1, 2, 3));
    assert_eq!(config.get(b"save").unwrap(), b"1 1 3 3");
    assert_eq!(loaded.path, Some(path));
}

#[test]
fn an_include_stands_for_the_lines_of_its_files_in_order_of_names() {
    let directory = Directory::new();
    directory.write("conf.d/b.conf", "hz 2\nport 2\n");
    directory.write("conf.d/a.conf", "hz 1\ninclude @/deep.conf\n");
    directory.write("conf.d/.hidden.conf", "hz 9\n");
    directory.write("conf.d/c.txt", "hz 9\n");
    directory.write("deep.conf", "timeout 5\n");
    let loaded =
        read_file(&directory.write("main.conf", "include @/conf.?/*.conf\nport 3\n")).unwrap();
    assert_eq!(
        (loaded.config.hz, loaded.config.port, loaded.config.timeout),
        (2, 3, 5)
    );
    read_file(&directory.write("main.conf", "include @/none/*.conf\n")).unwrap();
    let error = read_file(&directory.write("main.conf", "include @/none.conf\n")).unwrap_err();
    assert!(
        matches!(error, ConfigFileError::Unreadable { .. }),
        "{error}"
    );
}

#[test]
fn includes_in_a_circle_and_includes_without_end_are_refused() {
    let directory = Directory::new();
    let path = directory.write("a.conf", "include @/b.conf\n");
    directory.write("b.conf", "hz 5\ninclude @/./*.conf\n");
    let error = read_file(&path).unwrap_err().to_string();
    assert!(error.ends_with("includes itself"), "{error}");
    for index in 0..20 {
        directory.write(
            &format!("deep{index}"),
            &format!("include @/deep{}\n", index + 1),
        );
    }
    let error = read_file(&directory.0.join("deep0"))
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("included inside each other"), "{error}");
    // Nine files, each of which includes the next one nine times, are 9^8 files.
    for index in 0..9 {
        let line = format!("include @/bomb{}\n", index + 1);
        directory.write(&format!("bomb{index}"), &line.repeat(9));
    }
    directory.write("bomb9", "");
    let error = read_file(&directory.0.join("bomb0"))
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("included files"), "{error}");
}

#[test]
fn commands_and_users_are_handed_on_with_their_lines() {
    let text = b"rename-command KEYS \"\"\n\nuser alice on >p1 ~a* +@all\nrename-command A b\n";
    let loaded = read(text).unwrap();
    let renamed: Vec<_> = loaded
        .renamed_commands
        .iter()
        .map(|renamed| (&renamed.from[..], &renamed.to[..]))
        .collect();
    assert_eq!(renamed, [(&b"KEYS"[..], &b""[..]), (b"A", b"b")]);
    let [user] = &loaded.users[..] else {
        panic!("one user")
    };
    assert_eq!(
        (&user.name[..], user.rules.len(), user.line.number),
        (&b"alice"[..], 4, 3)
    );
    let error = user
        .line
        .clone()
        .refused("Error in user declaration 'alice': Syntax error")
        .to_string();
    assert!(
        error.contains("at line 3\n>>> 'user alice on >p1 ~a* +@all'\nError in user"),
        "{error}"
    );
}

#[test]
fn settings_without_effect_are_told_in_one_line_unless_they_are_the_default() {
    assert_eq!(
        read(b"activerehashing yes\nlazyfree-lazy-expire no\n")
            .unwrap()
            .warning(),
        None
    );
    let warning = read(b"activerehashing no\ntls-cert-file /x\nhz 5\n")
        .unwrap()
        .warning()
        .unwrap();
    assert!(
        warning.ends_with(": activerehashing, tls-cert-file"),
        "{warning}"
    );
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let mut endless = io::repeat(b'\n');
    let arguments = Arguments {
        standard_input: true,
        ..Arguments::default()
    };
    let error = load(&arguments, &mut endless).unwrap_err().to_string();
    assert!(error.ends_with("longer than 16777216 bytes"), "{error}");
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random::from_seed(19);
    let pieces: [&[u8]; 16] = [
        b"save ",
        b"\"",
        b"\n",
        b"1 ",
        b"bind ",
        b"user ",
        b"\r\n",
        b"hz ",
        b"#",
        b"\0",
        b"\xff",
        b"'",
        b"\\x4",
        b"replicaof ",
        b"client-output-buffer-limit ",
        b"rename-command ",
    ];
    for round in 0..4000 {
        let text: Vec<u8> = if round % 2 == 0 {
            (0..random.below(64))
                .map(|_| random.below(256) as u8)
                .collect()
        } else {
            (0..random.below(24))
                .flat_map(|_| pieces[random.below(16) as usize].to_vec())
                .collect()
        };
        let _ = read(&text).map_err(|error| error.to_string());
    }
}
