//! How a message is described: the catalogue is made of these, and everything that the outside sees of a
//! message (routes, CLI verbs, subjects, OpenAPI, completion) is made from the catalogue.

use crate::{PASSWORD_WORDS, PEM_MAX, Refusal, STATEMENTS, VM_PASSWORD_MAX, accept_statements};
use serde_json::{Map, Value};
use std::net::{IpAddr, Ipv4Addr};
use switchback_events::{AddressMode, Id, NetworkServiceType};

/// Whether a message changes something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// Changes something.
    Command,
    /// Answers inventories of one kind under conditions.
    Query,
    /// Answers anything else.
    Read,
}

/// Who may send a message. What the message names must be seen by the sender besides, and what it changes be its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Also who has not logged in: the message itself carries what shows the right to it.
    Anyone,
    /// Every account.
    Account,
    /// Accounts of type SystemAdmin.
    Administrator,
    /// The system itself.
    System,
}

impl Access {
    /// In words, for the catalogue's page.
    pub fn words(self) -> &'static str {
        match self {
            Access::Anyone => "anyone",
            Access::Account => "any account",
            Access::Administrator => "administrators",
            Access::System => "the system",
        }
    }
}

/// One message of the catalogue.
#[derive(Debug)]
pub struct Message {
    /// The reference's name: `CreateL3Network`.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Command, query or read.
    pub kind: MessageKind,
    /// ZStack's REST method; empty where there is none.
    pub method: &'static str,
    /// ZStack's REST route below `/zstack/v1`.
    pub path: &'static str,
    /// Typed parameters.
    pub parameters: &'static [Parameter],
    /// The kind of inventory in the reply, as projections name it; empty for none.
    pub inventory: &'static str,
    /// Only the system itself may send it.
    pub internal: bool,
    /// Who may send it.
    pub access: Access,
}

/// One parameter.
#[derive(Debug)]
pub struct Parameter {
    /// The field's name in Rust, or its own for the outside; [`Parameter::api_name`] is what the outside sees.
    pub field: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// It must be given.
    pub required: bool,
    /// What values are right.
    pub check: Check,
    /// For a uuid: the kinds of inventory that it may be of, as projections name them; none where that is not known.
    pub of: &'static [&'static str],
}

/// What values of a parameter are right.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// Text of 1 to so many bytes without control characters.
    Text(usize),
    /// Text that may be empty.
    FreeText(usize),
    /// A whole number in a closed range.
    Int(i64, i64),
    /// One of these words.
    Enum(&'static [&'static str]),
    /// 32 lower-case hexadecimal digits.
    Uuid,
    /// `true` or `false`.
    Bool,
    /// An IPv4 address.
    Ipv4,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A SHA-512 of a password in lower-case hexadecimal; its value is never shown.
    Password,
    /// The uuid of a session, which is its secret; its value is never shown.
    Session,
    /// So many ASCII letters and digits.
    Key(usize),
    /// The secret of an access key; its value is never shown.
    KeySecret,
    /// A certificate with its key in PEM; its value is never shown.
    Pem,
    /// The password of somebody in a VM, as it is; its value is never shown.
    VmPassword,
    /// A list of values that are right by another check.
    List(&'static Check),
    /// A list of objects with these fields.
    Objects(&'static [Parameter]),
    /// From a provider's uuid or type to a list of service types.
    Services,
    /// A list of statements about messages.
    Statements,
    /// Text that the decision itself checks: it has the more useful message.
    Any,
}

/// Types that a parameter's field may have.
pub trait ParameterType {
    /// Whether a value must be given.
    const REQUIRED: bool;
    /// Of what kinds of inventory it is a uuid.
    const OF: &'static [&'static str] = &[];
}

impl<T: ParameterType> ParameterType for Option<T> {
    const REQUIRED: bool = false;
    const OF: &'static [&'static str] = T::OF;
}

