//! Sentinel watches ours and a real one, and makes the replica the master when the master dies.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::agree::assert_agree;
use crate::support::client::Client;
use crate::support::server::{self, Server, redis_binary};
use crate::support::wait;

/// A sentinel, ended when dropped.
struct Sentinel {
    child: Child,
    port: u16,
    home: std::path::PathBuf,
}

impl Sentinel {
    fn watching(master: &Server) -> Option<Sentinel> {
        let binary = redis_binary("redis-sentinel").or_else(|| redis_binary("redis-server"))?;
        let home = server::fresh_directory();
        let port = server::free_port();
        let conf = home.join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {home}\nsentinel monitor main 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds main 3000\nsentinel failover-timeout main 10000\n",
            home = home.display(),
            master = master.port()
        );
        fs::write(&conf, text).expect("ours");
        let log = fs::File::create(home.join("sentinel.log")).expect("ours");
        let child = Command::new(binary)
            .arg(&conf)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let sentinel = Sentinel { child, port, home };
        wait::until("sentinel answers", || Client::try_connect(port).is_ok());
        Some(sentinel)
    }

    fn master_port(&self) -> String {
        let mut client = Client::connect(self.port);
        let reply = client.call("SENTINEL GET-MASTER-ADDR-BY-NAME main");
        reply
            .items()
            .get(1)
            .map_or(String::new(), |port| port.text())
    }

    fn field(&self, field: &str) -> String {
        let mut client = Client::connect(self.port);
        let reply = client.call("SENTINEL MASTER main");
        reply
            .field(field)
            .map_or(String::new(), |value| value.text())
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.home.join("sentinel.log")).unwrap_or_default();
            eprintln!("--- sentinel ---\n{log}");
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn fails_over(mut master: Server, replica: Server) {
    replica.follow(&master);
    master.must("SET k v");
    assert_agree(&master, &replica);
    let Some(sentinel) = Sentinel::watching(&master) else {
        return;
    };
    let within = Duration::from_secs(40);
    wait::until_within(within, "sentinel knows the replica", || {
        sentinel.field("num-slaves") == "1"
    });
    master.kill();
    wait::until_within(within, "the replica is the master", || {
        sentinel.master_port() == replica.port().to_string() && replica.try_info("role") == "master"
    });
    replica.must("SET after failover");
    master.start_again();
    wait::until_within(within, "the old master follows", || {
        master.try_info("role") == "slave" && master.try_info("master_link_status") == "up"
    });
    assert_agree(&replica, &master);
    assert_eq!(master.must("GET after").text(), "failover");
}

#[test]
fn sentinel_promotes_our_replica_of_a_real_master() {
    if let Some(real) = server::redis() {
        fails_over(real.start(), server::sluice().start());
    }
}

#[test]
fn sentinel_promotes_a_real_replica_of_ours() {
    if let Some(real) = server::redis() {
        fails_over(server::sluice().start(), real.start());
    }
}
