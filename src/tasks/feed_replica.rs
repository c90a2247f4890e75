//! The master end of one replica: its connection, once PSYNC or SYNC was accepted.
//!
//! Started by `serve_client`; woken by its socket, by the journal and by the engine; ends when either side closes.

use super::serve_client::Connection;

pub async fn feed(connection: Connection) {
    let key = connection.key;
    connection.lock.with(|engine| engine.disconnect(key));
}
