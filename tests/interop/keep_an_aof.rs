//! What is written to the AOF is read by the real server: after a clean end, and after kill -9 without a loss of anything
//! that was answered.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::agree;
use crate::support::client::Client;
use crate::support::load::Load;
use crate::support::server::{self, Server};

const THREADS: usize = 6;

fn check_aof(server: &Server) {
    let Some(program) = server::redis_binary("redis-check-aof") else {
        return;
    };
    let manifest = server.home().join("appendonlydir/appendonly.aof.manifest");
    let output = Command::new(program)
        .arg(&manifest)
        .output()
        .expect("it can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("All AOF files and manifest are valid"),
        "{text}"
    );
}

/// Each thread counts up in keys of its own until the server is gone; returns what was answered.
fn write_until_gone(port: u16, thread: usize, pipeline: usize, stop: &AtomicBool) -> usize {
    let mut client = Client::connect(port);
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        for number in answered..answered + pipeline {
            let (key, value) = (format!("key:{thread}:{number}"), number.to_string());
            let bytes = crate::support::client::encoded(&["SET", &key, &value]);
            if client.try_send_bytes(&bytes).is_err() {
                return answered;
            }
        }
        for _ in 0..pipeline {
            match client.try_reply() {
                Ok(_) => answered += 1,
                Err(_) => return answered,
            }
        }
    }
    answered
}

fn everything_answered_survives_kill(policy: &str) {
    let Some(redis) = server::redis() else { return };
    let mut server = server::sluice()
        .set("appendonly", "yes")
        .set("appendfsync", policy)
        .start();
    let stop = AtomicBool::new(false);
    let port = server.port();
    let answered: Vec<usize> = thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let pipeline = 1 + thread * 8;
                let stop = &stop;
                scope.spawn(move || write_until_gone(port, thread, pipeline, stop))
            })
            .collect();
        thread::sleep(Duration::from_millis(1500));
        server.kill();
        stop.store(true, Ordering::Relaxed);
        let joined = writers.into_iter().map(|writer| writer.join());
        joined.map(|count| count.expect("no panic")).collect()
    });
    assert!(answered.iter().all(|&count| count > 10), "{answered:?}");
    let reader = redis.home(server.home()).set("appendonly", "yes").start();
    let mut client = reader.client();
    for (thread, &count) in answered.iter().enumerate() {
        let mut missing = 0;
        for batch in (0..count).collect::<Vec<_>>().chunks(500) {
            let commands: Vec<Vec<String>> = batch
                .iter()
                .map(|number| vec!["GET".to_owned(), format!("key:{thread}:{number}")])
                .collect();
            let replies = client.pipeline(&commands);
            for (number, reply) in batch.iter().zip(replies) {
                missing += usize::from(reply.is_nil() || reply.text() != number.to_string());
            }
        }
        assert_eq!(missing, 0, "of {count} answered to thread {thread}");
    }
    drop(reader);
    check_aof(&server);
}

#[test]
fn under_always_everything_answered_survives_kill() {
    everything_answered_survives_kill("always");
}

#[test]
fn under_everysec_everything_answered_survives_kill() {
    everything_answered_survives_kill("everysec");
}

#[test]
fn without_syncs_everything_answered_survives_kill() {
    everything_answered_survives_kill("no");
}

#[test]
fn the_real_server_loads_what_was_closed_with_all_kinds_of_commands() {
    let Some(redis) = server::redis() else { return };
    for (number, way) in ["SHUTDOWN", "SIGTERM", "SHUTDOWN NOSAVE"]
        .iter()
        .enumerate()
    {
        let mut server = server::sluice()
            .set("appendonly", "yes")
            .set(
                "aof-timestamp-enabled",
                if number == 1 { "yes" } else { "no" },
            )
            .start();
        Load::new(number as u64)
            .commands(5_000)
            .lasting()
            .run(server.port());
        let digest = agree::digest(&server);
        match *way {
            "SIGTERM" => {
                server.terminate();
            }
            line => {
                server.client().send_line(line);
                server.await_exit();
            }
        }
        let manifest = server.home().join("appendonlydir/appendonly.aof.manifest");
        let text = std::fs::read_to_string(manifest).expect("a manifest");
        let last = text.lines().last().unwrap_or("");
        assert!(
            last.contains(" endoffset ") && last.contains(" crc64 "),
            "{way}: {text}"
        );
        let reader = redis
            .clone()
            .home(server.home())
            .set("appendonly", "yes")
            .start();
        assert_eq!(agree::digest(&reader), digest, "{way}");
        drop(reader);
        check_aof(&server);
    }
}
