//! What the engine asks of the tasks.

use crate::clients::ClientKey;
use crate::config::{Circumstances, ConfigError};
use crate::keyspace::KeyspacePicture;

/// One thing to do outside of the lock. Tasks take intents in order.
#[derive(Clone, Debug)]
pub enum Intent {
    /// A save has begun: see `Engine::take_save`.
    Save,
    /// A rewrite of the AOF has begun: see `Engine::take_rewrite`.
    Rewrite,
    /// Save if so wished, then stop the process with `status`. `client` is told if it cannot be done.
    Shutdown {
        save: SaveWish,
        client: Option<ClientKey>,
        now: bool,
        force: bool,
    },
    /// DEBUG RELOAD: save unless told not to, then load the file into a fresh keyspace that replaces this one.
    Reload { client: ClientKey, save: bool },
    /// DEBUG LOADAOF: write all that is to be written, then load the AOF into a fresh keyspace that replaces this one.
    ReloadAof { client: ClientKey },
    /// DEBUG DIGEST of a large dataset.
    Digest {
        client: ClientKey,
        picture: KeyspacePicture,
    },
    /// CONFIG SET of where to listen.
    Listen(ListenRequest),
    /// The settings of listening sockets have changed.
    Rebind,
    /// Going on would do harm: ends the process with an error.
    GiveUp { reason: &'static str },
    /// CONFIG REWRITE.
    RewriteConfig { client: ClientKey },
    /// Somebody waits for a sync: see `Engine::answer_synced`.
    AwaitSync,
    /// The journal is to be kept on disk without an AOF, or not any more.
    KeepHistory,
    /// The replica end has something to do: see `Engine::take_link_actions`.
    DriveLink,
    /// Replicas wait for a snapshot.
    FeedReplicas,
}

/// CONFIG SET of parameters among which is where to listen. They take effect, and `client` is answered, once that is done.
#[derive(Clone, Debug)]
pub struct ListenRequest {
    pub client: ClientKey,
    /// Names and values.
    pub pairs: Vec<(Vec<u8>, Vec<u8>)>,
    pub circumstances: Circumstances,
    /// The parameter to blame.
    pub name: &'static str,
}

impl ListenRequest {
    /// What the client is told if the addresses cannot be had.
    pub fn refusal(name: &'static str) -> ConfigError {
        ConfigError::Refused {
            name,
            reason: match name {
                "port" => "Unable to listen on this port. Check server logs.".into(),
                _ => "Failed to bind to specified addresses.".into(),
            },
        }
    }
}

/// Whether SHUTDOWN saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveWish {
    /// If there are save points.
    Default,
    Save,
    NoSave,
}
