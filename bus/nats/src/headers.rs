//! The headers of a message: names and values, each name as often as it was given.

use std::borrow::Cow;

/// How headers begin.
const VERSION: &str = "NATS/1.0";

/// The headers of a message, in order.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Headers(Vec<(Cow<'static, str>, String)>);

impl Headers {
    /// None.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// The same with one more.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Headers {
        self.push(name, value);
        self
    }

    /// One more.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// From the form in which they travel; none where it is another. A status in the first line is left out.
    pub fn parse(bytes: &[u8]) -> Option<Headers> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
        let mut lines = text.split("\r\n");
        let version = lines.next()?.strip_prefix(VERSION)?;
        if !version.is_empty() && !version.starts_with(' ') {
            return None;
        }
        let mut headers = Headers::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            if name.is_empty() || line.contains(['\r', '\n']) {
                return None;
            }
            headers.push(name.to_string(), value.trim());
        }
        Some(headers)
    }

    /// In the form in which they travel. What would end a line early is left out.
    pub fn write(&self, to: &mut String) {
        let plain = |c: &char| !matches!(c, '\r' | '\n');
        to.push_str(VERSION);
        to.push_str("\r\n");
        for (name, value) in self.iter() {
            to.extend(name.chars().filter(plain));
            to.push_str(": ");
            to.extend(value.chars().filter(plain));
            to.push_str("\r\n");
        }
        to.push_str("\r\n");
    }

    /// The values of `name`, in whatever case it was written: HTTP's habit, that clients' libraries have too.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// The bytes that they take on the wire, about.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>() + 12
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Headers {
    type Item = (Cow<'static, str>, String);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
