//! `sluice-server`: arguments, settings, logging, then the node until it stops.

#[global_allocator]
static ALLOCATOR: sluice::memory::CountingAllocator = sluice::memory::CountingAllocator;

fn main() {}
