//! The frame of a snapshot: header, AUX fields, databases, keys, end and checksum.
//!
//! Everything goes into one growing buffer that its owner takes away in chunks, whenever and as often as it likes, also in the
//! middle of a value. The checksum is computed over a chunk when it is taken: chunks of a few kibibytes and more make it
//! free. What stands between [`Encoder::key`] and the next one is the value, written through [`Encoder::value`].

use crate::clock::UnixMillis;

use super::checksum::Checksum;
use super::opcode::{Opcode, ValueType, Version};
use super::writer::Writer;

pub struct Encoder {
    writer: Writer,
    /// Over all that was taken; none if the snapshot is to have none.
    checksum: Option<Checksum>,
    version: Version,
    bytes_taken: u64,
}

/// What stands before the first key.
#[derive(Clone, Copy, Debug)]
pub struct Preamble<'a> {
    /// As `redis-ver`, for example `7.2.4`.
    pub server_version: &'a str,
    pub created: UnixMillis,
    pub used_memory_bytes: u64,
    /// Where in whose history this snapshot stands, if it stands in one.
    pub history: Option<History<'a>>,
    /// Whether an AOF continues this snapshot.
    pub aof_base: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// The database that the stream after this snapshot starts in.
    pub stream_db: u32,
    /// Forty hexadecimal digits.
    pub repl_id: &'a str,
    pub offset: u64,
}

/// What stands around a value.
#[derive(Clone, Copy, Debug)]
pub struct EntryHead<'a> {
    pub key: &'a [u8],
    pub value_type: ValueType,
    pub expire: Option<UnixMillis>,
    pub usage: Usage,
}

/// How a key was used, in the terms of the eviction policy: servers write one of the two, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    Unknown,
    IdleSeconds(u64),
    Freq(u8),
}

impl Encoder {
    /// `compress` and `checksum` are what the parameters `rdbcompression` and `rdbchecksum` say.
    pub fn new(version: Version, compress: bool, checksum: bool) -> Self {
        let mut writer = Writer::new(compress);
        writer.bytes.extend_from_slice(&version.header());
        Encoder {
            writer,
            checksum: checksum.then(Checksum::new),
            version,
            bytes_taken: 0,
        }
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn preamble(&mut self, preamble: &Preamble) {
        self.aux(b"redis-ver", preamble.server_version.as_bytes());
        self.aux_number(b"redis-bits", 64);
        self.aux_number(b"ctime", preamble.created.seconds());
        self.aux_number(b"used-mem", preamble.used_memory_bytes as i64);
        if let Some(history) = &preamble.history {
            self.aux_number(b"repl-stream-db", history.stream_db.into());
            self.aux(b"repl-id", history.repl_id.as_bytes());
            self.aux_number(b"repl-offset", history.offset as i64);
        }
        self.aux_number(b"aof-base", preamble.aof_base.into());
    }

    pub fn aux(&mut self, name: &[u8], value: &[u8]) {
        self.writer.byte(Opcode::Aux as u8);
        self.writer.string(name);
        self.writer.string(value);
    }

    fn aux_number(&mut self, name: &[u8], value: i64) {
        self.writer.byte(Opcode::Aux as u8);
        self.writer.string(name);
        self.writer.integer(value);
    }

    /// Starts a database. `keys` and `expires` spare the reader some growing; they need not be exact.
    pub fn select_db(&mut self, db: u32, keys: u64, expires: u64) {
        self.writer.byte(Opcode::SelectDb as u8);
        self.writer.length(db.into());
        self.writer.byte(Opcode::ResizeDb as u8);
        self.writer.length(keys);
        self.writer.length(expires);
    }

    /// Starts a key. Its value has to follow in the layout of its type.
    pub fn key(&mut self, head: &EntryHead) {
        if let Some(expire) = head.expire {
            self.writer.byte(Opcode::ExpireMillis as u8);
            self.writer.bytes.extend_from_slice(&expire.0.to_le_bytes());
        }
        match head.usage {
            Usage::Unknown => {}
            Usage::IdleSeconds(seconds) => {
                self.writer.byte(Opcode::Idle as u8);
                self.writer.length(seconds);
            }
            Usage::Freq(counter) => {
                self.writer.byte(Opcode::Freq as u8);
                self.writer.byte(counter);
            }
        }
        self.writer.byte(head.value_type as u8);
        self.writer.string(head.key);
    }

    /// Where the value of the current key goes.
    pub fn value(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// How many bytes wait to be taken.
    pub fn pending(&self) -> usize {
        self.writer.bytes.len()
    }

    /// How many bytes there are so far, taken or not.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_taken + self.pending() as u64
    }

    /// Takes away all that waits.
    pub fn take(&mut self) -> Vec<u8> {
        let next = Vec::with_capacity(self.pending().min(SPARE_BYTES_MAX));
        let chunk = std::mem::replace(&mut self.writer.bytes, next);
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&chunk);
        }
        self.bytes_taken += chunk.len() as u64;
        chunk
    }

    /// Ends the snapshot: the last chunk.
    pub fn finish(mut self) -> Vec<u8> {
        self.writer.byte(Opcode::Eof as u8);
        let mut chunk = self.take();
        if self.version.has_checksum() {
            let value = self.checksum.map_or(0, |checksum| checksum.value());
            chunk.extend_from_slice(&value.to_le_bytes());
        }
        chunk
    }
}

