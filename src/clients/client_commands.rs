//! CLIENT: what one may ask and change about oneself, and do to others; LIST, INFO and KILL stand in `list_commands`.

use crate::engine::Node;
use crate::engine::error::{self, CommandError};
use crate::engine::help::reply_help;
use crate::engine::pause::{PauseMode, Purpose};
use crate::engine::spec::flag::{ADMIN, LOADING, NOSCRIPT, STALE};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::number;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::ClientId;
use super::commands::{checked_name, is_printable};
use super::list_commands::{client_info, client_kill, client_list};
use super::session::ReplyMode;

const OWN: u32 = LOADING | STALE | NOSCRIPT;
const OTHERS: u32 = OWN | ADMIN;

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    run: crate::engine::spec::NodeCommand,
    since: &'static str,
    summary: &'static str,
    complexity: &'static str,
) -> Spec {
    Spec::node(name, arity, flags, Keys::None, run).doc(since, "connection", summary, complexity)
}

#[rustfmt::skip]
pub const CLIENT: &[Spec] = &[
    row("client|id", 2, OWN, client_id, "5.0.0", "Returns the unique client ID of the connection.", "O(1)"),
    row("client|getname", 2, OWN, client_getname, "2.6.9", "Returns the name of the connection.", "O(1)"),
    row("client|setname", 3, OWN, client_setname, "2.6.9", "Gives the connection a name.", "O(1)"),
    row("client|setinfo", 4, OWN, client_setinfo, "7.2.0", "Says which client library the connection comes from.", "O(1)"),
    row("client|reply", 3, OWN, client_reply, "3.2.0", "Chooses whether commands are answered.", "O(1)"),
    row("client|no-touch", 3, OWN, client_no_touch, "7.2.0", "Chooses whether commands count as uses of their keys.", "O(1)"),
    row("client|no-evict", 3, OTHERS, client_no_evict, "7.0.0", "Exempts the connection from client eviction.", "O(1)"),
    row("client|info", 2, OWN, client_info, "6.2.0", "Returns what is known about the connection.", "O(1)"),
    row("client|list", -2, OTHERS, client_list, "2.4.0", "Lists open connections.", "O(N) where N is the number of client connections"),
    row("client|kill", -3, OTHERS, client_kill, "2.4.0", "Closes open connections.", "O(N) where N is the number of client connections"),
    row("client|pause", -3, OTHERS, client_pause, "3.0.0", "Lets commands wait for a time.", "O(1)"),
    row("client|unpause", 2, OTHERS, client_unpause, "6.2.0", "Ends a pause.", "O(N) where N is the number of paused clients"),
    row("client|unblock", -3, OTHERS, client_unblock, "5.0.0", "Ends the wait of a blocked client.", "O(log N) where N is the number of client connections"),
    row("client|help", 2, LOADING | STALE, client_help, "5.0.0", "Returns helpful text about the different subcommands.", "O(1)"),
];

/// CLIENT ID
fn client_id(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply.integer(node.client.id.0 as i64);
    Ok(Outcome::Replied)
}

/// CLIENT GETNAME
fn client_getname(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    match &node.engine.clients.get(node.client).session.name[..] {
        b"" => reply.null(),
        name => reply.bulk(name),
    }
    Ok(Outcome::Replied)
}

/// CLIENT SETNAME connection-name
fn client_setname(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let name = checked_name(args.get(2))?;
    node.engine.clients.get_mut(node.client).session.name = name.to_vec();
    reply.ok();
    Ok(Outcome::Replied)
}

/// CLIENT SETINFO LIB-NAME libname | LIB-VER libver
fn client_setinfo(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let session = &mut node.engine.clients.get_mut(node.client).session;
    let attribute = args.get(2).to_ascii_lowercase();
    let place = match &attribute[..] {
        b"lib-name" => &mut session.library_name,
        b"lib-ver" => &mut session.library_version,
        _ => {
            let given = String::from_utf8_lossy(args.get(2));
            return Err(CommandError::from(format!(
                "ERR Unrecognized option '{given}'"
            )));
        }
    };
    if !is_printable(args.get(3)) {
        return Err(CommandError::from(format!(
            "ERR {} cannot contain spaces, newlines or special characters.",
            String::from_utf8_lossy(&attribute)
        )));
    }
    *place = args.get(3).to_vec();
    reply.ok();
    Ok(Outcome::Replied)
}

/// CLIENT REPLY ON | OFF | SKIP
fn client_reply(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let session = &mut node.engine.clients.get_mut(node.client).session;
    match &args.get(2).to_ascii_uppercase()[..] {
        b"ON" => session.reply_mode = ReplyMode::On,
        b"OFF" => session.reply_mode = ReplyMode::Off,
        b"SKIP" if session.reply_mode == ReplyMode::Off => {}
        b"SKIP" => session.reply_mode = ReplyMode::SkipNext,
        _ => return Err(error::SYNTAX),
    }
    if session.reply_mode == ReplyMode::On {
        reply.ok();
    }
    Ok(Outcome::Replied)
}

