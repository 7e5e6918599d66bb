//! The server's configuration: one table of settings, and what a file, the environment and flags say to them.
//!
//! ```text
//!  default ◄── file (--config) ◄── SWITCHBACK_DATA, SWITCHBACK_LOG ◄── SWITCHBACK__SECTION__KEY ◄── flags
//! ```
//! What stands further right wins. **Invariant:** a server starts only when all of it is right; what is wrong is named with its
//! place, its key, its value and what would be right, all of it at once. Not here: what changes while the system runs, which is
//! `UpdateGlobalConfig` and in the log.

mod file;
mod setting;

pub use setting::*;

use std::{
    fmt::{self, Write},
    net::{IpAddr, SocketAddr},
    path::Path,
};
use switchback_bus::nearest;

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// A line of the file.
    File(String, usize),
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => write!(f, "default"),
            Source::File(file, line) => write!(f, "{file}:{line}"),
            Source::Variable(name) => write!(f, "{name}"),
            Source::Flag(name) => write!(f, "{name}"),
        }
    }
}

/// What is wrong, and what would be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Where it stands.
    pub source: Source,
    /// What is wrong with which key, and what would be right.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.what)
    }
}

/// All values as text, each with where it comes from, in the order of [`SETTINGS`].
#[derive(Clone, Debug)]
pub struct Configuration {
    values: Vec<(String, Source)>,
}

