//! The table of settings: what can be set, what values are right, what it is when nobody says anything.
//!
//! **Invariant:** what is in the table is a field of [`Settings`] and the other way round, so no key can be set that nobody reads.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

/// One thing that can be set.
#[derive(Debug)]
pub struct Setting {
    /// Its section.
    pub section: &'static str,
    /// Its name in the section.
    pub key: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Its value when nobody says anything.
    pub default: &'static str,
    /// What values are right.
    pub right: Right,
    /// The flag of `switchback serve` that says the same; empty for none.
    pub flag: &'static str,
}

/// What values are right.
#[derive(Clone, Copy, Debug)]
pub enum Right {
    /// An address with its port.
    Address,
    /// The same, or `off`.
    AddressOrOff,
    /// Public keys of NATS' users, each with an account.
    Keys,
    /// `true` or `false`.
    Flag,
    /// A whole number in a closed range.
    Number(u64, u64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A file or directory.
    Path,
    /// The same, or nothing.
    PathOrNone,
    /// The name of a network namespace, or nothing.
    NameOrNone,
    /// Which lines the program's log has.
    Filter,
    /// Addresses of NATS servers, or nothing.
    NatsServers,
    /// Whether a NATS server keeps the events, and in which stream.
    Stream,
}

/// The most bytes of a path.
const PATH_MAX: usize = 1024;
/// The most bytes of a name.
const NAME_MAX: usize = 64;
/// The most bytes of a filter.
const FILTER_MAX: usize = 512;

impl Right {
    /// Whether this value is.
    pub fn accepts(&self, text: &str) -> bool {
        let path = text.len() <= PATH_MAX && !text.chars().any(char::is_control);
        match self {
            Right::Address => text.parse::<SocketAddr>().is_ok(),
            Right::AddressOrOff => Place::of(text).is_some(),
            Right::Keys => Keys::of(text).is_some(),
            Right::Flag => matches!(text, "true" | "false"),
            Right::Number(min, max) => {
                text.bytes().all(|c| c.is_ascii_digit()) && text.parse().is_ok_and(|n: u64| (*min..=*max).contains(&n))
            }
            Right::Words(words) => words.contains(&text),
            Right::Path => !text.is_empty() && path,
            Right::PathOrNone => path,
            Right::NameOrNone => {
                let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
                text.len() <= NAME_MAX && text.bytes().all(known) && !matches!(text, "." | "..")
            }
            Right::NatsServers => text.is_empty() || (text.len() <= PATH_MAX && text.split(',').all(is_nats_server)),
            Right::Stream => {
                let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
                (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(known)
            }
            Right::Filter => text.len() <= FILTER_MAX && tracing_subscriber::EnvFilter::try_new(text).is_ok(),
        }
    }

    /// In words: what would be right.
    pub fn words(&self) -> String {
        match self {
            Right::Address => "an address and port such as \"127.0.0.1:8080\" or \"[::1]:8080\"".to_string(),
            Right::AddressOrOff => "an address and port such as \"127.0.0.1:4222\", or \"off\"".to_string(),
            Right::Keys => {
                "pairs of a user's public key and an account (letters, digits, dots, dashes and underscores) such as \
                            \"UDXU…=admin\", with commas between them; \"\" for none"
                    .to_string()
            }
            Right::Flag => "true or false".to_string(),
            Right::Number(min, max) => format!("a whole number from {min} to {max}"),
            Right::Words(words) => {
                format!("one of {}", words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "))
            }
            Right::Path => format!("a path of 1 to {PATH_MAX} bytes without control characters"),
            Right::PathOrNone => {
                format!("a path of at most {PATH_MAX} bytes without control characters; \"\" for none")
            }
            Right::NameOrNone => {
                format!("at most {NAME_MAX} letters, digits, dots, dashes and underscores; \"\" for none")
            }
            Right::NatsServers => {
                "addresses such as \"nats://127.0.0.1:4222\" or \"tls://nats.example.com:4222\" of one server \
                or cluster, with commas between them; \"\" for none. What to log in with goes into bus.nats_credentials"
                    .to_string()
            }
            Right::Stream => format!(
                "\"off\", \"auto\", or the name of a stream: 1 to {NAME_MAX} letters, digits, dashes and underscores"
            ),
            Right::Filter => {
                "levels (error, warn, info, debug, trace), for parts too, such as \"info,sled=warn\"".to_string()
            }
        }
    }

    /// A right value as it is written in a file.
    pub fn toml(&self, value: &str) -> String {
        match self {
            Right::Flag | Right::Number(..) => value.to_string(),
            // JSON's escapes are TOML's, too.
            _ => serde_json::Value::from(value).to_string(),
        }
    }
}

/// The scheme, host and port of a NATS server's address.
pub(super) fn nats_server(text: &str) -> Option<(&str, &str, u16)> {
    let (scheme, rest) = text.split_once("://")?;
    let (host, port) = rest.rsplit_once(':')?;
    let port = port.bytes().all(|c| c.is_ascii_digit()).then(|| port.parse().ok())?.filter(|port| *port > 0)?;
    Some((scheme, host, port))
}

fn is_nats_server(text: &str) -> bool {
    let Some((scheme, host, _)) = nats_server(text) else { return false };
    let name = |host: &str| {
        let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-');
        !host.is_empty() && !host.starts_with(['-', '.']) && host.bytes().all(known)
    };
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    matches!(scheme, "nats" | "tls") && v6.map_or_else(|| name(host), |v6| v6.parse::<std::net::Ipv6Addr>().is_ok())
}

impl Setting {
    /// Section and key.
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// The variable of the environment that says the same.
    pub fn variable(&self) -> String {
        format!("{}{}__{}", super::VARIABLE, self.section.to_uppercase(), self.key.to_uppercase())
    }
}

/// The setting of this name.
pub fn setting(section: &str, key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| (setting.section, setting.key) == (section, key))
}

/// Types that a setting may have.
trait Typed: Sized {
    fn of(text: &str) -> Option<Self>;
}

macro_rules! parsed {
    ($($type:ty),*) => {$(impl Typed for $type {
        fn of(text: &str) -> Option<$type> {
            text.parse().ok()
        }
    })*};
}

/// Where something listens, if it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// It does not.
    Off,
    /// At this address and port.
    At(SocketAddr),
}

impl Typed for Place {
    fn of(text: &str) -> Option<Place> {
        if text == "off" { Some(Place::Off) } else { text.parse().ok().map(Place::At) }
    }
}

/// By a public key of NATS the name of the account that its holder comes in as.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Keys(pub BTreeMap<String, String>);

impl Typed for Keys {
    fn of(text: &str) -> Option<Keys> {
        let mut keys = BTreeMap::new();
        for pair in text.split(',').filter(|_| !text.is_empty()) {
            let (key, account) = pair.trim().split_once('=')?;
            let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
            let right = !account.is_empty() && account.len() <= 255 && account.bytes().all(known);
            if !right || !switchback_nats::is_user_key(key) || keys.contains_key(key) {
                return None;
            }
            keys.insert(key.to_string(), account.to_string());
        }
        Some(Keys(keys))
    }
}

parsed!(SocketAddr, bool, u64, usize, u32, String, PathBuf);

impl<T: Typed> Typed for Option<T> {
    fn of(text: &str) -> Option<Option<T>> {
        if text.is_empty() { Some(None) } else { T::of(text).map(Some) }
    }
}

/// Defines the sections: a struct for each with its settings, and the table.
macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident $section:ident {
        $($(#[doc = $key_doc:literal])+ $key:ident: $type:ty = $default:literal, $right:expr $(, $flag:literal)?;)*
    })*) => {
        $($(#[doc = $doc])+
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct $name {
            $($(#[doc = $key_doc])+ pub $key: $type,)*
        })*

        /// All settings.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $section: $name,)*
        }

        impl Settings {
            /// From texts that are right.
            pub(super) fn of<'a>(value: &dyn Fn(&str, &str) -> &'a str) -> Result<Settings, &'static str> {
                Ok(Settings {
                    $($section: $name {
                        $($key: Typed::of(value(stringify!($section), stringify!($key)))
                            .ok_or(concat!(stringify!($section), ".", stringify!($key)))?,)*
                    },)*
                })
            }
        }

        /// The sections, each with what it is about.
        pub const SECTIONS: &[(&str, &str)] = &[$((stringify!($section), settings!(@lines $($doc)+)),)*];

        /// Everything that can be set.
        pub const SETTINGS: &[Setting] = &[$($(Setting {
            section: stringify!($section),
            key: stringify!($key),
            doc: settings!(@lines $($key_doc)+),
            default: $default,
            right: $right,
            flag: settings!(@flag $($flag)?),
        },)*)*];
    };
    (@flag) => { "" };
    (@flag $flag:literal) => { $flag };
    (@lines $first:literal $($more:literal)*) => { concat!($first $(, "\n", $more)*) };
}

