//! Both ends of replication as state machines without I/O.
