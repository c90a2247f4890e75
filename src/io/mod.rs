//! Sockets, files, signals: the only rooms that touch the operating system.
//!
//! In reading order: [`socket`] opens them, [`reactor`] polls the tasks that serve them, [`stream`] is a socket as such a
//! task sees it ([`slots`] and [`timers`] are the reactor's tables). A snapshot's bytes leave through a [`sink`]: a file
//! ([`file_sink`], over [`atomic_file`]) or replicas ([`socket_sink`]). [`signal`] is how the operator speaks to us.

pub mod reactor;
mod slots;
pub mod socket;
pub mod stream;
mod timers;
