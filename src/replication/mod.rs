//! Both ends of replication as state machines without I/O.

pub mod handshake;
pub mod identity;
pub mod payload;
pub mod replconf;
