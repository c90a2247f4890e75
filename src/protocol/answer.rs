//! What a peer answers us: one line at a time, for the handshake with a master and for tools.
