//! What the operating system says of this process, as a task has last read it.

/// Read once a second.
#[derive(Clone, Debug, Default)]
pub struct ProcessSample {
    /// Bytes of memory that are resident.
    pub resident_bytes: u64,
    /// Processor time since the start, in seconds, in the kernel and outside of it.
    pub system_seconds: f64,
    pub user_seconds: f64,
    /// Bytes of memory that the machine has.
    pub machine_bytes: u64,
    /// Name, release and architecture of the system.
    pub system: String,
    /// Path of the program.
    pub program: String,
}

impl ProcessSample {
    /// Takes over what `/proc/self/statm` and `/proc/self/stat` say; what cannot be read stays as it was.
    pub fn update(&mut self, statm: &str, stat: &str, page_bytes: u64, ticks_per_second: u64) {
        if let Some(pages) = statm
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse::<u64>().ok())
        {
            self.resident_bytes = pages * page_bytes;
        }
        // The name of the program, in parentheses, may hold anything; fields are counted from behind it.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let seconds = |field: usize| {
            let ticks = fields.split(' ').nth(field)?.parse::<f64>().ok()?;
            Some(ticks / ticks_per_second.max(1) as f64)
        };
        self.user_seconds = seconds(11).unwrap_or(self.user_seconds);
        self.system_seconds = seconds(12).unwrap_or(self.system_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name_and_nonsense_changes_nothing() {
        let mut sample = ProcessSample::default();
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 100 0 0 20 0";
        sample.update("900 300 20 1 0 50 0", stat, 4096, 100);
        sample.update("", "nothing", 4096, 100);
        assert_eq!(sample.resident_bytes, 300 * 4096);
        assert_eq!((sample.user_seconds, sample.system_seconds), (2.5, 1.0));
    }
}
