//! INFO: what the engine tells about itself, section by section. Fields that Redis has too carry its names; what has no
//! meaning here is left out rather than made up.

use std::time::Duration;

use crate::aof::writer::Writer;
use crate::clients::Client;
use crate::clients::session::{Blocked, Role};
use crate::config::{REDIS_VERSION, VERSION};
use crate::engine::spec::flag::{LOADING, STALE};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::engine::{Engine, Node, table};
use crate::memory;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::info::{InfoText, Section, ratio};

pub const COMMANDS: &[Spec] = &[
    Spec::node("info", -1, LOADING | STALE, Keys::None, info).doc(
        "1.0.0",
        "server",
        "Returns information and statistics about the server.",
        "O(1)",
    ),
];

/// INFO [section [section ...]]
fn info(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let mut text = InfoText::default();
    for section in Section::wanted(args.skip(1).iter()) {
        text.section(section);
        tell(node.engine, section, &mut text);
    }
    reply.verbatim("txt", text.0.as_bytes());
    Ok(Outcome::Replied)
}

fn tell(engine: &Engine, section: Section, text: &mut InfoText) {
    match section {
        Section::Server => server(engine, text),
        Section::Clients => clients(engine, text),
        Section::Memory => memory(engine, text),
        Section::Persistence => persistence(engine, text),
        Section::Stats => stats(engine, text),
        Section::Replication => engine.replication_info(&mut text.0),
        Section::Cpu => {
            let process = &engine.stats.process;
            text.field(
                "used_cpu_sys",
                format_args!("{:.6}", process.system_seconds),
            );
            text.field("used_cpu_user", format_args!("{:.6}", process.user_seconds));
        }
        Section::Engine => holds(engine, text),
        Section::Modules => {}
        Section::Commandstats => command_stats(engine, text),
        Section::Errorstats => {
            for (code, count) in &engine.stats.errors {
                text.field(
                    format_args!("errorstat_{code}"),
                    format_args!("count={count}"),
                );
            }
        }
        Section::Latencystats => latency_stats(engine, text),
        Section::Cluster => text.field("cluster_enabled", 0),
        Section::Keyspace => keyspace(engine, text),
    }
}

fn server(engine: &Engine, text: &mut InfoText) {
    let uptime = engine.monotonic.saturating_sub(engine.started_monotonic);
    let config = &engine.config;
    text.field("redis_version", REDIS_VERSION);
    text.field("sluice_version", VERSION);
    text.field("server_name", "sluice");
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_mode", "standalone");
    text.field("os", &engine.stats.process.system);
    text.field("arch_bits", usize::BITS);
    text.field("monotonic_clock", "POSIX clock_gettime");
    text.field("multiplexing_api", "epoll");
    text.field("process_id", std::process::id());
    text.field("process_supervised", "no");
    text.field("run_id", String::from_utf8_lossy(&engine.run_id));
    text.field("tcp_port", config.port);
    text.field("server_time_usec", engine.clock.unix_micros());
    text.field("uptime_in_seconds", uptime.as_secs());
    text.field("uptime_in_days", uptime.as_secs() / 86_400);
    text.field("hz", config.hz);
    text.field("configured_hz", config.hz);
    text.field("lru_clock", engine.now.seconds() & 0xff_ffff);
    text.field("executable", &engine.stats.process.program);
    let file = engine.config_file.as_deref().unwrap_or("".as_ref());
    text.field("config_file", file.display());
    text.flag("io_threads_active", config.io_threads > 1);
}

fn clients(engine: &Engine, text: &mut InfoText) {
    let count = |fits: &dyn Fn(&Client) -> bool| {
        engine.clients.iter().filter(|client| fits(client)).count()
    };
    let most = |bytes: &dyn Fn(&Client) -> usize| {
        let ordinary = engine.clients.iter().filter(|client| is_ordinary(client));
        ordinary.map(bytes).max().unwrap_or(0)
    };
    text.field(
        "connected_clients",
        count(&|client| !client.session.is_replica()),
    );
    text.field("cluster_connections", 0);
    text.field("maxclients", engine.config.maxclients);
    text.field(
        "client_recent_max_input_buffer",
        most(&|client| client.outbox.wire.held_bytes()),
    );
    text.field(
        "client_recent_max_output_buffer",
        most(&|client| client.outbox.waiting_bytes()),
    );
    text.field(
        "blocked_clients",
        count(&|client| client.session.blocked.is_some()),
    );
    text.field("tracking_clients", 0);
    text.field(
        "pubsub_clients",
        count(&|client| client.session.is_subscriber()),
    );
    text.field(
        "watching_clients",
        count(&|client| !client.session.watched.is_empty()),
    );
    text.field("clients_in_timeout_table", count(&has_deadline));
    text.field("total_watched_keys", engine.watched.len());
}

