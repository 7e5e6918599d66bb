//! Why a command of the command line did not succeed, and the exit code that says so.

use serde_json::Value;

/// The exit codes: scripts rely on them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Anything that has no code of its own.
    Other = 1,
    /// The command line itself is wrong.
    Usage = 2,
    /// The server refused the words.
    Refused = 3,
    /// Wrong state, or another version.
    Conflict = 4,
    /// There is no such thing.
    NotFound = 5,
    /// Not known, or not allowed.
    NotAllowed = 6,
    /// It did not end in time.
    Timeout = 7,
}

impl Exit {
    fn of_status(status: u16) -> Exit {
        match status {
            400 | 413 | 414 | 415 => Exit::Refused,
            409 | 412 | 422 => Exit::Conflict,
            404 | 405 => Exit::NotFound,
            401 | 403 => Exit::NotAllowed,
            408 | 504 => Exit::Timeout,
            _ => Exit::Other,
        }
    }
}

/// What is printed on stderr, and the exit code.
#[derive(Clone, PartialEq, Debug)]
pub struct Failure {
    /// What kind.
    pub exit: Exit,
    /// What is wrong.
    pub detail: String,
    /// The stable code. Boxed, so that a `Result` stays small.
    pub code: Option<Box<str>>,
    /// The parameters at fault.
    pub fields: Vec<String>,
    /// What stands in the way, or what may be meant.
    pub listed: Option<Box<Listed>>,
    /// What to do.
    pub hint: Option<String>,
    /// How the line is written.
    pub usage: Option<Box<str>>,
}

/// Resources that a failure names: kind, uuid and name of each.
#[derive(Clone, PartialEq, Debug)]
pub struct Listed {
    /// What they are: `blockers`.
    pub title: &'static str,
    /// One a row.
    pub rows: Vec<[String; 3]>,
}

impl Failure {
    /// Any failure.
    pub fn new(exit: Exit, detail: impl Into<String>) -> Failure {
        Failure { exit, detail: detail.into(), code: None, fields: vec![], listed: None, hint: None, usage: None }
    }

    /// The command line is wrong.
    pub fn usage(detail: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, detail)
    }

    /// Promised, but not done yet.
    pub fn not_supported(what: &str) -> Failure {
        Failure::new(Exit::Other, format!("{what} is not supported yet"))
    }

    /// The same with advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the resources that it is about.
    pub fn listing(mut self, title: &'static str, rows: Vec<[String; 3]>) -> Failure {
        self.listed = (!rows.is_empty()).then(|| Box::new(Listed { title, rows }));
        self
    }

    /// The same with how the line is written, where what was written is at fault.
    pub fn usage_of(mut self, usage: impl FnOnce() -> String) -> Failure {
        if matches!(self.exit, Exit::Usage | Exit::Refused) && self.usage.is_none() && self.listed.is_none() {
            self.usage = Some(usage().into_boxed_str());
        }
        self
    }

    /// What the server answered with a status that is not a success.
    pub fn of_answer(status: u16, body: &[u8]) -> Failure {
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |member: &str| problem[member].as_str().map(str::to_string);
        let exit = Exit::of_status(status);
        let detail = text("detail").unwrap_or_else(|| format!("the server answered with status {status}"));
        let mut failure = Failure::new(exit, detail);
        failure.code = text("code").map(String::into_boxed_str);
        failure.hint = text("hint");
        for error in items(&problem["errors"]) {
            let pointer = error["pointer"].as_str().map(|pointer| pointer.trim_start_matches('/').to_string());
            failure.fields.extend(error["field"].as_str().map(str::to_string).or(pointer));
        }
        let row = |blocker: &Value| {
            ["resourceType", "uuid", "name"].map(|member| blocker[member].as_str().unwrap_or("?").to_string())
        };
        failure = failure.listing("blockers", items(&problem["blockers"]).iter().map(row).collect());
        if let Some(version) = problem["currentVersion"].as_u64() {
            failure.hint.get_or_insert_with(|| format!("the current version is {version}"));
        }
        failure
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(Exit::Other, error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::new(Exit::Other, format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_exit_code() {
        let cases = [
            (400, 3),
            (401, 6),
            (403, 6),
            (404, 5),
            (409, 4),
            (412, 4),
            (422, 4),
            (429, 1),
            (500, 1),
            (501, 1),
            (502, 1),
            (503, 1),
            (504, 7),
        ];
        for (status, exit) in cases {
            assert_eq!(Failure::of_answer(status, b"").exit as u8, exit, "{status}");
        }
    }
}
