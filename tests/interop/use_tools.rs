//! redis-cli in its modes, redis-benchmark and redis-py against our server.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::load::Load;
use crate::support::server::{self, Server, redis_binary};
use crate::support::wait;

/// redis-cli on this server; nothing where there is none.
fn cli(server: &Server, words: &[&str]) -> Option<Command> {
    server::redis()?;
    let mut command = Command::new(redis_binary("redis-cli")?);
    command
        .args(["-h", "127.0.0.1", "-p", &server.port().to_string()])
        .args(words)
        .current_dir(server.home());
    Some(command)
}

fn text(output: &Output) -> String {
    let bytes = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Runs to the end, at most a minute.
#[track_caller]
fn run(mut command: Command) -> String {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let said = text(&output);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// A tool that never ends by itself, stopped when dropped; its output goes to a file.
struct Endless {
    child: Child,
    said: std::path::PathBuf,
}

impl Endless {
    fn start(mut command: Command, server: &Server) -> Endless {
        let said = server.home().join("tool.out");
        let file = fs::File::create(&said).expect("ours");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file handle can be cloned"))
            .stderr(file)
            .spawn()
            .expect("it runs");
        Endless { child, said }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.said).unwrap_or_default()).into_owned()
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn redis_cli_talks_in_both_protocols() {
    let server = server::sluice().start();
    for protocol in ["-2", "-3"] {
        let Some(command) = cli(&server, &[protocol, "HSET", "h", "f", "v"]) else {
            return;
        };
        run(command);
        let said = cli(&server, &[protocol, "--no-raw", "HGETALL", "h"]).map(run);
        let expected = if protocol == "-3" {
            "1# \"f\" => \"v\""
        } else {
            "1) \"f\"\n2) \"v\""
        };
        assert!(said.as_deref().unwrap_or("").contains(expected), "{said:?}");
    }
}

#[test]
fn redis_cli_fetches_a_snapshot() {
    let Some(real) = server::redis() else {
        return;
    };
    for diskless in ["yes", "no"] {
        let server = server::sluice()
            .set("repl-diskless-sync", diskless)
            .set("repl-diskless-sync-delay", "0")
            .start();
        Load::new(1).commands(10_000).lasting().run(server.port());
        let Some(command) = cli(&server, &["--rdb", "fetched.rdb"]) else {
            return;
        };
        run(command);
        let home = server::fresh_directory();
        fs::copy(server.home().join("fetched.rdb"), home.join("dump.rdb")).expect("ours");
        let copy = real.clone().home(&home).start();
        crate::support::agree::assert_same_data(&server, &copy);
        drop(copy);
        fs::remove_dir_all(&home).expect("ours");
    }
}

#[test]
fn redis_cli_follows_as_a_replica() {
    let server = server::sluice()
        .set("repl-diskless-sync-delay", "0")
        .start();
    let Some(command) = cli(&server, &["--replica"]) else {
        return;
    };
    let tool = Endless::start(command, &server);
    wait::until("it is attached", || {
        server.info("connected_slaves") == "1" && tool.said().contains("SYNC done")
    });
    server.must("SET seen value");
    wait::until("it shows the write", || {
        let said = tool.said();
        said.contains("seen") && said.contains("value")
    });
}

#[test]
fn redis_cli_inserts_in_bulk() {
    let server = server::sluice().start();
    let Some(mut command) = cli(&server, &["--pipe"]) else {
        return;
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut input = child.stdin.take().expect("it is a pipe");
    let mut bytes = Vec::new();
    for number in 0..100_000 {
        let (key, value) = (format!("key{number}"), format!("value{number}"));
        bytes.extend(crate::support::client::encoded(&["SET", &key, &value]));
    }
    input.write_all(&bytes).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let said = text(&output);
    assert!(said.contains("errors: 0, replies: 100000"), "{said}");
    assert_eq!(server.must("DBSIZE").integer(), 100_000);
}

#[test]
fn redis_cli_shows_statistics() {
    let server = server::sluice().start();
    server.must("DEBUG POPULATE 1234");
    let Some(command) = cli(&server, &["--stat", "-i", "0.1"]) else {
        return;
    };
    let tool = Endless::start(command, &server);
    wait::until("it shows the number of keys", || {
        tool.said().contains("1234")
    });
    assert!(
        !tool.said().to_lowercase().contains("error"),
        "{}",
        tool.said()
    );
}

#[test]
fn redis_cli_finds_the_biggest_keys() {
    let server = server::sluice().start();
    Load::new(2).commands(5000).run(server.port());
    let long = "x".repeat(500_000);
    server.client().command(&["SET", "the-biggest", &long]);
    for mode in ["--bigkeys", "--memkeys"] {
        let Some(command) = cli(&server, &[mode]) else {
            return;
        };
        let said = run(command);
        assert!(said.contains("the-biggest"), "{mode}: {said}");
    }
    let Some(command) = cli(&server, &["--scan", "--pattern", "the-*"]) else {
        return;
    };
    assert_eq!(run(command).trim(), "the-biggest");
}

#[test]
fn redis_cli_measures_and_repeats() {
    let server = server::sluice().start();
    let Some(command) = cli(&server, &["-r", "5", "-i", "0.01", "INCR", "n"]) else {
        return;
    };
    assert!(run(command).contains('5'));
    let Some(command) = cli(&server, &["--latency", "--raw", "-i", "0.1"]) else {
        return;
    };
    let said = run(command);
    assert!(said.split_whitespace().count() >= 4, "{said}");
}

#[test]
fn redis_benchmark_runs_its_tests() {
    let server = server::sluice().start();
    let Some(binary) = server::redis().and_then(|_| redis_binary("redis-benchmark")) else {
        return;
    };
    let tests = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,lrange_600,mset";
    for more in [vec![], vec!["-P", "16"], vec!["-c", "200", "-3"]] {
        let mut command = Command::new(&binary);
        command
            .args([
                "-p",
                &server.port().to_string(),
                "-n",
                "5000",
                "--csv",
                "-t",
                tests,
            ])
            .args(&more);
        let said = run(command);
        assert!(said.lines().count() >= 16, "{more:?}: {said}");
        assert!(!said.contains("Error"), "{more:?}: {said}");
    }
}

#[test]
fn redis_py_works() {
    let server = server::sluice().start();
    // A Python of the user's own may hide the one that apt installs modules for.
    let has_it = |python: &&str| {
        let output = Command::new(python).args(["-c", "import redis"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(has_it) else {
        assert!(!server::reference_is_required(), "there is no redis-py");
        eprintln!("SKIPPED: python3 has no redis module");
        return;
    };
    let script = r#"
import sys, redis
# RESP3 came with version 5.
protocols = [{"protocol": 2}, {"protocol": 3}] if int(redis.__version__.split(".")[0]) >= 5 else [{}]
for protocol in protocols:
    r = redis.Redis(port=int(sys.argv[1]), decode_responses=True, **protocol)
    r.flushall()
    assert r.set("k", "v", ex=100) and r.get("k") == "v" and 0 < r.ttl("k") <= 100
    r.hset("h", mapping={"a": 1, "b": 2}); assert r.hgetall("h") == {"a": "1", "b": "2"}
    r.rpush("l", 1, 2, 3); assert r.lrange("l", 0, -1) == ["1", "2", "3"]
    r.sadd("s", "x", "y"); assert r.smembers("s") == {"x", "y"}
    r.zadd("z", {"a": 1.5, "b": 2}); assert [tuple(p) for p in r.zrange("z", 0, -1, withscores=True)] == [("a", 1.5), ("b", 2.0)]
    with r.pipeline(transaction=True) as p:
        p.incr("n").incr("n"); assert p.execute() == [1, 2]
    assert sorted(r.scan_iter()) == ["h", "k", "l", "n", "s", "z"]
    assert r.info()["redis_version"] and r.config_get("port")["port"] == sys.argv[1]
    assert r.client_list() and r.client_info()["db"] in (0, "0")
    sub = r.pubsub(); sub.subscribe("ch"); sub.get_message(timeout=5)
    assert r.publish("ch", "hi") == 1
    assert sub.get_message(timeout=5)["data"] == "hi"
    sub.close()
    try:
        r.lpush("k", 1); assert False
    except redis.ResponseError as error:
        assert "WRONGTYPE" in str(error)
    assert r.role()[0] in ("master", b"master") and isinstance(r.command_count(), int)
print("fine")
"#;
    let mut command = Command::new(python);
    command.args(["-c", script, &server.port().to_string()]);
    assert!(run(command).contains("fine"));
}

#[test]
fn the_tools_end_in_time() {
    let server = server::sluice().start();
    let start = Instant::now();
    if let Some(command) = cli(&server, &["PING"]) {
        assert!(run(command).contains("PONG"));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