settings! {
    /// Where the HTTP interface listens.
    Listen listen {
        /// Address and port; port 0 for any free one.
        address: SocketAddr = "127.0.0.1:8080", Right::Address, "--listen";
        /// Take plain HTTP from other machines, too: passwords and tokens go over the network in clear then.
        insecure: bool = "false", Right::Flag;
        /// Threads that serve requests.
        workers: usize = "2", Right::Number(1, 256);
    }
    /// Encryption of the HTTP interface. The files are read again on SIGHUP and when they have changed.
    Tls tls {
        /// The certificate and those between it and its authority, as PEM; none for plain HTTP.
        certificate: Option<PathBuf> = "", Right::PathOrNone;
        /// Its private key, as PEM.
        key: Option<PathBuf> = "", Right::PathOrNone;
    }
    /// What is kept.
    Data data {
        /// The directory of the log, the inventories, keys and tokens; made if it is not there.
        directory: PathBuf = "switchback-data", Right::Path, "--data";
    }
    /// The agents of hosts and routers.
    Agents agents {
        /// Simulate all hosts and appliances in this process: no root needed.
        simulate: bool = "false", Right::Flag, "--simulate";
        /// The network namespace that connections to agents start from; none for the server's own.
        netns: Option<String> = "", Right::NameOrNone, "--agent-netns";
    }
    /// The message bus: for clients of NATS, with the certificate of the HTTP interface, and through a NATS server.
    Bus bus {
        /// Address and port, port 0 for any free one; `off` for none. When the default one is taken, the server does without.
        address: Place = "127.0.0.1:4222", Right::AddressOrOff, "--bus";
        /// Whose holder comes in as which account, without a token or password.
        nkeys: Keys = "", Right::Keys;
        /// Threads that serve its clients.
        workers: usize = "2", Right::Number(1, 256);
        /// Connections at a time; more are refused.
        connections: usize = "10000", Right::Number(1, 1000000);
        /// Subscriptions of one connection; more are refused.
        subscriptions: usize = "1000", Right::Number(1, 1000000);
        /// The most bytes of a line of the protocol.
        line_bytes: usize = "4096", Right::Number(512, 1048576);
        /// Bytes that wait for one client; one that reads so slowly that it would be more is cut off.
        pending_bytes: usize = "8388608", Right::Number(65536, 1073741824);
        /// Bytes that wait for all clients together; while it is more, one for which more than 64 KiB wait is cut off.
        pending_bytes_of_all: usize = "268435456", Right::Number(1048576, 1099511627776);
        /// Requests of one connection that are answered at a time; more are answered 429.
        requests: usize = "256", Right::Number(1, 1000000);
        /// Seconds for a client to say who it is.
        connect_seconds: u64 = "10", Right::Number(1, 3600);
        /// Seconds between questions whether a client is there; after the third without an answer it is cut off.
        ping_seconds: u64 = "120", Right::Number(1, 86400);
        /// Take commands and reads from this server, and publish the events there.
        nats: Option<String> = "", Right::NatsServers, "--nats";
        /// What to log in to it with, in a file that nobody else may read: NATS' .creds, an nkey's seed, or lines with
        /// token = …, or user = … and password = ….
        nats_credentials: Option<PathBuf> = "", Right::PathOrNone;
        /// The authorities of the server's certificate, as PEM; with it, the connection is encrypted.
        nats_authority: Option<PathBuf> = "", Right::PathOrNone;
        /// Go to a server on another machine without encryption, too: tokens go over the network in clear then.
        nats_insecure: bool = "false", Right::Flag;
        /// Whether the server keeps the events in a JetStream: "auto" in the stream SWITCHBACK where it can.
        jetstream: String = "auto", Right::Stream;
        /// The most bytes that a stream keeps which we make; 0 for no bound.
        jetstream_bytes: u64 = "0", Right::Number(0, 1 << 50);
        /// Days that such a stream keeps an event; 0 for ever.
        jetstream_days: u64 = "0", Right::Number(0, 36500);
        /// Servers that such a stream is kept on.
        jetstream_replicas: usize = "1", Right::Number(1, 5);
    }
    /// What one client may cost.
    Limits limits {
        /// The most bytes of a request's body; more is answered 413.
        body_bytes: usize = "1048576", Right::Number(1024, 67108864);
        /// Seconds for a client to send the head of its request.
        head_seconds: u64 = "10", Right::Number(1, 3600);
        /// Seconds for a client to send the body of its request; more is answered 408.
        body_seconds: u64 = "30", Right::Number(1, 3600);
        /// Seconds until an answer begins; later it is 504. What reads the whole log may take longer.
        answer_seconds: u64 = "120", Right::Number(1, 86400);
        /// Requests that are answered at a time; more are answered 503.
        requests: usize = "1000", Right::Number(1, 1000000);
        /// Requests a second of one account; more are answered 429. 0 for no bound.
        account_per_second: u32 = "10000", Right::Number(0, 1000000);
        /// Requests of one account at once, after a pause.
        account_burst: u32 = "20000", Right::Number(1, 1000000);
        /// Requests a second of one address that has not logged in; more are answered 429. 0 for no bound.
        address_per_second: u32 = "100", Right::Number(0, 1000000);
        /// Requests of one such address at once, after a pause.
        address_burst: u32 = "400", Right::Number(1, 1000000);
        /// Connections at a time; more wait until others end.
        connections: usize = "10000", Right::Number(1, 1000000);
        /// Seconds for requests in flight when the server is told to stop.
        stop_seconds: u64 = "10", Right::Number(0, 3600);
    }
    /// What is measured, at `/metrics`.
    Metrics metrics {
        /// Show it without a token, too.
        open: bool = "false", Right::Flag;
    }
    /// The program's own log, on stderr.
    Log log {
        /// For people, or JSON lines.
        format: String = "text", Right::Words(&["text", "json"]), "--log-json";
        /// Which lines.
        filter: String = "info,sled=warn,actix_server=warn", Right::Filter;
    }
}
