//! Sockets, files, signals: the only rooms that touch the operating system.
//!
//! In reading order: [`listening`] and [`socket`] open them, [`reactor`] polls the tasks that serve them, [`stream`] is a
//! socket as such a task sees it, [`timers`] is how it waits for a moment, [`remote`] how other threads reach it
//! (`slots` is the reactor's table). A snapshot's bytes leave through a [`sink`]: a file
//! ([`file_sink`], over [`atomic_file`]) or replicas ([`socket_sink`], where [`rider`] is one of them). [`signal`] is how the
//! operator speaks to us, [`local_time`] how the log says when.

pub mod atomic_file;
pub mod file_sink;
pub mod listening;
pub mod local_time;
pub mod reactor;
pub mod remote;
pub mod rider;
pub mod signal;
pub mod sink;
mod slots;
pub mod socket;
pub mod socket_sink;
pub mod stream;
pub mod timers;
