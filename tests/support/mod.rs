//! What the black-box tests share: servers as child processes, a blocking client, load, a truth, a bad network.
//!
//! Knows the program under test only by its command line and its port. `SLUICE_SERVER` names it (else the binary that
//! cargo has just built); `REDIS_SERVER` names the reference (else the one in PATH). Where the reference is missing, a
//! test that needs it says so and passes, unless `SLUICE_REQUIRE_REDIS=1` makes that a failure.

#![allow(
    dead_code,
    reason = "each test binary includes this room and uses a part of it"
)]

pub mod agree;
pub mod client;
pub mod dice;
pub mod load;
pub mod proxy;
pub mod server;
pub mod stream;
pub mod transcript;
pub mod value;
pub mod wait;
