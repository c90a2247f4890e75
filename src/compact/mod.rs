//! Small collections as bytes, the same in memory and in RDB.
