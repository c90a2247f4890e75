//! `sluice-server`: arguments, settings, logging, then the node until it stops.

#[global_allocator]
static ALLOCATOR: sluice::memory::CountingAllocator = sluice::memory::CountingAllocator;

fn main() -> std::process::ExitCode {
    let mut config = sluice::config::Config::default();
    for pair in std::env::args().skip(1).collect::<Vec<_>>().chunks(2) {
        if let Err(error) = config.set(pair[0].trim_start_matches("--"), &pair[1..]) {
            eprintln!("{error}");
        }
    }
    sluice::tasks::boot::run(config)
}
