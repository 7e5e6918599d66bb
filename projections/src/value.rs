//! One value of one field, as it is in a row: the bridge between events, SQL and JSON.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use switchback_events as events;

/// The value of one field of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Val {
    /// There is none.
    Null,
    /// A number, a truth value (0 or 1), or a time in microseconds since 1970.
    Int(i64),
    /// A text or a uuid.
    Text(Box<str>),
    /// The members of a list, in order. In SQL a JSON array.
    List(Vec<String>),
}

impl Val {
    /// A name of an enum's variant, which the events spell as the API does.
    pub fn name_of(variant: &impl std::fmt::Debug) -> Val {
        Val::Text(format!("{variant:?}").into())
    }

    /// The text, or nothing where the value is no text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Val::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The members, or nothing where the value is no list.
    pub fn members(&self) -> &[String] {
        match self {
            Val::List(members) => members,
            _ => &[],
        }
    }

    /// What SQLite holds, read as the catalogue says it is: a list where `list`.
    pub(crate) fn from_sql(value: ValueRef<'_>, list: bool) -> Val {
        match value {
            ValueRef::Integer(number) => Val::Int(number),
            ValueRef::Text(text) if list => Val::List(serde_json::from_slice(text).unwrap_or_default()),
            ValueRef::Text(text) => Val::Text(String::from_utf8_lossy(text).into()),
            _ => Val::Null,
        }
    }
}

impl ToSql for Val {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Val::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Val::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Val::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Val::List(members) => ToSqlOutput::Owned(json_array(members).into()),
        })
    }
}

/// The members as a JSON array of strings.
pub(crate) fn json_array(members: &[String]) -> String {
    serde_json::to_string(members).expect("strings always have a JSON form")
}

impl From<&str> for Val {
    fn from(text: &str) -> Val {
        Val::Text(text.into())
    }
}

impl<T: Into<Val>> From<Option<T>> for Val {
    fn from(value: Option<T>) -> Val {
        value.map_or(Val::Null, Into::into)
    }
}

impl From<bool> for Val {
    fn from(truth: bool) -> Val {
        Val::Int(truth.into())
    }
}

impl From<u64> for Val {
    fn from(number: u64) -> Val {
        Val::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<Vec<String>> for Val {
    fn from(members: Vec<String>) -> Val {
        Val::List(members)
    }
}

macro_rules! from_owned {
    (text: $($text:ty),*; number: $($number:ty),*; printed: $($printed:ty),* $(,)?) => {
        $(impl From<$text> for Val { fn from(text: $text) -> Val { Val::Text(text.as_str().into()) } })*
        $(impl From<$number> for Val { fn from(number: $number) -> Val { Val::Int(number.into()) } })*
        $(impl From<$printed> for Val { fn from(value: $printed) -> Val { Val::Text(value.to_string().into()) } })*
    };
}

from_owned!(
    text: String, &String;
    number: i64, u32, u16, u8;
    printed: std::net::Ipv4Addr, std::net::IpAddr, events::Mac, events::Id, events::ZoneId, events::ClusterId, events::HostId,
        events::ImageId, events::L2NetworkId, events::L3NetworkId, events::IpRangeId,
        events::NetworkServiceProviderId, events::OfferingId, events::NicId, events::VipId,
        events::ServerGroupId, events::CertificateId, events::AccessControlListId, events::LoadBalancerListenerId,
);
