//! The one way out: data to stdout, everything else to stderr.

use crate::{failure::Failure, table, yaml};
use clap::ValueEnum;
use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};
use std::io::{self, ErrorKind, Write};

/// How data is written.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// The server's reply as it is.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Where data and words go.
pub struct Output<'a> {
    /// How data is written.
    pub format: Format,
    stdout: &'a mut dyn Write,
    stderr: &'a mut dyn Write,
    width: Option<u16>,
    /// For whoever sits before a terminal: what time it is there, and whether signs have colours.
    person: Option<(Zoned, bool)>,
}

/// Where meanings stand beside their words, and where they end in a pipe.
const MEANINGS_AT: usize = 26;
const MEANINGS_WIDTH: usize = 100;

impl<'a> Output<'a> {
    /// To these two, at this width; none for no limit.
    pub fn new(stdout: &'a mut dyn Write, stderr: &'a mut dyn Write, width: Option<u16>) -> Output<'a> {
        Output { format: Format::Table, stdout, stderr, width, person: None }
    }

    /// The same for a person before a terminal, where it is `now`: times are those of the place, and signs may have
    /// colours.
    pub fn for_a_person(self, now: Zoned, colours: bool) -> Output<'a> {
        Output { person: Some((now, colours)), ..self }
    }

    /// Microseconds since 1970: RFC 3339 with milliseconds in UTC; for a person the time of day, with the date
    /// where that is not today.
    pub fn time(&self, micros: &Value) -> Value {
        let Some(time) = micros.as_i64().and_then(|micros| Timestamp::from_microsecond(micros).ok()) else {
            return micros.clone();
        };
        json!(match &self.person {
            None => format!("{time:.3}"),
            Some((now, _)) => {
                let there = time.to_zoned(now.time_zone().clone());
                let today = there.date() == now.date();
                there.strftime(if today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" }).to_string()
            }
        })
    }

    /// Whoever asked: for a person without what says that it is a part of the system, which its name says too.
    pub fn principal(&self, principal: &Value) -> Value {
        match principal.as_str().and_then(|name| name.strip_prefix("system:")) {
            Some(component) if self.person.is_some() => json!(component),
            _ => principal.clone(),
        }
    }

    /// Writes a line that says what was added (`+`), removed (`-`) or changed (`~`), cut where the terminal ends.
    pub fn signed(&mut self, sign: &str, text: &str) -> io::Result<()> {
        let colour = match (&self.person, sign) {
            (Some((_, true)), "+") => "32",
            (Some((_, true)), "-") => "31",
            (Some((_, true)), "~") => "33",
            _ => return self.line(text),
        };
        let line = self.fitting(text);
        self.text(&format!("\x1b[{colour}m{line}\x1b[0m\n"))
    }

    /// Writes `whole` as JSON or YAML, or else what `table` writes.
    pub fn data(
        &mut self,
        whole: &Value,
        table: impl FnOnce(&mut Output<'a>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => table(self)?,
            Format::Json => self.text(&format!("{whole:#}\n"))?,
            Format::Yaml => self.text(&yaml::document(whole))?,
        }
        Ok(())
    }

    /// Writes rows; says on stderr which columns had no room.
    pub fn rows<C: AsRef<str>>(&mut self, items: &[Value], columns: &[C]) -> io::Result<()> {
        let rendered = table::rows(items, columns, self.width);
        self.text(&rendered.text)?;
        if !rendered.left_out.is_empty() {
            self.note(&format!("not shown: {} (-o json shows all)", rendered.left_out.join(", ")));
        }
        Ok(())
    }

    /// Writes text in lines that fit.
    pub fn paragraph(&mut self, text: &str) -> io::Result<()> {
        let lines = table::wrapped(&table::clean(text), self.width.map_or(MEANINGS_WIDTH, usize::from));
        self.text(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
    }

    /// Writes words, each with what it means beside or below it.
    pub fn meanings(&mut self, items: &[(String, String)]) -> io::Result<()> {
        let width = self.width.map_or(MEANINGS_WIDTH, usize::from);
        let mut text = String::new();
        for (word, meaning) in items {
            let mut lines =
                table::wrapped(&table::clean(meaning), width.saturating_sub(MEANINGS_AT).max(20)).into_iter();
            if word.chars().count() + 4 <= MEANINGS_AT {
                let beside = lines.next().unwrap_or_default();
                text += &format!("  {word:<0$}{beside}\n", MEANINGS_AT - 2);
            } else {
                text += &format!("  {word}\n");
            }
            lines.for_each(|line| text += &format!("{:1$}{line}\n", "", MEANINGS_AT));
        }
        self.text(&text)
    }

    /// Writes one thing, a line for each field.
    pub fn pairs(&mut self, value: &Value) -> io::Result<()> {
        let text = table::pairs(value, self.width);
        self.text(&text)
    }

    /// Writes data as it is. A reader that has gone away, such as `head`, is no failure.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        match self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }

    /// Writes bytes as they are. Whether anyone still reads them.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<bool> {
        match self.stdout.write_all(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Writes one line, cut where the terminal ends.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        let line = self.fitting(text);
        self.text(&format!("{line}\n"))
    }

    fn fitting(&self, text: &str) -> String {
        table::cut(&table::clean(text), self.width.map_or(usize::MAX, usize::from))
    }

    /// Says something on stderr.
    pub fn note(&mut self, text: &str) {
        let mut text: Vec<String> = text.lines().map(table::clean).collect();
        if let (Some(_), Some(width)) = (&self.person, self.width) {
            text = text.iter().flat_map(|line| table::wrapped(line, usize::from(width))).collect();
        }
        let _ = writeln!(self.stderr, "{}", text.join("\n"));
    }

    /// Says on stderr why it failed.
    pub fn failure(&mut self, failure: &Failure) {
        self.note(&format!("error: {}", failure.detail));
        if let Some(code) = &failure.code {
            self.note(&format!("code: {code}"));
        }
        for field in &failure.fields {
            self.note(&format!("field: {field}"));
        }
        if let Some(listed) = &failure.listed {
            let cells: Vec<Vec<String>> =
                listed.rows.iter().map(|row| row.iter().map(|text| table::clean(text)).collect()).collect();
            self.note(&format!("{}:", listed.title));
            table::aligned(&cells).iter().for_each(|line| self.note(&format!("  {line}")));
        }
        if let Some(hint) = &failure.hint {
            self.note(&format!("hint: {hint}"));
        }
        if let Some(usage) = &failure.usage {
            let line = self.fitting(&format!("usage: {usage}"));
            self.note(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written by someone for whom it is `now`, with or without colours, or into a pipe.
    fn written(person: Option<bool>) -> (String, Value, Value, Value) {
        let (mut stdout, mut stderr) = (vec![], vec![]);
        let mut output = Output::new(&mut stdout, &mut stderr, person.map(|_| 12));
        if let Some(colours) = person {
            output = output.for_a_person("2026-11-20T15:00:00+02:00[+02:00]".parse().unwrap(), colours);
        }
        let (now, before) = (json!(1_795_168_800_250_000_i64), json!(1_795_082_400_000_000_i64));
        let (today, yesterday) = (output.time(&now), output.time(&before));
        let principal = output.principal(&json!("system:router-reconciler"));
        output.signed("-", "snat  - rules\u{1b}[2J").unwrap();
        output.line("short").unwrap();
        (String::from_utf8(stdout).unwrap(), today, yesterday, principal)
    }

    #[test]
    fn a_person_gets_times_of_the_place_and_colours_and_a_pipe_gets_neither() {
        let (text, today, yesterday, principal) = written(Some(true));
        assert_eq!(text, "\u{1b}[31msnat  - rul…\u{1b}[0m\nshort\n");
        assert_eq!((today, yesterday), (json!("12:00:00"), json!("2026-11-19 12:00:00")));
        assert_eq!(principal, "router-reconciler");
        assert_eq!(written(Some(false)).0, "snat  - rul…\nshort\n");
        let (text, today, yesterday, principal) = written(None);
        assert_eq!(text, "snat  - rules\u{fffd}[2J\nshort\n");
        assert_eq!((today, yesterday), (json!("2026-11-20T10:00:00.250Z"), json!("2026-11-19T10:00:00.000Z")));
        assert_eq!(principal, "system:router-reconciler");
    }
}
