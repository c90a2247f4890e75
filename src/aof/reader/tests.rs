use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::aof::log::Log;
use crate::aof::manifest::Manifest;
use crate::aof::names::Names;
use crate::aof::simulated::SimulatedDisk;
use crate::journal::effect::encode_argv;
use crate::journal::position::{Position, ReplId};
use crate::random::Random;

/// A log and the archive that tells of it.
struct World {
    disk: SimulatedDisk,
    log: Log,
    archive: Arc<Archive>,
    stream: Vec<u8>,
    random: Random,
    now: i64,
}

const START: Offset = Offset(5000);

impl World {
    fn new(seed: u64, annotates: bool) -> Self {
        let disk = SimulatedDisk::new(seed);
        disk.create_directory(Path::new("/data")).unwrap();
        let mut random = Random::from_seed(seed);
        let at = Position {
            id: ReplId::random(&mut random),
            offset: START,
            stream_db: Some(3),
        };
        let names = Names::new(Path::new("/data"), "appendonlydir", "appendonly.aof");
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let log = Log::begin_history(shared, names, Manifest::default(), at, annotates).unwrap();
        let world = World {
            disk,
            log,
            archive: Arc::default(),
            stream: Vec::new(),
            random,
            now: 1_700_000_000,
        };
        world.tell();
        world
    }

    fn tell(&self) {
        self.archive.put(self.log.pieces(), self.log.end());
    }

    fn reader(&self, at: Offset) -> Reader {
        Reader::new(Arc::new(self.disk.clone()), Arc::clone(&self.archive), at)
    }

    fn append(&mut self) {
        let mut unit = Vec::new();
        let value = vec![b"#*\n$1"[self.random.below(5) as usize]; self.random.below(300) as usize];
        encode_argv(&[b"SET", b"#key", &value], &mut unit);
        self.stream.extend_from_slice(&unit);
        self.now += self.random.below(2) as i64;
        self.log.append(&[Bytes::from(unit)], self.now).unwrap();
        self.archive.set_written(self.log.end());
    }

    fn rotate(&mut self) {
        let at = Position {
            id: self.log.id().unwrap(),
            offset: self.log.end(),
            stream_db: (self.random.below(2) == 0).then_some(1),
        };
        self.log.rotate(at).unwrap();
        self.tell();
    }

    fn expected(&self, from: Offset, to: Offset) -> &[u8] {
        &self.stream[from.since(START) as usize..to.since(START) as usize]
    }
}

#[test]
fn every_byte_comes_once_over_rotations_and_annotations_and_none_before_it_is_written() {
    for seed in 0..60 {
        let mut world = World::new(seed, seed % 2 == 0);
        let mut readers: Vec<(Offset, Reader, Vec<u8>)> = Vec::new();
        for _ in 0..120 {
            match world.random.below(10) {
                0 => world.rotate(),
                1 => {
                    let behind = world.random.below(world.stream.len() as u64 + 1);
                    let at = START.plus(behind as usize);
                    let reader = world.reader(at);
                    readers.push((at, reader, Vec::new()));
                }
                2..5 => world.append(),
                _ => {
                    let bytes_max = 1 + world.random.below(400) as usize;
                    for (_, reader, read) in &mut readers {
                        read.extend(reader.read(Offset::MAX, bytes_max).unwrap());
                    }
                }
            }
            for (from, reader, read) in &readers {
                assert!(reader.position() <= world.log.end());
                assert_eq!(
                    world.expected(*from, reader.position()),
                    &read[..],
                    "seed {seed}"
                );
            }
        }
        for (from, reader, read) in &mut readers {
            let limit = from.plus(read.len() + 7).min(world.log.end());
            while reader.position() < limit {
                read.extend(reader.read(limit, 1000).unwrap());
            }
            assert_eq!(reader.position(), limit, "a limit holds");
            while reader.position() < world.log.end() {
                read.extend(reader.read(Offset::MAX, 1000).unwrap());
            }
            assert_eq!(
                world.expected(*from, world.log.end()),
                &read[..],
                "seed {seed}"
            );
            assert_eq!(reader.read(Offset::MAX, 1000).unwrap(), b"");
        }
    }
}

#[test]
fn a_segment_that_is_pruned_while_it_is_read_is_read_to_its_end_and_then_the_next_is_gone() {
    for annotates in [false, true] {
        let mut world = World::new(7, annotates);
        let mut ends = Vec::new();
        for _ in 0..3 {
            for _ in 0..20 {
                world.append();
            }
            world.rotate();
            ends.push(world.log.end());
        }
        let mut reader = world.reader(START);
        let mut read = reader.read(Offset::MAX, 10).unwrap();
        assert_eq!(world.log.prune(0).unwrap().len(), 3);
        world.tell();
        let error = loop {
            match reader.read(Offset::MAX, 500) {
                Ok(bytes) => read.extend(bytes),
                Err(error) => break error,
            }
        };
        assert_eq!(world.expected(START, ends[0]), &read[..]);
        assert_eq!(
            error.to_string(),
            format!(
                "what follows offset {} is not on disk any more, which begins at {}",
                ends[0], ends[2]
            )
        );
    }
}

#[test]
fn another_history_in_the_place_of_the_set_is_never_read_as_this_one() {
    let mut world = World::new(1, false);
    world.append();
    let mut reader = world.reader(START);
    reader.read(Offset::MAX, 10).unwrap();
    world.archive.withdraw();
    world.tell();
    assert_eq!(world.archive.view().pieces.len(), 0);
    world.archive.begin_anew();
    world.tell();
    let outcome = reader.read(Offset::MAX, 10);
    assert!(matches!(outcome, Err(ReadError::OtherHistory)));
}
