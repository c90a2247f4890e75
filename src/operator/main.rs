//! `sluice`: the operator's tool. It works on files and on running nodes, and is never a node itself.
//!
//! Its exit code is 0 if all is well, 1 if something is not as it should be, 2 if that could not be found out.

mod check_aof;
mod check_rdb;
mod digest;
mod peer;

use std::env;
use std::io::{self, Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::check_aof::{CheckAofArguments, check_aof};
use crate::check_rdb::check_rdb;
use crate::digest::{Patience, Verdict};
use crate::peer::Credentials;

#[derive(Parser)]
#[command(
    name = "sluice",
    version,
    about = "Looks after Sluice nodes and their files"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read an AOF as strictly as loading it does, and cut off what is asked for
    ///
    /// The exit code is 0 if all is well, or was made so, 1 if not, and 2 if a file cannot be read.
    CheckAof(CheckAofArguments),
    /// Read an RDB file as deeply as loading it does, and report what is in it
    CheckRdb {
        /// The file
        file: PathBuf,
    },
    /// Compare the datasets of running nodes by their digests
    ///
    /// Waits until all nodes stand at the same offset, then asks each for its DEBUG DIGEST, which
    /// `enable-debug-command` must allow there. The exit code is 0 if all digests are equal, 1 if they differ or the
    /// offsets never meet, and 2 if a node cannot be asked.
    Digest(DigestArguments),
}

#[derive(Args)]
struct DigestArguments {
    /// The nodes, of Sluice or of Redis
    #[arg(required = true, value_name = "HOST:PORT")]
    nodes: Vec<String>,
    /// The user to authenticate as, if not the default one
    #[arg(long, requires = "password")]
    user: Option<String>,
    /// The password of all nodes; the variable SLUICE_PASSWORD is read where this is not given
    #[arg(long)]
    password: Option<String>,
    /// How long to wait until the nodes stand at the same offset, as in `90s` or `2min`
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// How long a node may take to compute its digest
    #[arg(long, default_value = "10min", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::CheckAof(arguments) => check_aof(&arguments, &mut stdout().lock())
            .map(|sound| if sound { GOOD } else { BAD })
            .map_err(|error| error.to_string()),
        Command::CheckRdb { file } => check_rdb(&file, &mut stdout().lock())
            .map(|sound| if sound { GOOD } else { BAD })
            .map_err(|error| error.to_string()),
        Command::Digest(arguments) => digest(arguments),
    };
    let code = outcome.unwrap_or_else(|error| {
        // If standard error is closed as well, the exit code must do.
        let _ = writeln!(stderr(), "{error}");
        UNKNOWN
    });
    ExitCode::from(code)
}

const GOOD: u8 = 0;
const BAD: u8 = 1;
const UNKNOWN: u8 = 2;

fn digest(arguments: DigestArguments) -> Result<u8, String> {
    let from_environment = || env::var("SLUICE_PASSWORD").ok();
    let credentials = Credentials {
        user: arguments.user,
        password: arguments.password.or_else(from_environment),
    };
    let patience = Patience {
        meet: arguments.wait,
        digest: arguments.timeout,
    };
    let mut peers = digest::connect(&arguments.nodes, &credentials)?;
    let comparison = digest::compare(&mut peers, patience)?;
    let written = digest::report(&comparison, &mut stdout().lock());
    written.map_err(|error: io::Error| format!("standard output: {error}"))?;
    Ok(match comparison.verdict {
        Verdict::Equal => GOOD,
        Verdict::Different | Verdict::Apart => BAD,
    })
}
