//! THE table: every parameter that acts, with its type, syntax, default and one sentence. `Config` is made from it.
//!
//! Names, ranges and defaults are those of Redis 7.0.15 (and 7.2 or Valkey 8, where the name is theirs) unless the
//! sentence says that the parameter is ours. `conf/sluice.conf` is written from this table; a test compares them. What
//! Redis knows and this server has no use for stands in `accepted.rs`.

use std::path::PathBuf;

use super::events::KeyspaceEvents;
use super::kinds::{Kind, TEXT, int, memory};
use super::parameter::table_of_fields;
use super::values::{
    AppendFsync, BindAddress, DisklessLoad, ListpackSize, LogLevel, MasterAddress, MaxmemoryPolicy,
    MemoryShare, NewerRdb, OutputBufferLimit, Permission, PubsubDefault, SavePoint,
    ShutdownOptions, SlowReplica,
};

const I32_MAX: i64 = i32::MAX as i64;
const I64_MAX: u64 = i64::MAX as u64;

table_of_fields! {
    /// Every setting that acts, under the name that people know it by.
    ///
    /// Plain data: cheap to read, cloned to be changed. A number without a unit in its sentence is a count.

    section "Network" "Who may connect, and how much one connection may ask for."

    /// Addresses to listen on. `*` is every IPv4 address and `::*` every IPv6 address; a leading `-` lets the server
    /// start even if the address does not exist.
    bind: Vec<BindAddress> = Kind::Bind, "* -::*";
    /// TCP port for clients and replicas; 0 opens none.
    port: u16 = int(0, 65535), "6379";
    /// Path of a Unix socket to listen on too; empty opens none.
    unixsocket: PathBuf = TEXT, "\"\"", flags [Immutable];
    /// Permission bits of the Unix socket, in octal; 0 leaves them to the umask.
    unixsocketperm: u32 = Kind::Octal { max: 0o777 }, "0", flags [Immutable];
    /// Local address of connections that this server opens; empty leaves it to the system.
    bind_source_addr: String = TEXT, "\"\"";
    /// With no password and no address to bind to, serve only connections from this machine.
    protected_mode: bool = Kind::Bool, "yes";
    /// Connections that may wait to be accepted, before the system refuses more.
    tcp_backlog: u32 = int(0, I32_MAX), "511", flags [Immutable];
    /// Seconds of silence after which the system probes whether the other end is alive; 0 never probes.
    tcp_keepalive: u32 = int(0, I32_MAX), "300";
    /// Seconds of silence after which a client is disconnected; 0 never does. Replicas and subscribers are exempt.
    timeout: u32 = int(0, I32_MAX), "0";
    /// Clients connected at the same time, replicas included; one more is told so and closed.
    maxclients: u32 = int(1, u32::MAX as i64), "10000";
    /// Loops that read from and write to clients. Commands run one at a time all the same; 1 is best up to a few cores.
    io_threads: u16 = int(1, 128), "1", flags [Immutable];
    /// Bytes that a client may have sent without a complete command in them; more closes it.
    client_query_buffer_limit: u64 = memory(1024 * 1024, I64_MAX), "1gb";
    /// Bytes of replies that may wait for a client, for each class (normal, replica, pubsub): it is closed above the
    /// first number, or above the second for as many seconds as the third says. 0 is no limit.
    client_output_buffer_limit: [OutputBufferLimit; 3] = Kind::OutputBufferLimits,
        "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60";
    /// Longest single argument of a command, in bytes.
    proto_max_bulk_len: u64 = memory(1024 * 1024, I64_MAX), "512mb";

    section "Security" "Who may do what."

    /// Password of the default user; empty lets everybody in.
    requirepass: Vec<u8> = Kind::Bytes, "\"\"", flags [Secret];
    /// File with the ACL users; empty keeps them in this file, as `user` lines.
    aclfile: PathBuf = TEXT, "\"\"", flags [Immutable];
    /// Channels of new ACL users: all of them, or none.
    acl_pubsub_default: PubsubDefault = Kind::Words(PubsubDefault::WORDS), "resetchannels";
    /// Refused requests that ACL LOG remembers.
    acllog_max_len: u64 = int(0, i64::MAX), "128";
    /// Who may use DEBUG: nobody, everybody, or connections from this machine.
    enable_debug_command: Permission = Kind::Words(Permission::WORDS), "no", flags [Immutable];
    /// Who may change `dir` and `dbfilename` with CONFIG SET.
    enable_protected_configs: Permission = Kind::Words(Permission::WORDS), "no", flags [Immutable];

    section "Process" "How the server runs, logs and stops."

    /// Run in the background.
    daemonize: bool = Kind::Bool, "no", flags [Immutable];
    /// File to write the process id to; empty writes none, unless the server runs in the background.
    pidfile: PathBuf = TEXT, "\"\"", flags [Immutable];
    /// What is worth a line in the log: debug, verbose, notice, warning or nothing.
    loglevel: LogLevel = Kind::Words(LogLevel::WORDS), "notice";
    /// File to log to; empty is the standard output.
    logfile: PathBuf = TEXT, "\"\"", flags [Immutable];
    /// Databases that SELECT can choose from.
    databases: u32 = int(1, I32_MAX), "16", flags [Immutable];
    /// Times per second that the server looks after deadlines, expired keys and idle clients.
    hz: u32 = Kind::Int { min: 0, max: I32_MAX, kept_min: 1, kept_max: 500 }, "10";
    /// Seconds that a shutdown waits for replicas to receive the last writes.
    shutdown_timeout: u32 = int(0, I32_MAX), "10";
    /// What SIGINT does: default (save if there are save points), or any of save, nosave, now and force.
    shutdown_on_sigint: ShutdownOptions = Kind::ShutdownOptions, "default";
    /// What SIGTERM does, in the same words.
    shutdown_on_sigterm: ShutdownOptions = Kind::ShutdownOptions, "default";

    section "Snapshots" "The dataset in one RDB file, taken without a fork and without a pause."

    /// When to take a snapshot: pairs of seconds and changes. Several lines add up; `save ""` is never.
    save: Vec<SavePoint> = Kind::SavePoints, "3600 1 300 100 60 10000";
    /// Directory of the RDB file and of the AOF's directory.
    dir: PathBuf = Kind::Directory, "./", flags [Protected, NotWhileLoading];
    /// Name of the RDB file.
    dbfilename: PathBuf = Kind::Text(|name| plain_name(name, "dbfilename can't be a path, just a filename")),
        "dump.rdb", flags [Protected];
    /// Ours: version of the RDB format to write, 10 to 12. 10 is read by Redis from 7.0 and by every Valkey; 12 is needed
    /// to keep the expiry of hash fields.
    rdb_version: u16 = int(10, 12), "10";
    /// Compress strings in RDB files.
    rdbcompression: bool = Kind::Bool, "yes";
    /// End RDB files with a checksum, and verify it when loading.
    rdbchecksum: bool = Kind::Bool, "yes", flags [Immutable];
    /// Force an RDB file to disk every few megabytes while it is written, so that no long burst is left for the end.
    rdb_save_incremental_fsync: bool = Kind::Bool, "yes";
    /// Refuse writes while the last snapshot to disk has failed.
    stop_writes_on_bgsave_error: bool = Kind::Bool, "yes";
    /// Delete RDB files that were only needed to feed a replica, where persistence is off.
    rdb_del_sync_files: bool = Kind::Bool, "no";
    /// Ours: bytes that snapshots in progress may hold of data that has changed since; 0 is no limit. Above it, the oldest
    /// snapshot is given up.
    snapshot_retained_bytes_max: u64 = memory(0, u64::MAX), "0";

    section "Append-only file" "Every write on disk. A node that restarts from its AOF also remembers its replication offset."

    /// Keep an AOF.
    appendonly: bool = Kind::Bool, "no", flags [NotWhileLoading];
    /// First part of the names of the AOF's files.
    appendfilename: PathBuf = Kind::Text(append_file_name), "appendonly.aof", flags [Immutable];
    /// Directory of the AOF's files, inside `dir`.
    appenddirname: PathBuf = Kind::Text(append_dir_name), "appendonlydir", flags [Immutable];
    /// When writes are forced to disk: before they are answered (always), once a second (everysec), or when the system
    /// likes (no).
    appendfsync: AppendFsync = Kind::Words(AppendFsync::WORDS), "everysec";
    /// Ours: under `appendfsync always`, end the process when the AOF cannot be written, as Redis does. With no, writes are
    /// refused until the disk takes them again, and those that are not on disk stay unanswered until they are.
    aof_exit_on_error: bool = Kind::Bool, "yes";
    /// Do not force the AOF to disk while it is being rewritten or a snapshot is written.
    no_appendfsync_on_rewrite: bool = Kind::Bool, "no";
    /// Growth since the last rewrite, in percent, that starts a rewrite; 0 never does.
    auto_aof_rewrite_percentage: u32 = int(0, I32_MAX), "100";
    /// Smallest AOF that is rewritten on its own, in bytes.
    auto_aof_rewrite_min_size: u64 = memory(0, I64_MAX), "64mb";
    /// Force a rewritten AOF to disk every few megabytes while it is written.
    aof_rewrite_incremental_fsync: bool = Kind::Bool, "yes";
    /// Load an AOF whose last command is incomplete, up to there, instead of refusing to start.
    aof_load_truncated: bool = Kind::Bool, "yes";
    /// Bytes at the end of an AOF that may be no commands at all, as after a loss of power, and are cut off when it is
    /// loaded, instead of refusing to start; 0 accepts none.
    aof_load_corrupt_tail_max_size: u64 = memory(0, I64_MAX), "0";
    /// Ours: what to do at start about an RDB file that was written after the AOF and does not belong to its history, as
    /// after a time without AOF: refuse to start, load it in place of the AOF, or ignore it.
    aof_newer_rdb: NewerRdb = Kind::Words(NewerRdb::WORDS), "refuse";
    /// Write the base of the AOF as RDB, which is smaller and loads faster than commands.
    aof_use_rdb_preamble: bool = Kind::Bool, "yes";
    /// Annotate the AOF with the time, so that it can be cut at a moment.
    aof_timestamp_enabled: bool = Kind::Bool, "no";

    section "Replication: this server as a replica" "Whom to follow, and how."

    /// Host and port of the master to follow; `no one` follows nobody. REPLICAOF changes it at run time.
    replicaof: Option<MasterAddress> = Kind::Master, "no one", also ["slaveof"], flags [Immutable];
    /// User to log in to the master as; empty is its default user.
    masteruser: Vec<u8> = Kind::Bytes, "\"\"", also ["primaryuser"], flags [Secret];
    /// Password to log in to the master with; empty does not log in.
    masterauth: Vec<u8> = Kind::Bytes, "\"\"", also ["primaryauth"], flags [Secret];
    /// Refuse writes of clients while following a master.
    replica_read_only: bool = Kind::Bool, "yes", also ["slave-read-only"];
    /// Answer reads with what there is while the link to the master is down, or loading has not finished.
    replica_serve_stale_data: bool = Kind::Bool, "yes", also ["slave-serve-stale-data"];
    /// How to load a snapshot that comes over the socket: by way of a file (disabled), at once if there is no data
    /// (on-empty-db), beside the old data and swapped in whole (swapdb), or after dropping the old data (flushdb, also
    /// written flush-before-load).
    repl_diskless_load: DisklessLoad = Kind::Words(DisklessLoad::WORDS), "disabled", flags [NotWhileLoading];
    /// Receive the snapshot over a connection of its own where the master offers it, and the writes meanwhile over the
    /// first.
    dual_channel_replication_enabled: bool = Kind::Bool, "no";
    /// Rank of this replica when Sentinel elects a master: the lowest number is first, 0 is never.
    replica_priority: u32 = int(0, I32_MAX), "100", also ["slave-priority"];
    /// Show this replica in the answers that Sentinel reads from the master.
    replica_announced: bool = Kind::Bool, "yes";
    /// Address that the master reports for this replica; empty is the one it connects from.
    replica_announce_ip: String = TEXT, "\"\"", also ["slave-announce-ip"];
    /// Port that the master reports for this replica; 0 is the one it listens on.
    replica_announce_port: u16 = int(0, 65535), "0", also ["slave-announce-port"];
    /// Leave eviction to the master, whose deletions arrive anyway.
    replica_ignore_maxmemory: bool = Kind::Bool, "yes", also ["slave-ignore-maxmemory"];
    /// Keep applying the master's writes while they cannot be persisted here, instead of ending the server.
    replica_ignore_disk_write_errors: bool = Kind::Bool, "no";

    section "Replication: this server as a master" "How replicas are fed."

    /// Send snapshots to replicas straight over their sockets, without a file.
    repl_diskless_sync: bool = Kind::Bool, "yes";
    /// Seconds to wait for more replicas before a snapshot is sent without a file.
    repl_diskless_sync_delay: u32 = int(0, I32_MAX), "5";
    /// Waiting replicas that end this delay early; 0 always waits it out.
    repl_diskless_sync_max_replicas: u32 = int(0, I32_MAX), "0";
    /// Ours: seconds between the starts of two snapshots sent without a file, at least; also written `90s` or `15min`.
    repl_diskless_sync_period: u32 = Kind::Seconds { max: I32_MAX }, "0";
    /// Bytes of recent writes kept for replicas that come back, so that they need no full resync.
    repl_backlog_size: u64 = Kind::Memory { min: 1, max: I64_MAX, kept_min: 16 * 1024 }, "1mb";
    /// Ours: bytes of journal kept on disk beyond what the AOF itself needs, for replicas that are further behind than the
    /// backlog in memory; 0 keeps none. Without an AOF it is kept in the same directory, and nothing is loaded from it.
    repl_backlog_disk_size: u64 = memory(0, I64_MAX), "0";
    /// Ours: what to do with a replica for which memory would keep more than `client-output-buffer-limit replica` (64 MB if
    /// that is off), where the journal on disk has what it needs: feed it from there (disk), or leave it to the limits
    /// (drop).
    repl_slow_replica: SlowReplica = Kind::Words(SlowReplica::WORDS), "disk";
    /// Seconds without replicas after which the backlog is freed; 0 keeps it.
    repl_backlog_ttl: u64 = int(0, i64::MAX), "3600";
    /// Seconds between the pings that a master sends down its stream.
    repl_ping_replica_period: u32 = int(1, I32_MAX), "10", also ["repl-ping-slave-period"];
    /// Seconds of silence after which a master or a replica counts as lost.
    repl_timeout: u32 = int(1, I32_MAX), "60";
    /// Ours: send replicas only what is on disk here, so that none is ever ahead of what a restart finds. Needs the AOF;
    /// under `appendfsync no` what has been written counts.
    repl_send_durable_only: bool = Kind::Bool, "no";
    /// Let the system gather small packets to replicas: less traffic, up to 40 ms more delay.
    repl_disable_tcp_nodelay: bool = Kind::Bool, "no";
    /// Replicas in time that a write needs; with fewer it is refused. 0 needs none.
    min_replicas_to_write: u32 = int(0, I32_MAX), "0", also ["min-slaves-to-write"];
    /// Seconds since its last acknowledgement up to which a replica is in time; 0 asks nothing.
    min_replicas_max_lag: u32 = int(0, I32_MAX), "10", also ["min-slaves-max-lag"];

    section "Memory" "How much memory the dataset may take, and what goes first."

    /// Bytes of memory, above which keys are evicted or writes are refused; 0 is no limit.
    maxmemory: u64 = memory(0, u64::MAX), "0";
    /// What is evicted: keys with an expiry (volatile-) or any key (allkeys-), by least recent use (lru), least frequent
    /// use (lfu), nearest expiry (ttl) or at random; noeviction refuses writes instead.
    maxmemory_policy: MaxmemoryPolicy = Kind::Words(MaxmemoryPolicy::WORDS), "noeviction";
    /// Keys that are compared to choose one to evict.
    maxmemory_samples: u32 = int(1, 64), "5";
    /// How long one command may be held up by eviction: 0 as little as possible, 100 as long as it takes.
    maxmemory_eviction_tenacity: u32 = int(0, 100), "10";
    /// Bytes that the buffers of all clients may take together, or a share of `maxmemory` (`5%`); 0 is no limit.
    maxmemory_clients: MemoryShare = Kind::MemoryShare, "0";
    /// How slowly the use counter of a key grows, for the lfu policies.
    lfu_log_factor: u32 = int(0, I32_MAX), "10";
    /// Minutes after which the use counter of a key is lowered by one; 0 never lowers it.
    lfu_decay_time: u32 = int(0, I32_MAX), "1";
    /// Tell replicas to UNLINK what has expired, instead of DEL. Big values are freed in the background either way.
    lazyfree_lazy_expire: bool = Kind::Bool, "no";
    /// Tell replicas to UNLINK what GETDEL has taken, instead of DEL.
    lazyfree_lazy_user_del: bool = Kind::Bool, "no";
    /// How much time goes into finding expired keys, from 1 to 10.
    active_expire_effort: u32 = int(1, 10), "1";

    section "Encodings" "Up to which size a collection is kept in its compact form, in memory and in RDB files."

    /// Fields of a compact hash.
    hash_max_listpack_entries: usize = int(0, i64::MAX), "512", also ["hash-max-ziplist-entries"];
    /// Bytes of the longest field or value of a compact hash.
    hash_max_listpack_value: usize = memory(0, I64_MAX), "64", also ["hash-max-ziplist-value"];
    /// Size of a node of a list: a number of elements, or -1 to -5 for 4, 8, 16, 32 or 64 KiB.
    list_max_listpack_size: ListpackSize = int(i32::MIN as i64, I32_MAX), "-2", also ["list-max-ziplist-size"];
    /// Members of a compact set of integers.
    set_max_intset_entries: usize = int(0, i64::MAX), "512";
    /// Members of a compact set.
    set_max_listpack_entries: usize = int(0, i64::MAX), "128";
    /// Bytes of the longest member of a compact set.
    set_max_listpack_value: usize = int(0, i64::MAX), "64";
    /// Members of a compact sorted set.
    zset_max_listpack_entries: usize = int(0, i64::MAX), "128", also ["zset-max-ziplist-entries"];
    /// Bytes of the longest member of a compact sorted set.
    zset_max_listpack_value: usize = memory(0, I64_MAX), "64", also ["zset-max-ziplist-value"];
    /// Bytes of a node of a stream; 0 is no limit.
    stream_node_max_bytes: usize = memory(0, I64_MAX), "4kb";
    /// Entries in a node of a stream; 0 is no limit.
    stream_node_max_entries: u64 = int(0, i64::MAX), "100";
    /// Bytes of a HyperLogLog, header included, above which it takes its dense form.
    hll_sparse_max_bytes: usize = memory(0, I64_MAX), "3000";

    section "Observation" "What the server tells about itself."

    /// Microseconds from which a command is slow enough for SLOWLOG; 0 is every command, -1 is none.
    slowlog_log_slower_than: i64 = int(-1, i64::MAX), "10000";
    /// Commands that SLOWLOG remembers.
    slowlog_max_len: u64 = int(0, i64::MAX), "128";
    /// Milliseconds from which an event is recorded for LATENCY; 0 is off.
    latency_monitor_threshold: u64 = int(0, i64::MAX), "0";
    /// Keep a latency histogram of each command.
    latency_tracking: bool = Kind::Bool, "yes";
    /// Percentiles that INFO latencystats shows.
    latency_tracking_info_percentiles: Vec<f64> = Kind::Percentiles, "50 99 99.9";
    /// Events about keys to publish, as letters: K and E choose the channels, A or g$lshzxetd the events, n new keys, m
    /// missed keys.
    notify_keyspace_events: KeyspaceEvents = Kind::KeyspaceEvents, "\"\"";
    /// Keys that client-side caching may track; 0 is no limit.
    tracking_table_max_keys: u64 = int(0, i64::MAX), "1000000";
    /// Milliseconds after which a running script makes the server answer BUSY.
    busy_reply_threshold: u64 = int(0, i64::MAX), "5000", also ["lua-time-limit"];
}

fn plain_name(name: &str, reason: &'static str) -> Result<(), &'static str> {
    if name.contains('/') || matches!(name, "." | "..") {
        Err(reason)
    } else {
        Ok(())
    }
}

fn append_file_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("appendfilename can't be empty");
    }
    plain_name(name, "appendfilename can't be a path, just a filename")
}

fn append_dir_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("appenddirname can't be empty");
    }
    plain_name(name, "appenddirname can't be a path, just a dirname")
}
