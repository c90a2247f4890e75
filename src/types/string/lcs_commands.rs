//! LCS: what two strings have in common.

use crate::engine::data::{Data, string_of};
use crate::engine::error::{self, CommandError};
use crate::engine::spec::flag::READONLY;
use crate::engine::spec::{CommandResult, Outcome, Spec, TWO_KEYS};
use crate::keyspace::Key;
use crate::number;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::lcs::Common;

pub const COMMANDS: &[Spec] = &[Spec::data("lcs", -3, READONLY, TWO_KEYS, lcs).doc(
    "7.0.0",
    "string",
    "Finds the longest common subsequence of two strings.",
    "O(N*M) where N and M are the lengths of the strings.",
)];

const NOT_STRINGS: CommandError =
    CommandError::new("ERR The specified keys must contain string values");
const LENGTH_AND_INDEXES: CommandError =
    CommandError::new("ERR If you want both the length and indexes, please just use IDX.");
const TABLE_TOO_BIG: CommandError = CommandError::new(
    "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
);

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN length] [WITHMATCHLEN]
fn lcs(data: &mut Data, args: Argv, reply: &mut Reply) -> CommandResult {
    // Both keys count as looked up, whatever the first one holds.
    let (first, second) = (string_at(data, args.get(1)), string_at(data, args.get(2)));
    let (first, second) = (first?, second?);
    let options = Options::parse(args)?;
    let table_bytes = Common::table_bytes(first.len(), second.len());
    if table_bytes > u128::from(data.config.proto_max_bulk_len) {
        return Err(TABLE_TOO_BIG);
    }
    let common = Common::of(&first, &second);
    if options.indexes {
        options.reply_stretches(&common, reply);
    } else if options.length {
        reply.integer(common.len() as i64);
    } else {
        reply.bulk(&common.bytes());
    }
    Ok(Outcome::Replied)
}

#[derive(Default)]
struct Options {
    length: bool,
    indexes: bool,
    with_match_length: bool,
    match_length_min: usize,
}

impl Options {
    fn parse(args: Argv) -> Result<Self, CommandError> {
        let mut options = Options::default();
        let mut at = 3;
        while at < args.len() {
            let word = args.get(at);
            if word.eq_ignore_ascii_case(b"IDX") {
                options.indexes = true;
            } else if word.eq_ignore_ascii_case(b"LEN") {
                options.length = true;
            } else if word.eq_ignore_ascii_case(b"WITHMATCHLEN") {
                options.with_match_length = true;
            } else if word.eq_ignore_ascii_case(b"MINMATCHLEN") && at + 1 < args.len() {
                at += 1;
                let least = number::parse_i64(args.get(at)).ok_or(error::NOT_AN_INTEGER)?;
                options.match_length_min = least.max(0) as usize;
            } else {
                return Err(error::SYNTAX);
            }
            at += 1;
        }
        if options.indexes && options.length {
            return Err(LENGTH_AND_INDEXES);
        }
        Ok(options)
    }

    fn reply_stretches(&self, common: &Common, reply: &mut Reply) {
        let mut stretches = common.stretches();
        stretches.retain(|stretch| stretch.length >= self.match_length_min);
        reply.map(2);
        reply.bulk(b"matches");
        reply.array(stretches.len());
        for stretch in stretches {
            reply.array(2 + usize::from(self.with_match_length));
            for start in [stretch.in_first, stretch.in_second] {
                reply.array(2);
                reply.integer(start as i64);
                reply.integer((start + stretch.length - 1) as i64);
            }
            if self.with_match_length {
                reply.integer(stretch.length as i64);
            }
        }
        reply.bulk(b"len");
        reply.integer(common.len() as i64);
    }
}

/// The string of a key in one piece; a missing key counts as empty.
fn string_at(data: &mut Data, key: &[u8]) -> Result<Vec<u8>, CommandError> {
    match data.find(Key::new(key)) {
        Some(entry) => match string_of(&entry) {
            Ok(text) => Ok(text.to_vec()),
            Err(_) => Err(NOT_STRINGS),
        },
        None => Ok(Vec::new()),
    }
}