fn is_ordinary(client: &Client) -> bool {
    client.session.role == Role::Normal
}

fn has_deadline(client: &Client) -> bool {
    match &client.session.blocked {
        Some(Blocked::Until { .. }) => true,
        Some(Blocked::ForReplicas { deadline, .. } | Blocked::ForDisks { deadline, .. }) => {
            deadline.is_some()
        }
        _ => false,
    }
}

/// Where the memory went that is not data. Sums over clients and databases, not over keys.
pub struct MemoryUse {
    pub used: u64,
    pub startup: u64,
    pub backlog: u64,
    pub replicas: u64,
    pub clients: u64,
    /// Nodes of the tables that keys stand in.
    pub tables: u64,
}

impl MemoryUse {
    pub fn of(engine: &Engine) -> Self {
        let held = |is_replica: bool| {
            let fitting = |client: &&Client| client.session.is_replica() == is_replica;
            let clients = engine.clients.iter().filter(fitting);
            clients.map(|client| client.held_bytes() as u64).sum()
        };
        let tables = engine.keyspace.iter().filter(|db| !db.is_empty());
        MemoryUse {
            used: memory::used_bytes(),
            startup: engine.started_memory_bytes,
            backlog: engine.journal.shared().held().memory_bytes,
            replicas: held(true),
            clients: held(false),
            tables: tables.map(|db| db.heap_bytes() as u64).sum(),
        }
    }

    pub fn overhead(&self) -> u64 {
        self.startup + self.backlog + self.replicas + self.clients + self.tables
    }

    pub fn dataset(&self) -> u64 {
        self.used.saturating_sub(self.overhead())
    }

    /// The data's share of what was allocated since the start, in percent.
    pub fn dataset_percent(&self) -> f64 {
        100.0 * ratio(self.dataset(), self.used.saturating_sub(self.startup))
    }
}

fn memory(engine: &Engine, text: &mut InfoText) {
    let (usage, process, config) = (MemoryUse::of(engine), &engine.stats.process, &engine.config);
    let peak = memory::peak_bytes();
    text.bytes("used_memory", usage.used);
    text.bytes("used_memory_rss", process.resident_bytes);
    text.bytes("used_memory_peak", peak);
    text.field(
        "used_memory_peak_perc",
        format_args!("{:.2}%", 100.0 * ratio(usage.used, peak)),
    );
    text.field("used_memory_overhead", usage.overhead());
    text.field("used_memory_startup", usage.startup);
    text.field("used_memory_dataset", usage.dataset());
    text.field(
        "used_memory_dataset_perc",
        format_args!("{:.2}%", usage.dataset_percent()),
    );
    text.bytes("total_system_memory", process.machine_bytes);
    text.bytes("maxmemory", config.maxmemory);
    text.field("maxmemory_policy", config.maxmemory_policy.word());
    let fragmentation = ratio(process.resident_bytes, usage.used);
    text.field(
        "mem_fragmentation_ratio",
        format_args!("{fragmentation:.2}"),
    );
    let lost = process.resident_bytes as i64 - usage.used as i64;
    text.field("mem_fragmentation_bytes", lost);
    text.field("mem_not_counted_for_evict", 0);
    text.field("mem_replication_backlog", usage.backlog);
    text.field("mem_total_replication_buffers", usage.backlog);
    text.field("mem_clients_slaves", usage.replicas);
    text.field("mem_clients_normal", usage.clients);
    text.field("mem_cluster_links", 0);
    text.field("mem_allocator", "jemalloc");
    text.field("active_defrag_running", 0);
}

