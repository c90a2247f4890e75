//! The replies of `... HELP`: a line on the form of the command, then each subcommand with what it does.

use super::spec::{CommandResult, Outcome};
use crate::protocol::reply::Reply;

/// Answers the lines of a container's help; HELP itself is added.
pub fn reply_help(reply: &mut Reply, command: &str, lines: &[&str]) -> CommandResult {
    reply.array(lines.len() + 3);
    reply.simple(&format!(
        "{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ));
    for line in lines {
        reply.simple(line);
    }
    reply.simple("HELP");
    reply.simple("    Prints this help.");
    Ok(Outcome::Replied)
}
