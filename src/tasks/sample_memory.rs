//! Tells the engine what the operating system thinks of the process, for INFO: the engine itself reads no files.
//!
//! Started by boot on async-std; woken by a timer, once a second; ends with the process. A round costs two short files of
//! `/proc`, which the kernel makes up without a disk.

use std::fs::read_to_string;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::system::{sysinfo, uname};

use super::engine_lock::EngineLock;

const ROUND: Duration = Duration::from_secs(1);

pub async fn run(lock: EngineLock) {
    let (page_bytes, ticks) = (page_size() as u64, clock_ticks_per_second());
    let (machine, memory) = (uname(), sysinfo());
    let name = [machine.sysname(), machine.release(), machine.machine()];
    let system = name.map(|part| part.to_string_lossy()).join(" ");
    let program = std::env::current_exe().unwrap_or_default();
    lock.with(|engine| {
        let sample = &mut engine.stats.process;
        sample.machine_bytes = memory.totalram * u64::from(memory.mem_unit);
        sample.system = system;
        sample.program = program.to_string_lossy().into_owned();
    });
    loop {
        let statm = read_to_string("/proc/self/statm").unwrap_or_default();
        let stat = read_to_string("/proc/self/stat").unwrap_or_default();
        lock.with(|engine| {
            let sample = &mut engine.stats.process;
            sample.update(&statm, &stat, page_bytes, ticks);
        });
        async_std::task::sleep(ROUND).await;
    }
}