fn persistence(engine: &Engine, text: &mut InfoText) {
    let state = &engine.persistence;
    let seconds = |took: Option<Duration>| took.map_or(-1, |took| took.as_secs() as i64);
    let running = state.running.as_ref();
    // What Redis has one child for may be two here: their numbers are added.
    let walks = running
        .map(|save| (save.keys_done(), save.keys_total, save.retained_bytes()))
        .into_iter()
        .chain(engine.rewrites.running.as_ref().map(|rewrite| {
            (
                rewrite.keys_done(),
                rewrite.keys_total,
                rewrite.retained_bytes(),
            )
        }));
    let (done, total, retained) = walks.fold((0, 0, 0), |sum, walk| {
        (sum.0 + walk.0, sum.1 + walk.1, sum.2.max(walk.2))
    });
    let is_loading = |serving| {
        let loading = state.loading.as_ref();
        loading.is_some_and(|loading| loading.serving == serving)
    };
    text.flag("loading", is_loading(false));
    text.flag("async_loading", is_loading(true));
    text.field("current_cow_peak", retained);
    text.field("current_cow_size", retained);
    text.field("current_cow_size_age", 0);
    text.field(
        "current_fork_perc",
        format_args!("{:.2}", 100.0 * ratio(done, total)),
    );
    text.field("current_save_keys_processed", done);
    text.field("current_save_keys_total", total);
    text.field("rdb_changes_since_last_save", state.dirty);
    text.flag("rdb_bgsave_in_progress", running.is_some());
    text.field("rdb_last_save_time", state.last_save_unix);
    text.field(
        "rdb_last_bgsave_status",
        if state.last_status_ok { "ok" } else { "err" },
    );
    text.field("rdb_last_bgsave_time_sec", seconds(state.last_took));
    let since = running.map(|save| engine.monotonic.saturating_sub(save.started));
    text.field("rdb_current_bgsave_time_sec", seconds(since));
    text.field("rdb_saves", state.saves);
    text.field("rdb_last_cow_size", state.last_retained_bytes);
    text.field("rdb_last_load_keys_expired", state.last_load_expired);
    text.field("rdb_last_load_keys_loaded", state.last_load_loaded);
    text.flag("aof_enabled", engine.config.appendonly);
    let rewrites = &engine.rewrites;
    let rewrite = rewrites.running.as_ref();
    let since = rewrite.map(|rewrite| engine.monotonic.saturating_sub(rewrite.started));
    text.flag("aof_rewrite_in_progress", rewrite.is_some());
    text.flag("aof_rewrite_scheduled", rewrites.scheduled);
    text.field("aof_last_rewrite_time_sec", seconds(rewrites.last_took));
    text.field("aof_current_rewrite_time_sec", seconds(since));
    text.field(
        "aof_last_bgrewrite_status",
        if rewrites.last_status_ok { "ok" } else { "err" },
    );
    text.field("aof_rewrites", rewrites.begun);
    text.field(
        "aof_rewrites_consecutive_failures",
        rewrites.consecutive_failures,
    );
    aof(engine, text);
    if let Some(loading) = &state.loading {
        let (loaded, total) = (loading.loaded_bytes, loading.total_bytes);
        let elapsed = engine.now.seconds() - loading.started_unix;
        let left = elapsed as f64 * ratio(total.saturating_sub(loaded), loaded);
        text.field("loading_start_time", loading.started_unix);
        text.field("loading_total_bytes", total);
        text.field("loading_rdb_used_mem", loading.used_mem);
        text.field("loading_loaded_bytes", loaded);
        text.field(
            "loading_loaded_perc",
            format_args!("{:.2}", 100.0 * ratio(loaded, total)),
        );
        text.field("loading_eta_seconds", left as i64);
    }
}

/// What the AOF's writer tells. Sizes are those of the files, without history.
fn aof(engine: &Engine, text: &mut InfoText) {
    let status = engine.aof.writer().map(Writer::status);
    let works = status.as_ref().is_none_or(|status| !status.is_failing());
    text.field("aof_last_write_status", if works { "ok" } else { "err" });
    text.field("aof_last_cow_size", engine.rewrites.last_retained_bytes);
    if status.is_none() && !engine.config.appendonly {
        return;
    }
    let status = status.unwrap_or_default();
    let durability = &engine.aof.durability;
    let (written, synced) = (durability.written(), durability.synced());
    text.field("aof_current_size", status.current_bytes);
    let base = engine.rewrites.size_before_growth(status.base_bytes);
    text.field("aof_base_size", base);
    text.flag("aof_pending_rewrite", engine.rewrites.scheduled);
    let waiting = match engine.aof.is_on() {
        true => engine.journal.end().since(written),
        false => 0,
    };
    text.field("aof_buffer_length", waiting);
    text.field("aof_pending_bio_fsync", status.pending_syncs);
    text.field("aof_delayed_fsync", status.delayed_syncs);
    text.field("aof_history_size", status.history_bytes);
    text.field("aof_segment", status.segment);
    text.field("aof_segment_size", status.segment_bytes);
    text.field("aof_writes", status.writes);
    text.field("aof_fsyncs", status.syncs);
    text.field("aof_written_offset", written);
    text.field("aof_synced_offset", synced);
    text.field("aof_held_clients", durability.waiting());
}

