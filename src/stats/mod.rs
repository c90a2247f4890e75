//! Counters that INFO shows. Kept by the engine, written without locks of their own.

pub mod command_stats;
pub mod commands;
pub mod histogram;
pub mod info;
pub mod info_commands;
pub mod latency;
pub mod latency_commands;
pub mod memory_commands;
pub mod process;
pub mod slowlog;

use std::collections::BTreeMap;

use crate::clients::wire::Traffic;

use command_stats::CommandStats;
use process::ProcessSample;

/// At most so many error codes are counted apart; more than that is somebody playing.
const ERROR_CODES_MAX: usize = 128;

/// Since start or CONFIG RESETSTAT, unless a field says otherwise.
#[derive(Default)]
pub struct Stats {
    pub connections_received: u64,
    pub connections_rejected: u64,
    pub commands_processed: u64,
    /// What the link to the master has brought.
    pub net_repl_input_bytes: u64,
    /// Of connections that have ended: of ordinary clients, and of replicas.
    pub traffic_of_gone: [Traffic; 2],
    pub expired_time_cap_reached: u64,
    pub evicted_keys: u64,
    pub query_buffer_disconnections: u64,
    pub output_buffer_disconnections: u64,
    pub unexpected_error_replies: u64,
    pub error_replies: u64,
    /// By the index of the command in the table.
    pub commands: Vec<CommandStats>,
    /// Error replies by their code.
    pub errors: BTreeMap<String, u64>,
    pub rates: Rates,
    /// Not a count: a reset leaves it.
    pub process: ProcessSample,
}

impl Stats {
    pub fn new(commands: usize) -> Self {
        Stats {
            commands: vec![CommandStats::default(); commands],
            ..Stats::default()
        }
    }

    pub fn count_error(&mut self, code: &str) {
        self.error_replies += 1;
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < ERROR_CODES_MAX {
            self.errors.insert(code.to_owned(), 1);
        }
    }

    /// Takes over what a connection has counted that ends.
    pub fn count_traffic(&mut self, traffic: Traffic, is_replica: bool) {
        self.traffic_of_gone[usize::from(is_replica)].add(traffic);
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&mut self) {
        let process = std::mem::take(&mut self.process);
        *self = Stats::new(self.commands.len());
        self.process = process;
    }
}

/// Counts per second over the last samples, for INFO's `instantaneous_*`.
#[derive(Default)]
pub struct Rates {
    last: [u64; METRICS],
    samples: [[u64; SAMPLES]; METRICS],
    next: usize,
}

const METRICS: usize = 5;
const SAMPLES: usize = 16;

impl Rates {
    /// Notes the totals of commands, net input and output, replication input and output, `elapsed_ms` after the last call.
    pub fn sample(&mut self, totals: [u64; METRICS], elapsed_ms: u64) {
        for (metric, total) in totals.into_iter().enumerate() {
            let delta = total.saturating_sub(self.last[metric]);
            self.samples[metric][self.next] = delta * 1000 / elapsed_ms.max(1);
            self.last[metric] = total;
        }
        self.next = (self.next + 1) % SAMPLES;
    }

    /// The mean over the last samples, per second.
    pub fn per_second(&self, metric: usize) -> u64 {
        self.samples[metric].iter().sum::<u64>() / SAMPLES as u64
    }
}
