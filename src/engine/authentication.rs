//! Who may send commands: the default user and its password, `requirepass`.

use std::hint::black_box;

use crate::clients::ClientKey;

use super::Engine;
use super::error::{self, CommandError};

/// The one user there is.
pub const DEFAULT_USER: &[u8] = b"default";

impl Engine {
    /// Whether commands of `client` are served: it has logged in, or nobody has to.
    pub fn is_authenticated(&self, client: ClientKey) -> bool {
        self.config.requirepass.is_empty()
            || self
                .clients
                .find(client)
                .is_none_or(|client| client.session.authenticated)
    }

    /// Logs `client` in. Without a password set, every password of the default user is right.
    ///
    /// # Errors
    /// WRONGPASS, for an unknown user as for a wrong password; the client stays what it was.
    pub fn authenticate(
        &mut self,
        client: ClientKey,
        user: &[u8],
        password: &[u8],
    ) -> Result<(), CommandError> {
        let wanted = &self.config.requirepass;
        if user != DEFAULT_USER || !(wanted.is_empty() || is_same(wanted, password)) {
            return Err(error::WRONG_PASSWORD);
        }
        self.clients.get_mut(client).session.authenticated = true;
        Ok(())
    }
}

/// Compares in a time that depends on the length of `given` alone, so that it tells nothing about `secret`.
fn is_same(secret: &[u8], given: &[u8]) -> bool {
    let mut difference = secret.len() ^ given.len();
    for (place, byte) in given.iter().enumerate() {
        let expected = secret[place % secret.len().max(1)];
        difference = black_box(difference | usize::from(expected ^ byte));
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_password_is_the_same() {
        for (secret, given, same) in [
            ("abc", "abc", true),
            ("abc", "abcabc", false),
            ("abc", "ab", false),
            ("abc", "", false),
            ("abc", "abd", false),
        ] {
            assert_eq!(is_same(secret.as_bytes(), given.as_bytes()), same);
        }
    }
}