fn stats(engine: &Engine, text: &mut InfoText) {
    let (stats, counters, pubsub) = (&engine.stats, &engine.counters, &engine.pubsub);
    let syncs = engine.replication.feeds.stats();
    let (clients, replicas) = engine.traffic();
    let kilobytes = |metric| stats.rates.per_second(metric) as f64 / 1024.0;
    text.field("total_connections_received", stats.connections_received);
    text.field("total_commands_processed", stats.commands_processed);
    text.field("instantaneous_ops_per_sec", stats.rates.per_second(0));
    text.field(
        "total_net_input_bytes",
        clients.read_bytes + replicas.read_bytes,
    );
    text.field(
        "total_net_output_bytes",
        clients.written_bytes + replicas.written_bytes,
    );
    text.field("total_net_repl_input_bytes", stats.net_repl_input_bytes);
    text.field("total_net_repl_output_bytes", replicas.written_bytes);
    text.field(
        "instantaneous_input_kbps",
        format_args!("{:.2}", kilobytes(1)),
    );
    text.field(
        "instantaneous_output_kbps",
        format_args!("{:.2}", kilobytes(2)),
    );
    text.field(
        "instantaneous_input_repl_kbps",
        format_args!("{:.2}", kilobytes(3)),
    );
    text.field(
        "instantaneous_output_repl_kbps",
        format_args!("{:.2}", kilobytes(4)),
    );
    text.field("rejected_connections", stats.connections_rejected);
    text.field("sync_full", syncs.full);
    text.field("sync_partial_ok", syncs.partial_ok);
    text.field("sync_partial_err", syncs.partial_err);
    text.field("expired_keys", counters.expired);
    text.field(
        "expired_time_cap_reached_count",
        stats.expired_time_cap_reached,
    );
    text.field("evicted_keys", stats.evicted_keys);
    text.field("keyspace_hits", counters.hits);
    text.field("keyspace_misses", counters.misses);
    text.field("pubsub_channels", pubsub.channel_count());
    text.field("pubsub_patterns", pubsub.pattern_count());
    text.field("pubsubshard_channels", pubsub.shard_channel_count());
    // Nothing forks; this is how long the start of a snapshot holds everybody up, as a fork would.
    text.field(
        "latest_fork_usec",
        engine.persistence.last_start_nanos / 1000,
    );
    text.field("total_forks", engine.persistence.snapshots);
    text.field("slave_expires_tracked_keys", engine.local_expiries.len());
    text.field("unexpected_error_replies", stats.unexpected_error_replies);
    text.field("total_error_replies", stats.error_replies);
    text.field("total_reads_processed", clients.reads + replicas.reads);
    text.field("total_writes_processed", clients.writes + replicas.writes);
    text.field(
        "client_query_buffer_limit_disconnections",
        stats.query_buffer_disconnections,
    );
    text.field(
        "client_output_buffer_limit_disconnections",
        stats.output_buffer_disconnections,
    );
}

/// How long the engine's lock was held: what one request can make others wait.
fn holds(engine: &Engine, text: &mut InfoText) {
    let micros = |percent| engine.held.percentile(percent).as_secs_f64() * 1e6;
    text.field("lock_holds", engine.held.count());
    text.field("lock_hold_p50_usec", format_args!("{:.3}", micros(50.0)));
    text.field("lock_hold_p99_usec", format_args!("{:.3}", micros(99.0)));
    text.field("lock_hold_p99.9_usec", format_args!("{:.3}", micros(99.9)));
    let longest = engine.held.longest().as_secs_f64() * 1e6;
    text.field("lock_hold_max_usec", format_args!("{longest:.3}"));
}

fn command_stats(engine: &Engine, text: &mut InfoText) {
    for (command, stats) in table::all().iter().zip(&engine.stats.commands) {
        if stats.calls + stats.rejected + stats.failed == 0 {
            continue;
        }
        let each = ratio(stats.nanos, stats.calls) / 1000.0;
        text.field(
            format_args!("cmdstat_{}", command.spec.name),
            format_args!(
                "calls={},usec={},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                stats.calls,
                stats.nanos / 1000,
                stats.rejected,
                stats.failed
            ),
        );
    }
}

fn latency_stats(engine: &Engine, text: &mut InfoText) {
    for (command, stats) in table::all().iter().zip(&engine.stats.commands) {
        if stats.latencies.count() == 0 {
            continue;
        }
        let wanted = &engine.config.latency_tracking_info_percentiles;
        let percentiles = wanted.iter().map(|&percent| {
            let micros = stats.latencies.percentile(percent).as_secs_f64() * 1e6;
            format!("p{percent}={micros:.3}")
        });
        text.field(
            format_args!("latency_percentiles_usec_{}", command.spec.name),
            percentiles.collect::<Vec<_>>().join(","),
        );
    }
}

fn keyspace(engine: &Engine, text: &mut InfoText) {
    for (number, db) in engine.keyspace.iter().enumerate() {
        if db.is_empty() {
            continue;
        }
        let left = db.mean_expiry().map_or(0, |mean| mean.0 - engine.now.0);
        let average = if db.volatile_len() > 0 {
            left.max(0)
        } else {
            0
        };
        text.field(
            format_args!("db{number}"),
            format_args!(
                "keys={},expires={},avg_ttl={average}",
                db.len(),
                db.volatile_len()
            ),
        );
    }
}
