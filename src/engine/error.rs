//! Every text that a client can be told when a command fails, in one place. Texts are Redis 7.0's.

use std::borrow::Cow;
use std::fmt::{self, Display};

use crate::number;

/// Why a command was refused: its code, a space, its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError(Cow<'static, str>);

impl CommandError {
    pub const fn new(text: &'static str) -> Self {
        CommandError(Cow::Borrowed(text))
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// The first word: what INFO errorstats counts.
    pub fn code(&self) -> &str {
        self.0.split(' ').next().unwrap_or("ERR")
    }
}

impl From<String> for CommandError {
    fn from(text: String) -> Self {
        CommandError(Cow::Owned(text))
    }
}

impl Display for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

pub const WRONG_TYPE: CommandError =
    CommandError::new("WRONGTYPE Operation against a key holding the wrong kind of value");
pub const SYNTAX: CommandError = CommandError::new("ERR syntax error");
pub const NOT_AN_INTEGER: CommandError =
    CommandError::new("ERR value is not an integer or out of range");
pub const NOT_32_BITS: CommandError =
    CommandError::new("ERR value is out of range, value must between -2147483648 and 2147483647");
pub const NOT_A_FLOAT: CommandError = CommandError::new("ERR value is not a valid float");
pub const OUT_OF_RANGE: CommandError = CommandError::new("ERR value is out of range");
pub const MUST_BE_POSITIVE: CommandError =
    CommandError::new("ERR value is out of range, must be positive");
pub const INDEX_OUT_OF_RANGE: CommandError = CommandError::new("ERR index out of range");
pub const NUMKEYS_NOT_POSITIVE: CommandError =
    CommandError::new("ERR numkeys should be greater than 0");
pub const COUNT_NOT_POSITIVE: CommandError =
    CommandError::new("ERR count should be greater than 0");
pub const COUNT_NEGATIVE: CommandError = CommandError::new("ERR COUNT can't be negative");
pub const MAXLEN_NEGATIVE: CommandError = CommandError::new("ERR MAXLEN can't be negative");
pub const RANK_ZERO: CommandError = CommandError::new(
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the \
     end of the list",
);
pub const INVALID_CURSOR: CommandError = CommandError::new("ERR invalid cursor");
pub const NOT_AN_INTEGER_IN_HASH: CommandError =
    CommandError::new("ERR hash value is not an integer");
pub const NOT_A_FLOAT_IN_HASH: CommandError = CommandError::new("ERR hash value is not a float");
pub const INFINITE_INCREMENT: CommandError = CommandError::new("ERR value is NaN or Infinity");
pub const TOO_MANY_KEYS_NAMED: CommandError =
    CommandError::new("ERR Number of keys can't be greater than number of args");
pub const LIMIT_NEGATIVE: CommandError = CommandError::new("ERR LIMIT can't be negative");
pub const MAGNITUDE_OUT_OF_RANGE: CommandError = CommandError::new(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
);
pub const NO_SUCH_KEY: CommandError = CommandError::new("ERR no such key");
pub const SAME_OBJECT: CommandError =
    CommandError::new("ERR source and destination objects are the same");
pub const OVERFLOW: CommandError = CommandError::new("ERR increment or decrement would overflow");
pub const NAN_OR_INFINITY: CommandError =
    CommandError::new("ERR increment would produce NaN or Infinity");
pub const STRING_TOO_LONG: CommandError =
    CommandError::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
pub const OFFSET_OUT_OF_RANGE: CommandError = CommandError::new("ERR offset is out of range");
pub const DECREMENT_OVERFLOW: CommandError = CommandError::new("ERR decrement would overflow");
pub const DB_INDEX_OUT_OF_RANGE: CommandError = CommandError::new("ERR DB index is out of range");
pub const INVALID_DB_INDEX: CommandError = CommandError::new("ERR invalid DB index");
pub const NO_AUTH: CommandError = CommandError::new("NOAUTH Authentication required.");
pub const WRONG_PASSWORD: CommandError =
    CommandError::new("WRONGPASS invalid username-password pair or user is disabled.");
pub const NO_PASSWORD_SET: CommandError = CommandError::new(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is \
     correct?",
);
pub const HELLO_NO_AUTH: CommandError = CommandError::new(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option \
     can be used to authenticate the client and select the RESP protocol version at the same time",
);
pub const PROTOCOL_NOT_AN_INTEGER: CommandError =
    CommandError::new("ERR Protocol version is not an integer or out of range");
pub const UNSUPPORTED_PROTOCOL: CommandError =
    CommandError::new("NOPROTO unsupported protocol version");
pub const NOT_A_NORMAL_CLIENT: CommandError =
    CommandError::new("ERR can only reset normal client connections");
pub const BAD_CLIENT_NAME: CommandError =
    CommandError::new("ERR Client names cannot contain spaces, newlines or special characters.");
pub const NO_SUCH_CLIENT: CommandError = CommandError::new("ERR No such client");
pub const INVALID_CLIENT_ID: CommandError = CommandError::new("ERR Invalid client ID");
pub const CLIENT_ID_NOT_POSITIVE: CommandError =
    CommandError::new("ERR client-id should be greater than 0");
pub const MAXAGE_NOT_AN_INTEGER: CommandError =
    CommandError::new("ERR maxage is not an integer or out of range");
pub const MAXAGE_NOT_POSITIVE: CommandError =
    CommandError::new("ERR maxage should be greater than 0");
pub const TIMEOUT_NOT_AN_INTEGER: CommandError =
    CommandError::new("ERR timeout is not an integer or out of range");
pub const TIMEOUT_NEGATIVE: CommandError = CommandError::new("ERR timeout is negative");
pub const BAD_PAUSE_MODE: CommandError =
    CommandError::new("ERR CLIENT PAUSE mode must be WRITE or ALL");
pub const BAD_UNBLOCK_REASON: CommandError =
    CommandError::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
pub const UNBLOCKED: CommandError =
    CommandError::new("UNBLOCKED client unblocked via CLIENT UNBLOCK");
pub const NO_CONFIG_FILE: CommandError =
    CommandError::new("ERR The server is running without a config file");
pub const BAD_SLOWLOG_COUNT: CommandError =
    CommandError::new("ERR count should be greater than or equal to -1");
pub const NO_MONITOR_IN_EXEC: CommandError =
    CommandError::new("ERR MONITOR isn't allowed for DENY BLOCKING client");
pub const BAD_RELOAD_OPTION: CommandError =
    CommandError::new("ERR DEBUG RELOAD only supports the NOSAVE option.");
pub const NO_RESP2: CommandError = CommandError::new("ERR RESP2 is not supported by this command");
pub const BAD_PROTOCOL_TYPE: CommandError = CommandError::new(
    "ERR Wrong protocol type name. Please use one of the following: \
     string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
);
pub const SHUTDOWN_FAILED: CommandError =
    CommandError::new("ERR Errors trying to SHUTDOWN. Check logs.");
pub const INVALID_COMMAND: CommandError = CommandError::new("ERR Invalid command specified");
pub const INVALID_ARITY: CommandError =
    CommandError::new("ERR Invalid number of arguments specified for command");
pub const INVALID_ARGUMENTS: CommandError =
    CommandError::new("ERR Invalid arguments specified for command");
pub const NO_KEY_ARGUMENTS: CommandError =
    CommandError::new("ERR The command has no key arguments");
pub const NO_SHUTDOWN: CommandError = CommandError::new("ERR No shutdown in progress.");
pub const LOADING: CommandError =
    CommandError::new("LOADING Redis is loading the dataset in memory");
pub const READ_ONLY: CommandError =
    CommandError::new("READONLY You can't write against a read only replica.");
pub const MASTER_DOWN: CommandError = CommandError::new(
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
);
pub const NO_REPLICAS: CommandError =
    CommandError::new("NOREPLICAS Not enough good replicas to write.");
pub const OUT_OF_MEMORY: CommandError =
    CommandError::new("OOM command not allowed when used memory > 'maxmemory'.");
pub const CANNOT_SAVE: CommandError = CommandError::new(
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may \
     modify the data set are disabled, because this instance is configured to report errors during writes if RDB \
     snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.",
);

/// The disk does not take the AOF.
pub fn cannot_append(reason: &str) -> CommandError {
    CommandError::from(format!("MISCONF Errors writing to the AOF file: {reason}"))
}
pub const EXEC_ABORT: CommandError =
    CommandError::new("EXECABORT Transaction discarded because of previous errors.");
pub const NESTED_MULTI: CommandError = CommandError::new("ERR MULTI calls can not be nested");
pub const EXEC_WITHOUT_MULTI: CommandError = CommandError::new("ERR EXEC without MULTI");
pub const DISCARD_WITHOUT_MULTI: CommandError = CommandError::new("ERR DISCARD without MULTI");
pub const WATCH_INSIDE_MULTI: CommandError =
    CommandError::new("ERR WATCH inside MULTI is not allowed");
pub const NOT_IN_MULTI: CommandError =
    CommandError::new("ERR Command not allowed inside a transaction");
pub const NO_SHARD_SUBSCRIPTION: CommandError =
    CommandError::new("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
pub const CANNOT_WAIT: CommandError =
    CommandError::new("ERR Command not allowed inside a transaction: it would have to wait");
pub const REPLICA_KEYSPACE: CommandError =
    CommandError::new("ERR Replica can't interact with the keyspace");
pub const NO_DEBUG: CommandError = CommandError::new(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local \
     connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);
pub const BUSY_KEY: CommandError = CommandError::new("BUSYKEY Target key name already exists.");
pub const CLUSTER_DISABLED: CommandError =
    CommandError::new("ERR This instance has cluster support disabled");
pub const NOT_A_SCORE: CommandError =
    CommandError::new("ERR resulting score is not a number (NaN)");
pub const NOT_A_SCORE_RANGE: CommandError = CommandError::new("ERR min or max is not a float");
pub const NOT_A_MEMBER_RANGE: CommandError =
    CommandError::new("ERR min or max not valid string range item");
pub const NOT_A_WEIGHT: CommandError = CommandError::new("ERR weight value is not a float");
pub const NX_WITH_XX: CommandError =
    CommandError::new("ERR XX and NX options at the same time are not compatible");
pub const NX_WITH_GT_LT: CommandError =
    CommandError::new("ERR GT, LT, and/or NX options at the same time are not compatible");
pub const INCR_OF_MANY: CommandError =
    CommandError::new("ERR INCR option supports a single increment-element pair");
pub const LIMIT_BY_RANK: CommandError = CommandError::new(
    "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
);
pub const SCORES_BY_LEX: CommandError =
    CommandError::new("ERR syntax error, WITHSCORES not supported in combination with BYLEX");

/// EXEC itself is refused: its transaction is over.
pub fn exec_aborted(refusal: &CommandError) -> CommandError {
    let reason = refusal.text();
    let reason = reason.strip_prefix("ERR ").unwrap_or(reason);
    CommandError::from(format!(
        "EXECABORT Transaction discarded because of: {reason}"
    ))
}

/// A command that the table does not have, with as much of its arguments as fits into 128 bytes.
pub fn unknown_command<'a>(name: &[u8], arguments: impl Iterator<Item = &'a [u8]>) -> CommandError {
    let mut shown = String::new();
    for argument in arguments {
        if shown.len() >= QUOTED_BYTES_MAX {
            break;
        }
        let argument = clip(argument, QUOTED_BYTES_MAX - shown.len());
        shown.push_str(&format!("'{argument}' "));
    }
    CommandError::from(format!(
        "ERR unknown command '{}', with args beginning with: {shown}",
        clip(name, QUOTED_BYTES_MAX)
    ))
}

const QUOTED_BYTES_MAX: usize = 128;

pub fn unknown_subcommand(container: &str, name: &[u8]) -> CommandError {
    CommandError::from(format!(
        "ERR unknown subcommand '{}'. Try {} HELP.",
        clip(name, 128),
        container.to_uppercase()
    ))
}

/// An argument that must be an integer of 32 bits; one of 64 is refused with a text of its own.
pub fn parse_i32(text: &[u8]) -> Result<i32, CommandError> {
    let value = number::parse_i64(text).ok_or(NOT_AN_INTEGER)?;
    i32::try_from(value).map_err(|_| NOT_32_BITS)
}

/// A lifetime that is not positive where it must be, or beyond what 64 bits of milliseconds hold.
pub fn invalid_expiry(command: &str) -> CommandError {
    CommandError::from(format!("ERR invalid expire time in '{command}' command"))
}

/// `name` of a subcommand is written `client|kill`.
pub fn wrong_arity(name: &str) -> CommandError {
    CommandError::from(format!(
        "ERR wrong number of arguments for '{name}' command"
    ))
}

/// `command` takes a number of keys, which was 0 or less.
pub fn no_input_keys(command: &str) -> CommandError {
    CommandError::from(format!(
        "ERR at least 1 input key is needed for '{command}' command"
    ))
}

/// A subcommand with a number of words that no form of it has, where the command reads them itself.
pub fn unknown_subcommand_or_arity(container: &str, name: &[u8]) -> CommandError {
    CommandError::from(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
        clip(name, 128),
        container.to_uppercase()
    ))
}

/// As much of a text as is shown: it ends where a string in C would.
/// An integer argument outside the limits that it has.
pub fn not_within(min: i64, max: i64) -> CommandError {
    CommandError::from(format!(
        "ERR value is out of range, value must between {min} and {max}"
    ))
}

fn clip(bytes: &[u8], most: usize) -> String {
    let shown = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(&shown[..shown.len().min(most)]).into_owned()
}