/// CLIENT NO-TOUCH ON | OFF
fn client_no_touch(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.clients.get_mut(node.client).session.no_touch = on_or_off(args.get(2))?;
    reply.ok();
    Ok(Outcome::Replied)
}

/// CLIENT NO-EVICT ON | OFF
fn client_no_evict(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.clients.get_mut(node.client).session.no_evict = on_or_off(args.get(2))?;
    reply.ok();
    Ok(Outcome::Replied)
}

fn on_or_off(word: &[u8]) -> Result<bool, CommandError> {
    if word.eq_ignore_ascii_case(b"on") {
        Ok(true)
    } else if word.eq_ignore_ascii_case(b"off") {
        Ok(false)
    } else {
        Err(error::SYNTAX)
    }
}

/// CLIENT PAUSE timeout [WRITE | ALL]
fn client_pause(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let mode = match args.len() {
        3 => PauseMode::All,
        4 if args.get(3).eq_ignore_ascii_case(b"write") => PauseMode::Write,
        4 if args.get(3).eq_ignore_ascii_case(b"all") => PauseMode::All,
        4 => return Err(error::BAD_PAUSE_MODE),
        _ => return Err(error::unknown_subcommand_or_arity("client", args.get(1))),
    };
    let millis = number::parse_i64(args.get(2)).ok_or(error::TIMEOUT_NOT_AN_INTEGER)?;
    let millis = u64::try_from(millis).map_err(|_| error::TIMEOUT_NEGATIVE)?;
    let now = node.engine.monotonic;
    let until = now.saturating_add(std::time::Duration::from_millis(millis));
    node.engine.pauses.pause(Purpose::Client, mode, until, now);
    reply.ok();
    Ok(Outcome::Replied)
}

/// CLIENT UNPAUSE
fn client_unpause(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.unpause(Purpose::Client);
    reply.ok();
    Ok(Outcome::Replied)
}

/// CLIENT UNBLOCK client-id [TIMEOUT | ERROR]
fn client_unblock(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let with_error = match args.len() {
        3 => false,
        4 if args.get(3).eq_ignore_ascii_case(b"timeout") => false,
        4 if args.get(3).eq_ignore_ascii_case(b"error") => true,
        4 => return Err(error::BAD_UNBLOCK_REASON),
        _ => return Err(error::unknown_subcommand_or_arity("client", args.get(1))),
    };
    let id = number::parse_i64(args.get(2)).ok_or(error::NOT_AN_INTEGER)?;
    let blocked = u64::try_from(id)
        .ok()
        .and_then(|id| node.engine.clients.key_of(ClientId(id)))
        .is_some_and(|key| node.engine.cut_wait_short(key, with_error));
    reply.integer(i64::from(blocked));
    Ok(Outcome::Replied)
}

/// CLIENT HELP
fn client_help(_: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply_help(reply, "CLIENT", HELP)
}

const HELP: &[&str] = &[
    "GETNAME",
    "    Tells the name of this connection.",
    "ID",
    "    Tells the id of this connection.",
    "INFO",
    "    Tells about this connection, in the form of LIST.",
    "KILL <ip:port>",
    "    Closes the connection that comes from this address.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Closes every connection that all options fit. Options are:",
    "    * ID <id>",
    "      The connection with this id.",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Connections that come from this address.",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Connections that were made to this address.",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Connections of this type.",
    "    * USER <username>",
    "      Connections of this user.",
    "    * MAXAGE <seconds>",
    "      Connections that are at least so old.",
    "    * SKIPME (YES|NO)",
    "      Whether this connection is spared (default: yes).",
    "LIST [options ...]",
    "    Tells about open connections, one a line. Options are:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Connections of this type.",
    "    * ID <id> [<id> ...]",
    "      Connections with these ids.",
    "NO-EVICT (ON|OFF)",
    "    Spares this connection when clients are evicted.",
    "NO-TOUCH (ON|OFF)",
    "    Lets commands of this connection leave LRU and LFU data of keys alone.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Lets all commands, or those that write, wait for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Chooses whether this connection gets replies; SKIP leaves out the next one.",
    "SETINFO <option> <value>",
    "    Notes where this connection comes from. Options are:",
    "    * LIB-NAME <name>",
    "      Name of the client library.",
    "    * LIB-VER <version>",
    "      Version of the client library.",
    "SETNAME <name>",
    "    Names this connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Ends the wait of a blocked client, as if its time were over or with an error.",
    "UNPAUSE",
    "    Ends a pause.",
];
