//! `sluice-server`: arguments, settings, logging, then the node until it stops.

use std::io::{Write, stderr, stdin, stdout};
use std::process::ExitCode;

use sluice::config::arguments::{self, Invocation};
use sluice::config::file;
use sluice::tasks::boot;

#[global_allocator]
static ALLOCATOR: sluice::memory::CountingAllocator = sluice::memory::CountingAllocator;

fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Serve(arguments)) => arguments,
        Ok(Invocation::Print(text)) => {
            // Nobody is left to be told that standard output is closed.
            let _ = stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(refusal) => return refuse(&refusal),
    };
    match file::load(&arguments, &mut stdin()) {
        Ok(loaded) => boot::run(loaded),
        Err(error) => refuse(&error.to_string()),
    }
}

fn refuse(reason: &str) -> ExitCode {
    // As above: if standard error is closed, the exit code must do.
    let _ = writeln!(stderr(), "{reason}");
    ExitCode::FAILURE
}
