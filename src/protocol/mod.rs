//! RESP2 and RESP3 on one page.
//!
//! A client sends requests: an array of bulk strings, or one line of words (inline).
//!
//! ```text
//! *2\r\n $3\r\nGET\r\n $1\r\nk\r\n            GET k\r\n
//! ```
//!
//! The server answers each with one reply, in order:
//!
//! ```text
//!               RESP2                     RESP3
//! simple        +OK\r\n                   the same
//! error         -ERR text\r\n             the same
//! integer       :1\r\n                    the same
//! bulk          $1\r\nk\r\n               the same
//! null          $-1\r\n   (array *-1\r\n)  _\r\n
//! array         *n\r\n                    the same
//! map           *2n\r\n                   %n\r\n
//! set           *n\r\n                    ~n\r\n
//! push          *n\r\n                    >n\r\n
//! double        bulk of its text          ,text\r\n
//! boolean       :1\r\n :0\r\n             #t\r\n #f\r\n
//! verbatim      bulk                      =len\r\ntxt:...\r\n
//! ```
//!
//! Source: the RESP specification as Redis 7.2 speaks it.

pub mod answer;
pub mod argv;
pub mod reply;
pub mod request;
