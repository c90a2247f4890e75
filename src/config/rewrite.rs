//! CONFIG REWRITE: the text of a configuration file that says what the server does now, with as little changed as can be.
//!
//! Comments, order and lines that are still right stay as they are, byte for byte. A parameter that differs gets its new
//! lines where its first line stood; what the file does not name and is not the default goes to the end, under a marker.
//! A value that an `include` further down could override goes to the end too, and where a file includes others, only
//! what has changed since it was read is written: the rest is theirs.

use std::collections::BTreeMap;

use super::file::{Assembly, INCLUDE, USER};
use super::kinds::Kind;
use super::parameter::{self, Parameter, find};
use super::{Config, words};

/// The new text of the main file.
///
/// `loaded` is what reading the files gave when the server started, or what the last rewrite wrote: the caller keeps `now`
/// as the new `loaded` once the text is on disk. `users` are the ACL users as lines, `user` included, where this file is
/// their place; without, such lines are left alone.
pub fn rewrite(old: &[u8], now: &Config, loaded: &Config, users: Option<&[String]>) -> Vec<u8> {
    let mut file = Lines::read(old);
    for parameter in parameter::all() {
        file.update(parameter, now, loaded);
    }
    if let Some(users) = users {
        let lines = users.iter().map(|user| user.clone().into_bytes()).collect();
        let users = std::mem::take(&mut file.users);
        file.replace(users, lines);
    }
    file.into_text()
}

/// The file as it stands, line by line, with what has to become of each.
struct Lines<'a> {
    old: Vec<&'a [u8]>,
    /// What stands in place of a line; it stays as it is where there is no entry.
    replaced: BTreeMap<usize, Vec<Vec<u8>>>,
    appended: Vec<Vec<u8>>,
    /// Where the lines of each parameter are, by its name.
    places: BTreeMap<&'static str, Vec<usize>>,
    users: Vec<usize>,
    last_include: Option<usize>,
    /// What the lines of this file alone say.
    own: Config,
}

impl<'a> Lines<'a> {
    fn read(text: &'a [u8]) -> Self {
        let mut lines = Lines {
            old: text.split(|&byte| byte == b'\n').collect(),
            replaced: BTreeMap::new(),
            appended: Vec::new(),
            places: BTreeMap::new(),
            users: Vec::new(),
            last_include: None,
            own: Config::default(),
        };
        if lines.old.last() == Some(&&b""[..]) {
            lines.old.pop();
        }
        let mut assembly = Assembly::default();
        for (index, line) in lines.old.iter().enumerate() {
            let line = line.trim_ascii();
            if line.first() == Some(&b'#') {
                continue;
            }
            let Some(words) = words::split(line) else {
                continue;
            };
            let Some((name, values)) = words.split_first() else {
                continue;
            };
            if let Some((parameter, _)) = find(name) {
                lines.places.entry(parameter.name).or_default().push(index);
                // A line that was spoilt after the start says nothing, so the parameter's lines are written anew.
                let _ = assembly.apply(parameter, values);
            } else if name.eq_ignore_ascii_case(INCLUDE) {
                lines.last_include = Some(index);
            } else if name.eq_ignore_ascii_case(USER) {
                lines.users.push(index);
            }
        }
        lines.own = assembly.config;
        lines
    }

    fn update(&mut self, parameter: &'static Parameter, now: &Config, loaded: &Config) {
        let places = self.places.remove(parameter.name).unwrap_or_default();
        let setting = now.setting(parameter);
        let changed = setting != loaded.setting(parameter);
        let right = match self.last_include {
            Some(_) => !changed,
            None => setting == self.own.setting(parameter),
        };
        if right {
            return;
        }
        let mut lines: Vec<Vec<u8>> = parameter.kind.lines(&setting);
        let overridden = self.last_include.is_some_and(|include| places.first().is_none_or(|&first| first < include));
        // At the end, after other files and options, absence no longer says "none", and save points would add up.
        match parameter.kind {
            Kind::Master if lines.is_empty() && (overridden || places.is_empty()) => lines.push(b"no one".to_vec()),
            Kind::SavePoints if self.last_include.is_some() && lines != [b"\"\""] => lines.insert(0, b"\"\"".to_vec()),
            _ => {}
        }
        for line in &mut lines {
            line.splice(..0, format!("{} ", parameter.name).into_bytes());
        }
        if overridden {
            self.replace(places, Vec::new());
            self.appended.extend(lines);
        } else {
            self.replace(places, lines);
        }
    }

    /// Puts the new lines where the old ones stood: one for one, the rest of the new ones behind the last.
    fn replace(&mut self, places: Vec<usize>, lines: Vec<Vec<u8>>) {
        let Some(&last) = places.last() else {
            self.appended.extend(lines);
            return;
        };
        let mut lines = lines.into_iter();
        for &place in &places {
            self.replaced.insert(place, lines.next().into_iter().collect());
        }
        self.replaced.entry(last).or_default().extend(lines);
    }

    fn into_text(self) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut marked = false;
        for (index, old) in self.old.into_iter().enumerate() {
            marked |= old.trim_ascii() == MARKER;
            match self.replaced.get(&index) {
                Some(new) => lines.extend(new.iter().cloned()),
                None => lines.push(old.to_vec()),
            }
        }
        if !self.appended.is_empty() && !marked {
            if !lines.is_empty() {
                lines.push(Vec::new());
            }
            lines.push(MARKER.to_vec());
        }
        lines.extend(self.appended);
        let mut text = lines.join(&b'\n');
        if !text.is_empty() {
            text.push(b'\n');
        }
        text
    }
}

/// Stands above what was not in the file before.
const MARKER: &[u8] = b"# Generated by CONFIG REWRITE";

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