macro_rules! uuids {
    ($($type:ident = $kinds:expr),* $(,)?) => {$(impl ParameterType for switchback_events::$type {
        const REQUIRED: bool = true;
        const OF: &'static [&'static str] = &$kinds;
    })*};
}

uuids! {
    ZoneId = ["zone"],
    ClusterId = ["cluster"],
    HostId = ["host"],
    ImageId = ["image"],
    L2NetworkId = ["l2"],
    L3NetworkId = ["l3"],
    IpRangeId = ["ipRange"],
    OfferingId = ["instanceOffering"],
    NicId = ["nic"],
    VmInstanceId = ["vm"],
    RouterId = ["virtualRouter"],
    LoadBalancerId = ["loadBalancer"],
    LoadBalancerListenerId = ["loadBalancerListener"],
    ServerGroupId = ["loadBalancerServerGroup"],
    CertificateId = ["certificate"],
    AccessControlListId = ["accessControlList"],
    AccessControlEntryId = [],
    VipId = ["vip"],
    EipId = ["eip"],
    PortForwardingRuleId = ["portForwarding"],
    TagId = ["tag"],
    NetworkServiceProviderId = ["networkServiceProvider"],
    AccountId = ["account"],
    AccessKeyId = ["accessKey"],
    ApiTokenId = ["apiToken"],
    PolicyId = ["policy"],
    RoleId = ["role"],
    SecurityGroupId = ["securityGroup"],
    SecurityGroupRuleId = ["securityGroupRule"],
}

macro_rules! required {
    ($($type:ty),*) => {$(impl ParameterType for $type { const REQUIRED: bool = true; })*};
}

required!(
    String,
    bool,
    u8,
    u16,
    u32,
    u64,
    i64,
    AddressMode,
    IpAddr,
    Ipv4Addr,
    Id,
    Value,
    Map<String, Value>,
    switchback_events::Deviation,
    switchback_events::PolicyStatement,
    switchback_events::SealedSecret,
    crate::Secret,
    std::collections::BTreeMap<String, String>,
    std::collections::BTreeMap<String, Vec<String>>
);

impl<T: ParameterType> ParameterType for Vec<T> {
    const REQUIRED: bool = true;
    const OF: &'static [&'static str] = T::OF;
}

impl Parameter {
    /// The name that the outside sees: `l2NetworkUuid`.
    pub fn api_name(&self) -> String {
        camel(self.field)
    }
}

/// `l2_network_uuid` → `l2NetworkUuid`.
pub fn camel(field: &str) -> String {
    let mut name = String::with_capacity(field.len());
    let mut upper = false;
    for c in field.trim_start_matches("r#").chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                name.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => name.push(c),
        }
    }
    name
}

impl Check {
    /// Whether values are secrets.
    pub fn is_secret(&self) -> bool {
        matches!(self, Check::Password | Check::Session | Check::KeySecret | Check::Pem | Check::VmPassword)
    }

    /// In words: what would be right.
    pub fn right(&self) -> String {
        match self {
            Check::Text(max) => format!("text of 1 to {max} bytes without control characters"),
            Check::FreeText(max) => format!("text of at most {max} bytes without control characters"),
            Check::Int(min, max) => format!("a whole number from {min} to {max}"),
            Check::Enum(words) => format!("one of {}", words.join(", ")),
            Check::Uuid => "a uuid of 32 lower-case hexadecimal digits".to_string(),
            Check::Bool => "true or false".to_string(),
            Check::Ipv4 => "an IPv4 address such as 10.0.0.1".to_string(),
            Check::Ip => "an IP address such as 10.0.0.1".to_string(),
            Check::Password => "the SHA-512 of the password as 128 lower-case hexadecimal digits".to_string(),
            Check::Session => "the uuid of a session, 32 lower-case hexadecimal digits".to_string(),
            Check::Key(length) => format!("{length} ASCII letters and digits"),
            Check::KeySecret => format!("{KEY_SECRET} ASCII letters and digits"),
            Check::Pem => format!("a certificate and its private key in PEM, of at most {PEM_MAX} bytes"),
            Check::VmPassword => format!(
                "1 to {VM_PASSWORD_MAX} visible ASCII characters without spaces, and not a word of the protocol ({})",
                PASSWORD_WORDS.join(", ")
            ),
            Check::List(of) => format!("a list, each of it {}", of.right()),
            Check::Objects(fields) => {
                let names: Vec<String> = fields.iter().map(Parameter::api_name).collect();
                format!("a list of objects with {}", names.join(", "))
            }
            Check::Services => {
                "an object from a provider's uuid or type to a list of service types, such as {\"VirtualRouter\": [\"DHCP\", \"DNS\"]}".to_string()
            }
            Check::Statements => format!(
                "a list of 1 to {STATEMENTS} statements, such as [{{\"effect\": \"Allow\", \"actions\": [\"read\", \"Create*\"]}}]"
            ),
            Check::Any => "text".to_string(),
        }
    }

