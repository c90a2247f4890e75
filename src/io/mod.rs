//! Sockets, files, signals: the only rooms that touch the operating system.
