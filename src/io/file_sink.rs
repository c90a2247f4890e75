//! A sink that is a file: it appears under its name when the last byte is on disk.

use std::path::Path;

use bytes::Bytes;

use super::atomic_file::AtomicFile;
use super::sink::{Sink, SinkError};

/// Bytes into an [`AtomicFile`].
pub struct FileSink(AtomicFile);

impl FileSink {
    /// As [`AtomicFile::create`].
    pub fn create(target: &Path, incremental_sync: bool) -> Result<Self, SinkError> {
        Ok(FileSink(AtomicFile::create(target, incremental_sync)?))
    }
}

impl Sink for FileSink {
    fn accept(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        Ok(self.0.write(&bytes)?)
    }

    fn finish(self: Box<Self>) -> Result<(), SinkError> {
        self.0.publish()?;
        Ok(())
    }

    fn abandon(self: Box<Self>, reason: &str) {
        let (bytes, temp) = (self.0.len(), self.0.temp_path());
        log::info!("{}: given up after {bytes} bytes: {reason}", temp.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_appears_only_when_the_sink_is_finished() {
        let name = format!("sluice-file-sink-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let target = directory.join("dump.rdb");
        let sink = || -> Box<dyn Sink> {
            let mut sink = FileSink::create(&target, true).unwrap();
            sink.accept(Bytes::from_static(b"REDIS")).unwrap();
            sink.accept(Bytes::from_static(b"0010")).unwrap();
            Box::new(sink)
        };
        sink().abandon("a test");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        sink().finish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"REDIS0010");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
