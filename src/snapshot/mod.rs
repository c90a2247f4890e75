//! A picture of the keyspace and its position.