/// A new buffer is as large as the last one, up to this.
const SPARE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::decoder::{Decoder, Event, Options};
    use crate::rdb::parts::Part;

    const PREAMBLE: Preamble = Preamble {
        server_version: "7.2.4",
        created: UnixMillis(1_795_206_618_500),
        used_memory_bytes: 939_264,
        history: None,
        aof_base: false,
    };

    #[test]
    fn an_empty_snapshot_is_what_a_server_writes() {
        let mut encoder = Encoder::new(Version::redis(10), true, true);
        encoder.preamble(&PREAMBLE);
        let bytes = encoder.finish();
        let (body, checksum) = bytes.split_at(bytes.len() - 8);
        assert_eq!(
            body,
            b"REDIS0010\xfa\x09redis-ver\x057.2.4\xfa\x0aredis-bits\xc0\x40\xfa\x05ctime\xc2\xda\xad\0\x6b\
              \xfa\x08used-mem\xc2\0\x55\x0e\0\xfa\x08aof-base\xc0\0\xff"
        );
        assert_eq!(checksum, Checksum::of(body).to_le_bytes());
    }

    #[test]
    fn a_snapshot_taken_in_chunks_decodes_to_what_was_written() {
        let mut encoder = Encoder::new(Version::DEFAULT, true, true);
        let repl_id = "8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb";
        encoder.preamble(&Preamble {
            history: Some(History {
                stream_db: 3,
                repl_id,
                offset: 1 << 40,
            }),
            aof_base: true,
            ..PREAMBLE
        });
        encoder.select_db(3, 2, 1);
        let mut bytes = encoder.take();
        encoder.key(&EntryHead {
            key: b"12",
            value_type: ValueType::String,
            expire: Some(UnixMillis(-5)),
            usage: Usage::Freq(255),
        });
        encoder.value().string(&[b'v'; 5000]);
        encoder.key(&EntryHead {
            key: b"h",
            value_type: ValueType::Hash,
            expire: None,
            usage: Usage::IdleSeconds(100),
        });
        encoder.value().length(1000);
        for i in 0..1000 {
            encoder.value().string(format!("field{i}").as_bytes());
            if encoder.pending() > 1000 {
                bytes.append(&mut encoder.take());
            }
            encoder.value().integer(i);
        }
        assert_eq!(
            encoder.bytes_written(),
            (bytes.len() + encoder.pending()) as u64
        );
        bytes.append(&mut encoder.finish());

        let mut decoder = Decoder::new(Options::default());
        decoder.feed(&bytes);
        let (mut aux, mut heads, mut pairs) = (Vec::new(), Vec::new(), 0);
        while let Some(event) = decoder.next_event().expect("valid") {
            match event {
                Event::Aux { name, value } => {
                    aux.push(format!("{}={}", name.escape_ascii(), value.escape_ascii()));
                }
                Event::SelectDb(db) => assert_eq!(db, 3),
                Event::ResizeDb { keys, expires } => assert_eq!((keys, expires), (2, 1)),
                Event::Key(head) => heads.push(format!("{head:?}")),
                Event::Part(Part::String(string)) => assert_eq!(&string[..], [b'v'; 5000]),
                Event::Part(Part::Pair(field, value)) => {
                    assert_eq!(&field[..], format!("field{pairs}").as_bytes());
                    assert_eq!(&value[..], pairs.to_string().as_bytes());
                    pairs += 1;
                }
                Event::Part(other) => panic!("{other:?}"),
                Event::ValueEnd | Event::End => {}
            }
        }
        assert!(decoder.is_done());
        assert_eq!(pairs, 1000);
        assert_eq!(
            aux[4..],
            [
                "repl-stream-db=3".to_owned(),
                format!("repl-id={repl_id}"),
                format!("repl-offset={}", 1u64 << 40),
                "aof-base=1".to_owned(),
            ]
        );
        assert!(
            heads[0].contains("expire: Some(UnixMillis(-5)), idle_seconds: None, freq: Some(255)")
        );
        assert!(heads[1].contains("expire: None, idle_seconds: Some(100), freq: None"));
    }

    #[test]
    fn a_snapshot_without_checksum_ends_in_zeros() {
        let encoder = Encoder::new(Version::redis(9), false, false);
        assert_eq!(encoder.finish(), b"REDIS0009\xff\0\0\0\0\0\0\0\0");
    }
}
