//! What a payload says about itself in its AUX fields.

use crate::journal::position::{Offset, Position, ReplId};
use crate::number;
use crate::rdb::decoder::{self, Decoder, Event};

use super::About;

/// What a payload says about itself before its first database, as far as `head`, its first bytes, goes.
pub fn about_of(head: &[u8]) -> About {
    let mut reader = AboutReader::default();
    let mut decoder = Decoder::new(decoder::Options::default());
    decoder.feed(head);
    // What is wrong with the payload is told when it is loaded.
    while let Ok(Some(Event::Aux { name, value })) = decoder.next_event() {
        reader.field(&name, &value);
    }
    reader.about()
}

/// Collects the AUX fields that mean something here.
#[derive(Default)]
pub struct AboutReader {
    about: About,
    id: Option<ReplId>,
    offset: Option<Offset>,
    stream_db: Option<u32>,
}

impl AboutReader {
    /// Names are compared without case; what is unknown, or not a number where one should be, is passed over.
    pub fn field(&mut self, name: &[u8], value: &[u8]) {
        let number = || number::parse_i64(value);
        match name.to_ascii_lowercase().as_slice() {
            b"redis-ver" | b"valkey-ver" => {
                let shown = &value[..value.len().min(64)];
                self.about.server_version = Some(shown.escape_ascii().to_string());
            }
            b"ctime" => self.about.created_unix = number(),
            b"used-mem" => {
                self.about.used_memory_bytes = number().and_then(|bytes| u64::try_from(bytes).ok());
            }
            b"aof-base" | b"aof-preamble" => self.about.aof_base = number().unwrap_or(0) != 0,
            b"repl-id" => self.id = ReplId::parse(value),
            b"repl-offset" => self.offset = Offset::parse(value),
            b"repl-stream-db" => self.stream_db = number().and_then(|db| u32::try_from(db).ok()),
            _ => {}
        }
    }

    pub fn about(&self) -> About {
        About {
            position: self.id.zip(self.offset).map(|(id, offset)| Position {
                id,
                offset,
                stream_db: self.stream_db,
            }),
            ..self.about.clone()
        }
    }
}
