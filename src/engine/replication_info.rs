//! INFO replication: both ends, in the order and with the names of redis 7.0, and what it does not tell: why.

use std::fmt::Write;
use std::time::Duration;

use crate::config::values::MasterAddress;
use crate::replication::identity::FullReason;

use super::Engine;

impl Engine {
    /// Appends the lines of the section.
    pub fn replication_info(&self, text: &mut String) {
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{name}:{value}\r\n");
        };
        let now = self.monotonic;
        let link = self.replication.following.link();
        match &self.config.replicaof {
            None => line("role", &"master"),
            Some(MasterAddress { host, port }) => {
                line("role", &"slave");
                line("master_host", host);
                line("master_port", port);
                line(
                    "master_link_status",
                    &if link.is_up() { "up" } else { "down" },
                );
                line("master_last_io_seconds_ago", &link.last_io_seconds_ago(now));
                line("master_sync_in_progress", &u8::from(link.is_syncing()));
                line("slave_read_repl_offset", &link.read_offset());
                line("slave_repl_offset", &link.applied_offset());
                if let Some(progress) = link.sync_progress(now) {
                    line("master_sync_total_bytes", &progress.total_bytes);
                    line("master_sync_read_bytes", &progress.read_bytes);
                    line("master_sync_left_bytes", &progress.left_bytes());
                    line("master_sync_perc", &format!("{:.2}", progress.percent()));
                    line(
                        "master_sync_last_io_seconds_ago",
                        &progress.last_io_seconds_ago,
                    );
                }
                if !link.is_up() {
                    line(
                        "master_link_down_since_seconds",
                        &link.down_since_seconds(now),
                    );
                }
                let (current, total) = link.attempts();
                line("master_current_sync_attempts", &current);
                line("master_total_sync_attempts", &total);
                if let Some(seconds) = link.up_since_seconds(now) {
                    line("master_link_up_since_seconds", &seconds);
                }
                line("total_disconnect_time_sec", &link.down_total_seconds(now));
                line(
                    "master_last_failure",
                    &link.last_failure().unwrap_or_default(),
                );
                line("slave_priority", &self.config.replica_priority);
                line("slave_read_only", &u8::from(self.config.replica_read_only));
                line(
                    "replica_announced",
                    &u8::from(self.config.replica_announced),
                );
            }
        }
        let feeds = &self.replication.feeds;
        line("connected_slaves", &feeds.count());
        let (wanted, lag) = (
            self.config.min_replicas_to_write,
            self.config.min_replicas_max_lag,
        );
        if wanted > 0 && lag > 0 {
            line(
                "min_slaves_good_slaves",
                &feeds.count_good(Duration::from_secs(lag.into()), now),
            );
        }
        for replica in feeds.info_lines(now) {
            if let Some((name, state)) = replica.split_once(':') {
                line(name, &state);
            }
        }
        for (number, place) in feeds.place_lines(self.journal.end(), now).enumerate() {
            line(&format!("sluice_slave{number}"), &place);
        }
        line("master_failover_state", &"no-failover");
        let identity = &self.replication.identity;
        line("master_replid", &identity.id());
        line("master_replid2", &identity.second_id());
        line("master_repl_offset", &self.journal.end());
        line("second_repl_offset", &identity.second_offset());
        let window = self.journal.window();
        line("repl_backlog_active", &u8::from(window.is_some()));
        line("repl_backlog_size", &self.config.repl_backlog_size);
        line(
            "repl_backlog_first_byte_offset",
            &window.map_or(0, |window| window.start.next_byte()),
        );
        line(
            "repl_backlog_histlen",
            &window.map_or(0, |window| window.length()),
        );
        line(
            "sluice_backlog_disk_size",
            &self.config.repl_backlog_disk_size,
        );
        let disk = self.disk_window().map(|disk| disk.window);
        line("sluice_backlog_disk_active", &u8::from(disk.is_some()));
        line(
            "sluice_backlog_disk_first_byte_offset",
            &disk.map_or(0, |window| window.start.next_byte()),
        );
        line(
            "sluice_backlog_disk_histlen",
            &disk.map_or(0, |window| window.length()),
        );
        line("sluice_replicas_moved_to_disk", &feeds.stats().spills);
        line(
            "sluice_sync_partial_from_disk",
            &feeds.stats().partial_from_disk,
        );
        for (name, count) in FullReason::NAMES.iter().zip(feeds.stats().full_by_reason) {
            line(&format!("sync_full_{name}"), &count);
        }
    }
}
