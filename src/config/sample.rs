//! `conf/sluice.conf`, written from the table: the test holds the file against it, and `UPDATE=1` writes it anew.

use super::accepted;
use super::arguments::Arguments;
use super::file::load;
use super::parameter::{Flag, Parameter};
use super::parameters::{Config, PARAMETERS, SECTIONS};

const HEADER: &str = "\
# Settings of sluice-server, each with its default: this file as it stands changes nothing.
#
# One setting a line: a name and its values, in quotes where they hold white space. What is read last counts; only the
# lines of `save` add up. Sizes take a unit: 1k is 1000 bytes, 1kb is 1024 bytes, and so on with m, mb, g and gb. Options
# on the command line (--port 7000) count more than the file.
#
# Other lines that are understood:
#
#   include /etc/sluice/conf.d/*.conf    reads other files, at this place
#   rename-command CONFIG \"\"             takes a command away, or gives it another name
#   user alice on >password ~* +@all     an ACL user, where no aclfile is set
";

const ACCEPTED: &str = "Settings of Redis and Valkey that are accepted here and change nothing, each with its default. \
     A file that sets one of them to something else earns one warning at start. They can be dropped.";

#[test]
fn the_sample_file_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/sluice.conf");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, sample()).unwrap();
    }
    let file = std::fs::read_to_string(path).unwrap();
    assert_eq!(file, sample(), "UPDATE=1 writes the file anew");
}

#[test]
fn the_sample_file_names_each_parameter_once_and_changes_nothing() {
    let text = sample();
    let loaded = load(
        &Arguments {
            standard_input: true,
            ..Arguments::default()
        },
        &mut text.as_bytes(),
    )
    .unwrap();
    assert_eq!(loaded.config, Config::default());
    for (prefix, parameters) in [("", PARAMETERS), ("# ", accepted::PARAMETERS)] {
        for Parameter { name, default, .. } in parameters
            .iter()
            .filter(|parameter| !parameter.has(Flag::Hidden))
        {
            let named = text
                .lines()
                .filter(|line| line.starts_with(&format!("{prefix}{name} ")))
                .count();
            assert_eq!(named, 1, "{name}");
            assert!(
                text.contains(&format!("\n{prefix}{name} {default}\n")),
                "{name}"
            );
        }
    }
}

#[test]
fn the_example_loads() {
    let path = format!("{}/conf/replica.conf", env!("CARGO_MANIFEST_DIR"));
    let loaded = load(
        &Arguments {
            file: Some(path.into()),
            ..Arguments::default()
        },
        &mut std::io::empty(),
    )
    .unwrap();
    assert_ne!(loaded.config, Config::default());
    assert_eq!(loaded.warning(), None);
}

fn sample() -> String {
    let mut text = HEADER.to_owned();
    let mut parameters = PARAMETERS.iter();
    for (title, introduction, count) in SECTIONS {
        text += &heading(title);
        text += &comment(introduction);
        for parameter in parameters.by_ref().take(*count) {
            text += "\n";
            text += &comment(&about(parameter));
            text += &format!("{} {}\n", parameter.name, parameter.default);
        }
    }
    text += &heading("Accepted, without effect");
    text += &comment(ACCEPTED);
    text += "#\n";
    for parameter in accepted::PARAMETERS
        .iter()
        .filter(|parameter| !parameter.has(Flag::Hidden))
    {
        text += &format!("# {} {}\n", parameter.name, parameter.default);
    }
    text
}

/// The sentence, and what else one has to know to change the parameter.
fn about(parameter: &Parameter) -> String {
    let mut about = parameter.about.trim().to_owned();
    if let [first, ..] = parameter.aliases {
        about += &format!(" Also called {first}.");
    }
    if parameter.has(Flag::Immutable) {
        about += " Fixed at start.";
    }
    about
}

fn heading(title: &str) -> String {
    format!("\n{}\n# {title}\n{}\n\n", "#".repeat(60), "#".repeat(60))
}

/// Comment lines of up to 100 characters.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > 100 {
            lines += &format!("{line}\n");
            line = String::from("#");
        }
        line += " ";
        line += word;
    }
    lines + &line + "\n"
}
