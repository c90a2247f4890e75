//! Everything that awaits, one file per kind of task.
