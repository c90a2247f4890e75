//! The contract of a sink: where a snapshot's bytes go.
//!
//! A walk makes its bytes once; a sink takes them in order and knows nothing of keys. It is called from the walk's own
//! thread and may block there: that is how a slow disk or a slow socket paces the walk.

use std::fmt;

use bytes::Bytes;

use super::atomic_file::FileError;

/// Takes bytes in order, then is finished or abandoned. After an error nothing but [`Sink::abandon`] may follow.
pub trait Sink: Send {
    /// Takes the next bytes; blocks while the receiver cannot keep up.
    ///
    /// # Errors
    /// The receiver is gone or cannot take more: the walk is in vain.
    fn accept(&mut self, bytes: Bytes) -> Result<(), SinkError>;

    /// All bytes have come: makes them durable, visible, or waits until they are sent.
    ///
    /// # Errors
    /// As [`Sink::accept`]; what was half done has been undone.
    fn finish(self: Box<Self>) -> Result<(), SinkError>;

    /// The bytes will never be complete: undoes what can be undone. `reason` is for the log and for those who waited.
    fn abandon(self: Box<Self>, reason: &str);
}

/// Why a sink took no more.
#[derive(Debug)]
pub enum SinkError {
    File(FileError),
    /// No socket is left that the bytes could go to; the last reason.
    NoReceiver(String),
    /// Somebody outside asked for the end.
    Cancelled,
}

impl fmt::Display for SinkError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SinkError::File(error) => error.fmt(out),
            SinkError::NoReceiver(last) => write!(out, "no receiver is left, the last one: {last}"),
            SinkError::Cancelled => write!(out, "cancelled"),
        }
    }
}

impl std::error::Error for SinkError {}

impl From<FileError> for SinkError {
    fn from(error: FileError) -> Self {
        SinkError::File(error)
    }
}
