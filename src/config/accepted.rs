//! Parameters of Redis 7 and Valkey 8 that are accepted and change nothing here, so that existing files and tools work.
//!
//! Their values are checked, kept and given back by CONFIG GET. The server warns once, at start, about those that a file
//! sets to something else than the default. A parameter that would be dangerous to ignore accepts only its default.

use super::kinds::{Kind, TEXT, int, memory};
use super::parameter::{Flag, Parameter};

const I32_MIN: i64 = i32::MIN as i64;
const I32_MAX: i64 = i32::MAX as i64;
const I64_MAX: u64 = i64::MAX as u64;

const NO_FORK: &str = "Concerns the processes that Redis forks; here nothing forks.";
const NO_CLUSTER: &str = "Concerns Redis Cluster; this is a single node.";
const NO_TLS: &str = "Concerns TLS, which is not built in; put a proxy in front.";
const NO_DEFRAGMENTATION: &str =
    "Concerns active defragmentation, which this allocator does without.";
const ALWAYS_LAZY: &str = "Big values are always freed in the background.";
const TEST_HELP: &str = "Serves the tests of Redis itself.";
const FIXED: &str = "The server does this in its own way.";
const NEWER: &str = "Serves a feature of later versions that is not built in.";

const NO_CLUSTER_MODE: Kind = Kind::Only {
    word: "no",
    reason: "cluster mode is not built in",
};
const PLAIN_ONLY: Kind = Kind::Only {
    word: "no",
    reason: "TLS is not built in",
};
const YES_NO_LOCAL: Kind = Kind::Words(&["no", "yes", "local"]);

/// Makes `PARAMETERS`; a row has the columns of `parameters.rs`, without a field.
macro_rules! table {
    ($(
        $name:literal, $kind:expr, $default:literal, $about:expr
        $(, also [$($alias:literal),+])? $(, flags [$($flag:ident),+])?;
    )+) => {
        /// Every accepted parameter, by area.
        pub static PARAMETERS: &[Parameter] = &[$(Parameter {
            name: $name,
            aliases: &[$($($alias),+)?],
            kind: $kind,
            default: $default,
            flags: &[$($(Flag::$flag),+)?],
            about: $about,
            place: None,
        }),+];
    };
}