/// What the command line says: section, key, value and the flag.
pub type Flags = Vec<(&'static str, &'static str, String, &'static str)>;

/// The names that the environment had before all settings had one.
const ALIASES: [(&str, &str, &str); 2] =
    [("SWITCHBACK_DATA", "data", "directory"), ("SWITCHBACK_LOG", "log", "filter")];
/// How the variable of a setting begins.
const VARIABLE: &str = "SWITCHBACK__";

impl Configuration {
    /// Reads everything.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn load(
        file: Option<&Path>,
        variables: &[(String, String)],
        flags: &Flags,
    ) -> Result<Configuration, Vec<Fault>> {
        let default = |setting: &Setting| (setting.default.to_string(), Source::Default);
        let mut configuration = Configuration { values: SETTINGS.iter().map(default).collect() };
        let mut faults = vec![];
        if let Some(file) = file {
            file::read(file, &mut configuration, &mut faults);
        }
        for (name, section, key) in ALIASES {
            let given = variables.iter().find(|(variable, value)| variable == name && !value.is_empty());
            if let Some((_, value)) = given {
                configuration.set(section, key, value, Source::Variable(name.to_string()), &mut faults);
            }
        }
        for (name, value) in variables {
            let Some(path) = name.strip_prefix(VARIABLE) else { continue };
            let (section, key) = path.split_once("__").unwrap_or((path, ""));
            let source = Source::Variable(name.clone());
            // A variable of the environment is written in capitals, and nothing else is one.
            match name.bytes().any(|c| c.is_ascii_lowercase()) {
                true => faults.push(unknown(source, name, SETTINGS.iter().map(Setting::variable))),
                false => {
                    let (section, key) = (section.to_lowercase(), key.to_lowercase());
                    if setting(&section, &key).is_some() {
                        configuration.set(&section, &key, value, source, &mut faults);
                    } else {
                        faults.push(unknown(source, name, SETTINGS.iter().map(Setting::variable)));
                    }
                }
            }
        }
        for (section, key, value, flag) in flags {
            configuration.set(section, key, value, Source::Flag(flag), &mut faults);
        }
        if faults.is_empty() {
            configuration.together(&mut faults);
        }
        if faults.is_empty() { Ok(configuration) } else { Err(faults) }
    }

    /// The values with their types.
    ///
    /// # Errors
    /// None after [`Configuration::load`], which has looked at each value.
    pub fn settings(&self) -> Result<Settings, Vec<Fault>> {
        Settings::of(&|section, key| self.value(section, key).0.as_str()).map_err(|name| {
            let what = format!("{name}: the value is of another type");
            vec![Fault { source: Source::Default, what }]
        })
    }

    /// Every setting with its value and where that comes from.
    pub fn rows(&self) -> impl Iterator<Item = (&'static Setting, &str, &Source)> {
        SETTINGS.iter().zip(&self.values).map(|(setting, (value, source))| (setting, value.as_str(), source))
    }

    fn value(&self, section: &str, key: &str) -> (&String, &Source) {
        static NOTHING: (String, Source) = (String::new(), Source::Default);
        let at = SETTINGS.iter().position(|setting| (setting.section, setting.key) == (section, key));
        let (value, source) = at.and_then(|at| self.values.get(at)).unwrap_or(&NOTHING);
        (value, source)
    }

    fn set(&mut self, section: &str, key: &str, value: &str, source: Source, faults: &mut Vec<Fault>) {
        let at = SETTINGS.iter().position(|setting| (setting.section, setting.key) == (section, key));
        let Some((at, setting)) = at.and_then(|at| Some((at, SETTINGS.get(at)?))) else { return };
        if !setting.right.accepts(value) {
            let shown: String = value.chars().take(120).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            let what = format!("{} = `{shown}`: {}", setting.name(), setting.right.words());
            return faults.push(Fault { source, what });
        }
        if let Some(held) = self.values.get_mut(at) {
            *held = (value.to_string(), source);
        }
    }

    /// What must hold of several settings at once.
    fn together(&self, faults: &mut Vec<Fault>) {
        let said = |section: &str, key: &str| !self.value(section, key).0.is_empty();
        for (key, other) in [("certificate", "key"), ("key", "certificate")] {
            if said("tls", key) && !said("tls", other) {
                let (value, source) = self.value("tls", key);
                let what = format!("tls.{key} = `{value}`: give tls.{other}, too, or neither");
                faults.push(Fault { source: source.clone(), what });
            }
        }
        for section in ["listen", "bus"] {
            let (address, source) = self.value(section, "address");
            let elsewhere = address.parse::<SocketAddr>().is_ok_and(|address| !address.ip().is_loopback());
            if elsewhere && !said("tls", "certificate") && self.value("listen", "insecure").0 != "true" {
                let what = format!(
                    "{section}.address = `{address}`: passwords and tokens would go over the network in clear; give tls.certificate \
                     and tls.key, or listen on 127.0.0.1 behind something that encrypts, or say listen.insecure = true"
                );
                faults.push(Fault { source: source.clone(), what });
            }
        }
        let (servers, source) = self.value("bus", "nats");
        let encrypted = said("bus", "nats_authority") || self.value("bus", "nats_insecure").0 == "true";
        let here = |host: &str| {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        };
        let in_clear = |server: &&str| {
            setting::nats_server(server).is_some_and(|(scheme, host, _)| scheme == "nats" && !here(host))
        };
        if let Some(server) = servers.split(',').find(in_clear).filter(|_| !encrypted) {
            let what = format!(
                "bus.nats = `{server}`: tokens would go over the network in clear; say tls:// or give bus.nats_authority, or say \
                 bus.nats_insecure = true"
            );
            faults.push(Fault { source: source.clone(), what });
        }
    }
}

/// What nobody knows, with the nearest of what is there.
fn unknown(source: Source, name: &str, known: impl Iterator<Item = String>) -> Fault {
    let known: Vec<String> = known.collect();
    let shown: String = name.chars().take(120).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let mut what = format!("there is no `{shown}`");
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => what.push_str(&format!("; did you mean {near}?")),
        None => what.push_str(&format!("; there are {}", known.join(", "))),
    }
    Fault { source, what }
}

/// A file with all defaults, each with what it means.
pub fn sample() -> String {
    let mut text =
        String::from("# The configuration of `switchback serve`. Every line that is commented out says the default.\n");
    for (section, words) in SECTIONS {
        text.push('\n');
        for line in words.split('\n') {
            let _ = writeln!(text, "# {}", line.trim());
        }
        let _ = writeln!(text, "[{section}]");
        for setting in SETTINGS.iter().filter(|setting| setting.section == *section) {
            for line in setting.doc.split('\n') {
                let _ = writeln!(text, "# {}", line.trim());
            }
            let _ = writeln!(text, "# {}", setting.right.words());
            let _ = writeln!(text, "#{} = {}", setting.key, setting.right.toml(setting.default));
        }
    }
    text
}

#[cfg(test)]
mod tests;