    /// A value that is right, in which every uuid is `uuid`: what tests of the whole catalogue send.
    pub fn example(&self, uuid: &str) -> Value {
        match self {
            Check::Text(_) | Check::FreeText(_) | Check::Any => Value::from("x"),
            Check::Int(min, max) => Value::from((*min).max(1).min(*max)),
            Check::Enum(words) => Value::from(words.first().copied().unwrap_or_default()),
            Check::Uuid => Value::from(uuid),
            Check::Password => Value::from("0".repeat(128)),
            Check::Session => Value::from("0".repeat(32)),
            Check::Key(length) => Value::from("0".repeat(*length)),
            Check::KeySecret => Value::from("0".repeat(KEY_SECRET)),
            Check::Pem => Value::from("-----BEGIN CERTIFICATE-----"),
            Check::VmPassword => Value::from("sesame"),
            Check::Bool => Value::from(true),
            Check::Ipv4 | Check::Ip => Value::from("10.0.0.1"),
            Check::List(of) => Value::from(vec![of.example(uuid)]),
            Check::Objects(fields) => {
                let required = fields.iter().filter(|field| field.required);
                let object = required.map(|field| (field.api_name(), field.check.example(uuid)));
                Value::Array(vec![Value::Object(object.collect())])
            }
            Check::Services => serde_json::json!({"VirtualRouter": ["DHCP"]}),
            Check::Statements => serde_json::json!([{"effect": "Allow", "actions": ["read"]}]),
        }
    }