table! {
    // The process and the machine.
    "activerehashing", Kind::Bool, "yes", "Tables here grow in place; there is no rehash to help along.";
    "always-show-logo", Kind::Bool, "no", "There is no logo.", flags[Immutable];
    "aof-disable-auto-gc", Kind::Bool, "no", TEST_HELP;
    "aof-rewrite-cpulist", TEXT, "\"\"", NO_FORK, also["aof_rewrite_cpulist"], flags[Immutable];
    "availability-zone", TEXT, "\"\"", NEWER;
    "bgsave-cpulist", TEXT, "\"\"", NO_FORK, also["bgsave_cpulist"], flags[Immutable];
    "bio-cpulist", TEXT, "\"\"", FIXED, also["bio_cpulist"], flags[Immutable];
    "crash-log-enabled", Kind::Bool, "yes", FIXED;
    "crash-memcheck-enabled", Kind::Bool, "yes", FIXED;
    "disable-thp", Kind::Bool, "yes", "Huge pages are a gain where nothing forks.", flags[Immutable];
    "dynamic-hz", Kind::Bool, "yes", FIXED;
    "enable-module-command", YES_NO_LOCAL, "no", "Modules are not built in.", flags[Immutable];
    "events-per-io-thread", int(0, I32_MAX), "2", FIXED;
    "extended-redis-compatibility", Kind::Bool, "no", FIXED;
    "hide-user-data-from-log", Kind::Bool, "no", "The data of users is never logged.";
    "ignore-warnings", TEXT, "\"\"", FIXED;
    "io-threads-do-reads", Kind::Bool, "no", "The loops of io-threads always read.", flags[Immutable];
    "jemalloc-bg-thread", Kind::Bool, "yes", FIXED;
    "list-compress-depth", int(0, I32_MAX), "0", "Nodes of lists are not compressed in memory.";
    "locale-collate", TEXT, "\"\"", "SORT ALPHA compares bytes.";
    "max-new-connections-per-cycle", int(1, 1000), "10", FIXED;
    "oom-score-adj", Kind::Words(&["no", "yes", "relative", "absolute"]), "no", NO_FORK;
    "oom-score-adj-values", Kind::Scores, "0 200 800", NO_FORK;
    "prefetch-batch-max-size", int(0, 128), "16", FIXED;
    "proc-title-template", Kind::Text(proc_title), "\"{title} {listen-addr} {server-mode}\"", FIXED;
    "propagation-error-behavior", Kind::Words(&["ignore", "panic", "panic-on-replicas"]), "ignore", FIXED;
    "replica-lazy-flush", Kind::Bool, "no", ALWAYS_LAZY, also["slave-lazy-flush"];
    "sanitize-dump-payload", Kind::Words(&["no", "yes", "clients"]), "no", "Every payload is always checked whole.";
    "server-cpulist", TEXT, "\"\"", FIXED, also["server_cpulist"], flags[Immutable];
    "set-proc-title", Kind::Bool, "yes", FIXED, flags[Immutable];
    "socket-mark-id", int(0, u32::MAX as i64), "0", FIXED, flags[Immutable];
    "supervised", Kind::Words(&["upstart", "systemd", "auto", "no"]), "no", FIXED, flags[Immutable];
    "syslog-enabled", Kind::Bool, "no", "Let the supervisor forward the log.", flags[Immutable];
    "syslog-facility", SYSLOG_FACILITY, "local0", "Let the supervisor forward the log.", flags[Immutable];
    "syslog-ident", TEXT, "redis", "Let the supervisor forward the log.", flags[Immutable];
    "unixsocketgroup", TEXT, "\"\"", FIXED, flags[Immutable];

    // Freeing.
    "lazyfree-lazy-eviction", Kind::Bool, "no", ALWAYS_LAZY;
    "lazyfree-lazy-server-del", Kind::Bool, "no", ALWAYS_LAZY;
    "lazyfree-lazy-user-flush", Kind::Bool, "no", ALWAYS_LAZY;

    // Active defragmentation.
    "activedefrag", NO_DEFRAGMENTER, "no", NO_DEFRAGMENTATION;
    "active-defrag-cycle-max", int(1, 99), "25", NO_DEFRAGMENTATION;
    "active-defrag-cycle-min", int(1, 99), "1", NO_DEFRAGMENTATION;
    "active-defrag-ignore-bytes", memory(1, I64_MAX), "100mb", NO_DEFRAGMENTATION;
    "active-defrag-max-scan-fields", int(1, i64::MAX), "1000", NO_DEFRAGMENTATION;
    "active-defrag-threshold-lower", int(0, 1000), "10", NO_DEFRAGMENTATION;
    "active-defrag-threshold-upper", int(0, 1000), "100", NO_DEFRAGMENTATION;

    // Cluster.
    "cluster-enabled", NO_CLUSTER_MODE, "no", NO_CLUSTER, flags[Immutable];
    "cluster-allow-pubsubshard-when-down", Kind::Bool, "yes", NO_CLUSTER;
    "cluster-allow-reads-when-down", Kind::Bool, "no", NO_CLUSTER;
    "cluster-allow-replica-migration", Kind::Bool, "yes", NO_CLUSTER;
    "cluster-announce-bus-port", int(0, 65535), "0", NO_CLUSTER;
    "cluster-announce-client-ipv4", TEXT, "\"\"", NO_CLUSTER;
    "cluster-announce-client-ipv6", TEXT, "\"\"", NO_CLUSTER;
    "cluster-announce-hostname", Kind::Text(host_name), "\"\"", NO_CLUSTER;
    "cluster-announce-human-nodename", Kind::Text(host_name), "\"\"", NO_CLUSTER;
    "cluster-announce-ip", TEXT, "\"\"", NO_CLUSTER;
    "cluster-announce-port", int(0, 65535), "0", NO_CLUSTER;
    "cluster-announce-tls-port", int(0, 65535), "0", NO_CLUSTER;
    "cluster-blacklist-ttl", int(0, i64::MAX), "60", NO_CLUSTER;
    "cluster-config-file", TEXT, "nodes.conf", NO_CLUSTER, flags[Immutable];
    "cluster-link-sendbuf-limit", memory(0, u64::MAX), "0", NO_CLUSTER;
    "cluster-migration-barrier", int(0, I32_MAX), "1", NO_CLUSTER;
    "cluster-node-timeout", int(0, i64::MAX), "15000", NO_CLUSTER;
    "cluster-port", int(0, 65535), "0", NO_CLUSTER, flags[Immutable];
    "cluster-preferred-endpoint-type", Kind::Words(&["ip", "hostname", "unknown-endpoint"]), "ip", NO_CLUSTER;
    "cluster-replica-no-failover", Kind::Bool, "no", NO_CLUSTER, also["cluster-slave-no-failover"];
    "cluster-replica-validity-factor", int(0, I32_MAX), "10", NO_CLUSTER, also["cluster-slave-validity-factor"];
    "cluster-require-full-coverage", Kind::Bool, "yes", NO_CLUSTER;
    "cluster-slot-stats-enabled", Kind::Bool, "no", NO_CLUSTER;

    // TLS.
    "tls-port", Kind::Only { word: "0", reason: "TLS is not built in" }, "0", NO_TLS;
    "tls-cluster", PLAIN_ONLY, "no", NO_TLS;
    "tls-replication", PLAIN_ONLY, "no", NO_TLS;
    "tls-auth-clients", Kind::Words(&["no", "yes", "optional"]), "yes", NO_TLS;
    "tls-ca-cert-dir", TEXT, "\"\"", NO_TLS;
    "tls-ca-cert-file", TEXT, "\"\"", NO_TLS;
    "tls-cert-file", TEXT, "\"\"", NO_TLS;
    "tls-ciphers", TEXT, "\"\"", NO_TLS;
    "tls-ciphersuites", TEXT, "\"\"", NO_TLS;
    "tls-client-cert-file", TEXT, "\"\"", NO_TLS;
    "tls-client-key-file", TEXT, "\"\"", NO_TLS;
    "tls-client-key-file-pass", Kind::Bytes, "\"\"", NO_TLS, flags[Secret];
    "tls-dh-params-file", TEXT, "\"\"", NO_TLS;
    "tls-key-file", TEXT, "\"\"", NO_TLS;
    "tls-key-file-pass", Kind::Bytes, "\"\"", NO_TLS, flags[Secret];
    "tls-prefer-server-ciphers", Kind::Bool, "no", NO_TLS;
    "tls-protocols", TEXT, "\"\"", NO_TLS;
    "tls-session-cache-size", int(0, I32_MAX), "20480", NO_TLS;
    "tls-session-cache-timeout", int(0, I32_MAX), "300", NO_TLS;
    "tls-session-caching", Kind::Bool, "yes", NO_TLS;
    "max-new-tls-connections-per-cycle", int(1, 1000), "1", NO_TLS;

    // Switches of the tests of Redis.
    "client-default-resp", int(2, 3), "2", TEST_HELP, flags[Hidden];
    "cluster-ping-interval", int(0, I32_MAX), "1000", TEST_HELP, flags [Hidden, Immutable];
    "debug-context", TEXT, "\"\"", TEST_HELP, flags[Hidden];
    "enable-debug-assert", Kind::Bool, "no", TEST_HELP, flags [Hidden, Immutable];
    "key-load-delay", int(I32_MIN, I32_MAX), "0", TEST_HELP, flags[Hidden];
    "loading-process-events-interval-bytes", int(1024, I32_MAX), "2097152", TEST_HELP, flags[Hidden];
    "rdb-key-save-delay", int(I32_MIN, I32_MAX), "0", TEST_HELP, flags[Hidden];
    "req-res-logfile", TEXT, "\"\"", TEST_HELP, flags [Hidden, Immutable];
    "use-exit-on-panic", Kind::Bool, "no", TEST_HELP, flags[Hidden];
    "watchdog-period", int(0, I32_MAX), "0", TEST_HELP, flags[Hidden];
}

const SYSLOG_FACILITY: Kind = Kind::Words(&[
    "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]);

const NO_DEFRAGMENTER: Kind = Kind::Only {
    word: "no",
    reason: "active defragmentation is not built in",
};

fn host_name(name: &str) -> Result<(), &'static str> {
    let allowed =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '.');
    if name.len() < 256 && name.chars().all(allowed) {
        return Ok(());
    }
    Err("Hostnames may only contain alphanumeric characters, hyphens or dots")
}

/// The variables that Redis knows, in braces; it refuses every other use of braces.
fn proc_title(template: &str) -> Result<(), &'static str> {
    let known = [
        "title",
        "listen-addr",
        "server-mode",
        "port",
        "tls-port",
        "unixsocket",
        "config-file",
    ];
    let invalid = Err("template format is invalid or contains unknown variables");
    for piece in template.split('{').skip(1) {
        match piece.split_once('}') {
            Some((variable, _)) if known.contains(&variable) => {}
            _ => return invalid,
        }
    }
    if template.is_empty() { invalid } else { Ok(()) }
}
