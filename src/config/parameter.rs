//! One row of the table, and the macro that makes the table and the struct of typed fields from the same text.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::kinds::Kind;
use super::values::Setting;
use super::{Config, accepted, parameters};

/// What is known of one parameter.
pub struct Parameter {
    /// With dashes, in lower case.
    pub name: &'static str,
    /// Older and foreign names, valid for ever: answered by CONFIG GET under themselves.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    /// As a line of a file has it behind the name.
    pub default: &'static str,
    pub flags: &'static [Flag],
    /// What it does, in a sentence or two.
    pub about: &'static str,
    /// Where its value lives; `None` for a parameter of Redis that is accepted and changes nothing here.
    pub place: Option<Place>,
}

/// How a parameter differs from one that CONFIG SET may change at any time and CONFIG GET lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// Only a file or the command line sets it.
    Immutable,
    /// CONFIG SET also needs `enable-protected-configs`.
    Protected,
    /// Never shown in a log or an error.
    Secret,
    /// Answered by its full name only, not by a pattern.
    Hidden,
    /// Not changed while a dataset is being loaded.
    NotWhileLoading,
}

/// Reads and writes the field of a parameter that acts here.
pub struct Place {
    pub read: fn(&Config) -> Setting,
    pub write: fn(&mut Config, Setting),
}

impl Parameter {
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// Its name, then its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    pub fn default_setting(&self) -> Setting {
        self.kind.parse_default(self.default)
    }
}

/// Every parameter, those that act here first.
pub fn all() -> impl Iterator<Item = &'static Parameter> {
    parameters::PARAMETERS.iter().chain(accepted::PARAMETERS)
}

/// The parameter of that name or alias, in any case, and the name as the table spells it.
pub fn find(name: &[u8]) -> Option<(&'static Parameter, &'static str)> {
    static BY_NAME: LazyLock<HashMap<&'static str, &'static Parameter>> = LazyLock::new(|| {
        all()
            .flat_map(|parameter| parameter.names().map(move |name| (name, parameter)))
            .collect()
    });
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    BY_NAME
        .get_key_value(name.as_str())
        .map(|(name, parameter)| (*parameter, *name))
}

/// Writes `repl_timeout` as `repl-timeout`, at compile time.
pub const fn dashed<const LENGTH: usize>(name: &str) -> [u8; LENGTH] {
    let name = name.as_bytes();
    let mut text = [0; LENGTH];
    let mut at = 0;
    while at < LENGTH {
        text[at] = if name[at] == b'_' { b'-' } else { name[at] };
        at += 1;
    }
    text
}

/// Makes `Config`, with a field for each row, and `PARAMETERS`, with a row for each field.
///
/// A row is `field: Type = kind, "default";` with `also ["alias"]` and `flags [Flag]` where there are any. The
/// documentation of the field is the sentence that people read about the parameter.
macro_rules! table_of_fields {
    (
        $(#[$about_config:meta])*
        $(
            section $title:literal $introduction:literal
            $(
                $(#[doc = $about:literal])+
                $field:ident: $type:ty = $kind:expr, $default:literal
                $(, also [$($alias:literal),+])? $(, flags [$($flag:ident),+])?;
            )+
        )+
    ) => {
        $(#[$about_config])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($( $(#[doc = $about])+ pub $field: $type, )+)+
            /// Values that differ from the default, of parameters that are accepted and change nothing.
            pub(super) accepted: std::collections::BTreeMap<&'static str, $crate::config::values::Setting>,
        }

        impl Default for Config {
            /// Every parameter at the default of its row.
            fn default() -> Self {
                Config {
                    $($($field: $crate::config::values::Field::from_setting(($kind).parse_default($default)),)+)+
                    accepted: std::collections::BTreeMap::new(),
                }
            }
        }

        /// The parameters that act here, in the order of their sections.
        pub static PARAMETERS: &[$crate::config::parameter::Parameter] = &[$($(
            $crate::config::parameter::Parameter {
                name: {
                    const NAME: [u8; stringify!($field).len()] = $crate::config::parameter::dashed(stringify!($field));
                    match std::str::from_utf8(&NAME) {
                        Ok(name) => name,
                        Err(_) => panic!("names of fields are ASCII"),
                    }
                },
                aliases: &[$($($alias),+)?],
                kind: $kind,
                default: $default,
                flags: &[$($($crate::config::parameter::Flag::$flag),+)?],
                about: concat!($($about),+),
                place: Some($crate::config::parameter::Place {
                    read: |config| $crate::config::values::Field::to_setting(&config.$field),
                    write: |config, setting| config.$field = $crate::config::values::Field::from_setting(setting),
                }),
            },
        )+)+];

        /// Title, introduction and number of rows of each section, in order.
        pub static SECTIONS: &[(&str, &str, usize)] = &[
            $(($title, $introduction, [$(stringify!($field)),+].len())),+
        ];
    };
}

pub(super) use table_of_fields;