    /// Refuses a value that is not right.
    ///
    /// # Errors
    /// SYS.1007 that names `field`, the value, and what would be right.
    pub fn accept(&self, field: &str, value: &Value) -> Result<(), Refusal> {
        let ok = match (self, value) {
            (Check::Text(max), Value::String(text)) => {
                !text.trim().is_empty() && text.len() <= *max && !text.chars().any(char::is_control)
            }
            (Check::FreeText(max), Value::String(text)) => {
                text.len() <= *max && !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t')
            }
            (Check::Int(min, max), Value::Number(number)) => {
                number.as_i64().is_some_and(|n| (*min..=*max).contains(&n))
            }
            (Check::Enum(words), Value::String(text)) => words.contains(&text.as_str()),
            (Check::Uuid, Value::String(text)) => text.parse::<Id>().is_ok(),
            (Check::Bool, Value::Bool(_)) => true,
            (Check::Ipv4, Value::String(text)) => text.parse::<Ipv4Addr>().is_ok(),
            (Check::Ip, Value::String(text)) => text.parse::<IpAddr>().is_ok(),
            (Check::Password, Value::String(text)) => {
                text.len() == 128 && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
            }
            (Check::Session, Value::String(text)) => text.parse::<Id>().is_ok(),
            (Check::Key(length), Value::String(text)) => is_key(text, *length),
            (Check::KeySecret, Value::String(text)) => is_key(text, KEY_SECRET),
            (Check::Pem, Value::String(text)) => !text.is_empty() && text.len() <= PEM_MAX,
            (Check::VmPassword, Value::String(text)) => {
                (1..=VM_PASSWORD_MAX).contains(&text.len())
                    && text.bytes().all(|c| c.is_ascii_graphic())
                    && !PASSWORD_WORDS.contains(&text.as_str())
            }
            (Check::List(of), Value::Array(items)) => {
                if items.len() > MAX_LIST {
                    return Err(Refusal::argument(
                        field,
                        format!("{} items", items.len()),
                        format!("at most {MAX_LIST}"),
                    ));
                }
                return items.iter().enumerate().try_for_each(|(at, item)| of.accept(&format!("{field}[{at}]"), item));
            }
            (Check::Objects(fields), Value::Array(items)) => return accept_objects(field, fields, items),
            (Check::Services, Value::Object(map)) => {
                for (provider, services) in map {
                    let field = format!("{field}.{provider}");
                    let Value::Array(services) = services else {
                        return Err(Refusal::argument(&field, services, "a list of service types"));
                    };
                    for service in services {
                        if service.as_str().is_none_or(|text| text.parse::<NetworkServiceType>().is_err()) {
                            let all = NetworkServiceType::ALL.iter().map(ToString::to_string).collect::<Vec<_>>();
                            return Err(Refusal::argument(&field, service, format!("one of {}", all.join(", "))));
                        }
                    }
                }
                true
            }
            (Check::Statements, value) => return accept_statements(field, value),
            (Check::Any, Value::String(_)) => true,
            _ => false,
        };
        if ok {
            return Ok(());
        }
        let shown = match value {
            _ if self.is_secret() => "(secret)".to_string(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Err(Refusal::argument(field, shown, self.right()))
    }

    /// Reads a value from the text of a command line or of a URL: `a,b` is a list, `{` and `[` begin JSON.
    pub fn read(&self, text: &str) -> Value {
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| Value::String(text.to_string()));
        match self {
            Check::Int(..) => text.parse::<i64>().map_or_else(|_| Value::String(text.to_string()), Value::from),
            Check::Bool => match text {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                other => Value::String(other.to_string()),
            },
            Check::List(_) if text.starts_with('[') => json(text),
            Check::List(of) => Value::Array(text.split(',').map(|part| of.read(part)).collect()),
            Check::Services | Check::Statements | Check::Objects(_) => json(text),
            Check::Any if text.starts_with(['{', '[']) => json(text),
            _ => Value::String(text.to_string()),
        }
    }
}

/// Refuses objects with fields that are unknown, missing or not right.
fn accept_objects(field: &str, fields: &[Parameter], items: &[Value]) -> Result<(), Refusal> {
    if items.len() > MAX_OBJECTS {
        return Err(Refusal::argument(field, format!("{} items", items.len()), format!("at most {MAX_OBJECTS}")));
    }
    for (at, item) in items.iter().enumerate() {
        let field = format!("{field}[{at}]");
        let Value::Object(map) = item else { return Err(Refusal::argument(&field, item, "an object")) };
        for (name, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            match fields.iter().find(|known| known.api_name() == *name) {
                Some(known) => known.check.accept(&format!("{field}.{name}"), value)?,
                None => {
                    let names: Vec<String> = fields.iter().map(Parameter::api_name).collect();
                    return Err(Refusal::argument(&field, name, format!("one of {}", names.join(", "))));
                }
            }
        }
        for known in fields.iter().filter(|known| known.required) {
            let name = known.api_name();
            if map.get(&name).is_none_or(Value::is_null) {
                return Err(Refusal::missing(&format!("{field}.{name}"), known.check.right()));
            }
        }
    }
    Ok(())
}

fn is_key(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|c| c.is_ascii_alphanumeric())
}

/// How long the id of an access key is.
pub const KEY_ID: usize = 20;

/// How long the secret of an access key is.
pub const KEY_SECRET: usize = 40;

