//! CONFIG REWRITE: reads the configuration file, works the settings in, puts the new text in its place.
//!
//! Started by the conductor for one client, who waits for it; the disk is waited for on a thread of async-std's; ends once
//! the client is answered.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use async_std::task::spawn_blocking;

use crate::clients::ClientKey;
use crate::config::Config;
use crate::config::rewrite::rewrite;
use crate::engine::error::NO_CONFIG_FILE;
use crate::io::atomic_file::{AtomicFile, FileError};

use super::engine_lock::EngineLock;

/// Writes the file and answers `client`.
pub async fn run(lock: EngineLock, client: ClientKey) {
    let outcome = write(&lock).await;
    if let Err(problem) = &outcome {
        log::warn!("CONFIG REWRITE failed: {problem}");
    } else {
        log::info!("CONFIG REWRITE executed with success.");
    }
    lock.with(|engine| match outcome {
        Ok(()) => engine.unblock(client, |reply| reply.ok()),
        Err(problem) => {
            engine.stats.count_error("ERR");
            engine.unblock(client, |reply| reply.error(&format!("ERR {problem}")));
        }
    });
}

async fn write(lock: &EngineLock) -> Result<(), String> {
    let (file, now, loaded) = lock.with(|engine| {
        let (now, loaded) = (engine.config.clone(), engine.config_loaded.clone());
        (engine.config_file.clone(), now, loaded)
    });
    let file = file.ok_or_else(|| NO_CONFIG_FILE.text().trim_start_matches("ERR ").to_owned())?;
    let written = now.clone();
    spawn_blocking(move || update(&file, &now, &loaded))
        .await
        .map_err(|problem| format!("Rewriting config file: {problem}"))?;
    lock.with(|engine| engine.config_loaded = written);
    Ok(())
}

fn update(file: &PathBuf, now: &Config, loaded: &Config) -> Result<(), String> {
    // A link stays a link: what it points to is replaced.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.clone());
    let old = read(&target).map_err(|error| format!("read {}: {error}", target.display()))?;
    let new = rewrite(&old, now, loaded, None);
    let mut replacement = AtomicFile::create(&target, false).map_err(text)?;
    // Who may not read the passwords in the old file may not read them in the new one.
    if let Ok(old) = fs::metadata(&target) {
        fs::set_permissions(replacement.temp_path(), old.permissions())
            .map_err(|error| format!("chmod {}: {error}", target.display()))?;
    }
    replacement.write(&new).map_err(text)?;
    replacement.publish().map_err(text)?;
    Ok(())
}

fn text(error: FileError) -> String {
    error.to_string()
}

/// The text of the file; a file that has gone is written anew.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_updated_in_place_and_through_a_link() {
        let directory = std::env::temp_dir().join(format!("sluice-rewrite-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (file, link) = (directory.join("a.conf"), directory.join("b.conf"));
        fs::write(&file, "hz 10 # odd\n# kept\n").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let loaded = Config::default();
        let mut now = loaded.clone();
        now.hz = 20;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        update(&link, &now, &loaded).unwrap();
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&file).unwrap(), "hz 20\n# kept\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        fs::remove_file(&file).unwrap();
        update(&file, &now, &loaded).unwrap();
        assert!(fs::read_to_string(&file).unwrap().ends_with("hz 20\n"));
        fs::remove_dir_all(&directory).unwrap();
        assert!(update(&file, &now, &loaded).is_err());
    }
}
