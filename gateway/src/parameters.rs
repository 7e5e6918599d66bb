//! The parameters of a URL, taken one by one; what nobody took is refused by name.

use crate::Problem;
use actix_web::{HttpRequest, web};
use switchback_bus::{Refusal, nearest};

/// The parameters that have not been taken yet, in the order of the URL.
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Parameters {
    /// Those of the request's URL.
    pub(crate) fn of(request: &HttpRequest) -> Result<Parameters, Problem> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|error| Refusal::argument("query string", request.query_string(), error))?
            .into_inner();
        Ok(Parameters { pairs, known: vec![] })
    }

    /// All values of `name`.
    pub(crate) fn all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let (taken, left) = std::mem::take(&mut self.pairs).into_iter().partition(|(key, _)| key == name);
        self.pairs = left;
        taken.into_iter().map(|(_, value): (String, String)| value).collect()
    }

    /// The value of `name`; empty counts as not given, twice is refused.
    pub(crate) fn one(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        if values.len() > 1 {
            return Err(Refusal::argument(name, values.join(", "), "is given more than once").into());
        }
        Ok(values.pop().filter(|value| !value.is_empty()))
    }

    /// The value of `name` as a number.
    pub(crate) fn number(&mut self, name: &'static str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        match text.parse::<u64>() {
            // Positions and counts beyond this cannot be; the log's own numbers are signed where they are stored.
            Ok(number) if number <= i64::MAX as u64 => Ok(Some(number)),
            _ => Err(Refusal::argument(name, text, "a whole number, 0 or more").into()),
        }
    }

    /// The value of `name` as a flag; the bare name is `true`.
    pub(crate) fn flag(&mut self, name: &'static str) -> Result<bool, Problem> {
        let given = self.pairs.iter().any(|(key, _)| key == name);
        match self.one(name)?.as_deref() {
            None => Ok(given),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(Refusal::argument(name, other, "true or false").into()),
        }
    }

    /// The value of `name` as a position or a time.
    pub(crate) fn moment(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        Ok(self.one(name)?.map(|text| with_offset(&text)))
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> Vec<(String, String)> {
        self.pairs
    }

    /// Refuses what is left.
    pub(crate) fn finish(self, hint: Option<&str>) -> Result<(), Problem> {
        let Some((name, value)) = self.pairs.first() else { return Ok(()) };
        let mut refusal = Refusal::argument(name, value, "there is no such parameter");
        refusal.hint = match nearest(name, self.known.iter().copied()) {
            Some(near) => Some(format!("did you mean {near}?")),
            None => Some(hint.map_or_else(|| format!("there are {}", self.known.join(", ")), str::to_string)),
        };
        Err(refusal.into())
    }
}

/// In a URL `+` means a blank, so the offset of a time written as it is (`…T10:00:00+02:00`) comes in broken.
pub(crate) fn with_offset(text: &str) -> String {
    match text.rsplit_once(' ') {
        Some((time, offset)) if offset.len() == 5 && offset.as_bytes()[2] == b':' && time.contains(':') => {
            format!("{time}+{offset}")
        }
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_survives_the_url() {
        let cases = [
            ("2026-11-20T10:00:00 02:00", "2026-11-20T10:00:00+02:00"),
            ("2026-11-20 10:00", "2026-11-20 10:00"),
            ("2026-11-20 10:00:00Z", "2026-11-20 10:00:00Z"),
            ("17", "17"),
            ("ü ü: ü", "ü ü: ü"),
        ];
        for (given, expected) in cases {
            assert_eq!(with_offset(given), expected);
        }
    }
}
