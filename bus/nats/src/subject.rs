//! Our subjects.

/// What all of them begin with.
const PREFIX: &str = "switchback.";
const COMMAND: &str = "cmd";
const QUERY: &str = "query";
/// What the subjects of events begin with: `switchback.evt.<concept>.<uuid>.<EventKind>`.
pub const EVENTS: &str = "switchback.evt.";
/// Where the past is asked for.
const REPLAY: &str = "switchback.events.replay";

/// What a request's subject asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked<'a> {
    /// A command of this name.
    Command(&'a str),
    /// A query or another read of this name.
    Query(&'a str),
    /// Events of the past.
    Replay,
}

impl Asked<'_> {
    /// Nothing where the subject is none of ours for requests.
    pub fn of(subject: &str) -> Option<Asked<'_>> {
        if subject == REPLAY {
            return Some(Asked::Replay);
        }
        let (kind, name) = subject.strip_prefix(PREFIX)?.split_once('.')?;
        let one = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric());
        match kind {
            COMMAND if one => Some(Asked::Command(name)),
            QUERY if one => Some(Asked::Query(name)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_subjects_ask_for_something() {
        assert_eq!(Asked::of("switchback.cmd.CreateZone"), Some(Asked::Command("CreateZone")));
        assert_eq!(Asked::of("switchback.query.QueryZone"), Some(Asked::Query("QueryZone")));
        assert_eq!(Asked::of("switchback.events.replay"), Some(Asked::Replay));
        for other in
            ["", "switchback", "switchback.cmd", "switchback.cmd.", "switchback.cmd.a.b", "switchback.cmd.*", "x.cmd.a"]
        {
            assert_eq!(Asked::of(other), None, "{other}");
        }
    }
}