/// The most items that a list in a command may have.
pub const MAX_LIST: usize = 1000;

/// The most objects that a list in a command may have.
pub const MAX_OBJECTS: usize = 2000;

/// VMs of users, and the system's: what may be started, stopped or have nics.
const VMS: &[&str] = &["vm", "virtualRouter"];

impl Message {
    /// The kinds of inventory whose uuid `parameter` may be: its type's, else those of what the message is about.
    pub fn kinds_of(&self, parameter: &Parameter) -> &'static [&'static str] {
        let about = || match parameter.field {
            "vm_instance_uuid" => VMS,
            "uuid" if self.name.ends_with("VmInstance") => VMS,
            _ => &[],
        };
        match parameter.field {
            // What shall be the uuid of something new is nobody's yet.
            "resource_uuid" => &[],
            _ if parameter.of.is_empty() => about(),
            _ => parameter.of,
        }
    }

    /// The parameter that the outside calls `name`.
    pub fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.parameters.iter().find(|parameter| parameter.api_name() == name)
    }

    /// Refuses parameters that are unknown, missing or not right. `null` counts as not given.
    ///
    /// # Errors
    /// SYS.1007 that names the field, the value, and what would be right.
    pub fn accept(&self, parameters: &mut Map<String, Value>) -> Result<(), Refusal> {
        parameters.retain(|_, value| !value.is_null());
        for (name, value) in parameters.iter() {
            match self.parameter(name) {
                Some(parameter) => parameter.check.accept(name, value)?,
                None => {
                    let known: Vec<String> = self.parameters.iter().map(Parameter::api_name).collect();
                    // It may be a password under a wrong name.
                    let secret = self.parameters.iter().any(|known| known.check.is_secret());
                    let shown = match value {
                        _ if secret => "(not shown)".to_string(),
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    let mut refusal = Refusal::argument(name, shown, format!("{} has no such parameter", self.name));
                    refusal.hint = Some(match nearest(name, known.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean {near}?"),
                        None => format!("it has {}", known.join(", ")),
                    });
                    return Err(refusal);
                }
            }
        }
        for parameter in self.parameters.iter().filter(|parameter| parameter.required) {
            let name = parameter.api_name();
            if !parameters.contains_key(&name) {
                return Err(Refusal::missing(&name, parameter.check.right()));
            }
        }
        Ok(())
    }
}

/// The word of `known` that is nearest to `word`, if any is near.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    known
        .map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(far, candidate)| *far <= 2 + candidate.len() / 5)
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Defines messages: a struct for the parameters of each, and its entry in the catalogue.
macro_rules! messages {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:ident $method:literal $path:literal => $inventory:literal $(for $access:ident)? $([$internal:ident])? {
        $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty $(as $api_name:literal)? = $check:expr),* $(,)?
    })*) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $field_doc])+ $(#[serde(rename = $api_name)])? pub $field: $type,)*
        }

        impl $name {
            /// The entry in the catalogue.
            pub const MESSAGE: $crate::Message = $crate::Message {
                name: stringify!($name),
                doc: concat!($($doc),+),
                kind: $crate::MessageKind::$kind,
                method: $method,
                path: $path,
                parameters: &[$($crate::Parameter {
                    field: messages!(@name $field $($api_name)?),
                    doc: concat!($($field_doc),+),
                    required: <$type as $crate::ParameterType>::REQUIRED,
                    check: $check,
                    of: <$type as $crate::ParameterType>::OF,
                }),*],
                inventory: $inventory,
                internal: messages!(@internal $($internal)?),
                access: messages!(@access $($access)? $($internal)?),
            };
        }
    )*};
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $api_name:literal) => { $api_name };
    (@internal) => { false };
    (@internal internal) => { true };
    // There is no arm for a message that says nothing: it does not compile.
    (@access internal) => { $crate::Access::System };
    (@access $access:ident) => { $crate::Access::$access };
}
pub(crate) use messages;
