//! Our subjects.

/// What all of them begin with.
const PREFIX: &str = "switchback.";
const COMMAND: &str = "cmd";
const QUERY: &str = "query";
/// What the subjects of events begin with: `switchback.evt.<concept>.<uuid>.<EventKind>`.
pub const EVENTS: &str = "switchback.evt.";
/// All of them.
pub const ALL_EVENTS: &str = "switchback.evt.*.*.*";
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

/// Whether this is a subject that can be subscribed to: `*` stands for one word, `>` at the end for one or more.
pub fn is_pattern(subject: &str) -> bool {
    let mut words = subject.split('.').peekable();
    while let Some(word) = words.next() {
        if word.is_empty() || (word == ">" && words.peek().is_some()) {
            return false;
        }
    }
    true
}

/// Whether this is a subject that something can be sent to.
pub fn is_literal(subject: &str) -> bool {
    subject.split('.').all(|word| !matches!(word, "" | "*" | ">"))
}

/// Whether a subscription to `pattern` gets what is sent to `subject`.
pub fn matches(pattern: &str, subject: &str) -> bool {
    overlap(pattern, subject)
}

/// Whether there is a subject that both patterns get.
pub fn overlap(one: &str, other: &str) -> bool {
    let (mut ours, mut theirs) = (one.split('.'), other.split('.'));
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_word_and_an_arrow_the_rest() {
        for (pattern, subject, right) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.*", "a.b", true),
            ("a.>", "a", false),
            ("a.>", "a.b", true),
            ("a.>", "a.b.c", true),
            (">", "a", true),
            ("*.b.>", "a.b.c.d", true),
            ("*.b.>", "a.c.c.d", false),
            ("a.*c", "a.bc", false),
        ] {
            assert_eq!(matches(pattern, subject), right, "{pattern} {subject}");
        }
        for (one, other, right) in [
            (">", "a.*", true),
            ("*", "a.b", false),
            ("a.>", "*.b", true),
            ("a.*.c", "a.b.*", true),
            ("a.*.c", "a.b.d", false),
            ("_INBOX.>", "switchback.evt.*.*.*", false),
            ("switchback.>", "switchback.evt.*.*.*", true),
            ("*.*.vip.>", "switchback.evt.*.*.*", true),
            ("switchback.evt.vip", "switchback.evt.*.*.*", false),
        ] {
            assert_eq!((overlap(one, other), overlap(other, one)), (right, right), "{one} {other}");
        }
        for (subject, pattern, literal) in [
            ("a.b", true, true),
            ("a.*", true, false),
            ("a.>", true, false),
            ("a.>.b", false, false),
            ("a..b", false, false),
            ("", false, false),
            (".a", false, false),
            ("a.", false, false),
            ("a*", true, true),
        ] {
            assert_eq!((is_pattern(subject), is_literal(subject)), (pattern, literal), "{subject}");
        }
    }

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
