//! The log as JSON lines, one event a line with the attributes of CloudEvents 1.0. Every line can be read by any
//! tool; the first of each commit also carries the commit as it is stored (`record`), so that an import gives
//! the same bytes and so the same hash chain. An import compares the two: lines that were edited are refused.

use crate::record::{CommitRecord, GENESIS, Packer, Record, records};
use crate::signed_heads::hex;
use crate::store::{FrameStore, StoreError};
use crate::verify::{Broken, Verified, verify_store};
use crate::{Journal, SledStore};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use std::{
    collections::VecDeque,
    io::{self, BufRead, Write},
    path::Path,
};
use switchback_events::{Commit, Position};

const FRAMES_AT_ONCE: usize = 4;
const COMMITS_AT_ONCE: usize = 512;

/// Why an export or an import did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum JsonlError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lines cannot be read or written.
    #[error("read or write a line: {0}")]
    Io(#[from] io::Error),
    /// The log is not what was written.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The target is in use.
    #[error("import into `{0}`: there is a log already")]
    NotEmpty(std::path::PathBuf),
    /// A line is not one that an export writes.
    #[error("line {line}: {why}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// Some lines of an export.
#[derive(Debug)]
pub struct Lines {
    /// Their text.
    pub text: Vec<u8>,
    /// How many there are, one for each event.
    pub events: u64,
    /// Where the next ones begin after.
    pub reached: Position,
}

impl Journal {
    /// Writes the durable commits that hold positions in `after + 1 ..= upto` as JSON lines. Gives the number of
    /// events. Only an export from the beginning can be imported.
    pub fn export_jsonl(&self, writer: &mut dyn Write, mut after: Position, upto: Position) -> Result<u64, JsonlError> {
        let mut events = 0;
        while let Some(lines) = self.export_lines(after, upto)? {
            writer.write_all(&lines.text)?;
            events += lines.events;
            after = lines.reached;
        }
        writer.flush()?;
        Ok(events)
    }

    /// The next lines of such an export. Nothing after the last ones.
    pub fn export_lines(&self, after: Position, upto: Position) -> Result<Option<Lines>, JsonlError> {
        let upto = upto.min(self.durable());
        if after >= upto {
            return Ok(None);
        }
        let frames = self.shared().store.read_from(after, FRAMES_AT_ONCE)?;
        let mut found = Lines { text: Vec::new(), events: 0, reached: frames.last().map_or(upto, |frame| frame.last) };
        for frame in frames.iter().filter(|frame| frame.first <= upto) {
            let broken = |defect| Broken::of(frame.first, defect);
            for place in records(&frame.bytes).map_err(broken)? {
                let record = Record::at(&frame.bytes, place).map_err(broken)?;
                let commit = record.read().and_then(CommitRecord::decode).map_err(broken)?;
                let first = commit.events.first().map_or(0, |event| event.position);
                if commit.last_position() <= after || first > upto {
                    continue;
                }
                for line in lines(&commit, &record) {
                    serde_json::to_writer(&mut found.text, &line).map_err(io::Error::from)?;
                    found.text.push(b'\n');
                    found.events += 1;
                }
            }
        }
        Ok(Some(found))
    }
}

/// One line an event.
fn lines(commit: &Commit, record: &Record) -> Vec<Value> {
    let mut lines: Vec<Value> = commit
        .envelopes()
        .map(|(envelope, event)| {
            let provenance = envelope.provenance;
            let optional = [
                ("causationid", provenance.causation.map(|id| id.to_string())),
                ("credential", provenance.credential.map(|id| id.to_string())),
                ("reason", provenance.reason.clone()),
            ];
            let mut line = json!({
                "specversion": "1.0",
                "id": envelope.position.to_string(),
                "source": "/switchback/journal",
                "type": format!("switchback.{}.v{}", envelope.kind, envelope.schema),
                "subject": format!("{}/{}", envelope.stream_type, envelope.stream_id),
                "time": rfc3339(envelope.at),
                "datacontenttype": "application/json",
                "data": event.to_json(),
                "position": envelope.position,
                "version": envelope.version,
                "atmicros": envelope.at,
                "commandid": provenance.command_id.to_string(),
                "command": provenance.command,
                "correlationid": provenance.correlation.to_string(),
                "principal": provenance.principal,
                "origin": provenance.origin,
                "tags": envelope.tags.iter().map(|tag| tag.to_string()).collect::<Vec<_>>().join(" "),
            });
            if let Some(line) = line.as_object_mut() {
                let there = optional.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?.into())));
                line.extend(there.collect::<Map<String, Value>>());
            }
            line
        })
        .collect();
    if let Some(first) = lines.first_mut().and_then(Value::as_object_mut) {
        first.insert("format".to_string(), record.format.into());
        first.insert("record".to_string(), STANDARD.encode(record.body).into());
        first.insert("chain".to_string(), hex::text(&record.chain).into());
    }
    lines
}

/// Microseconds since 1970 as RFC 3339 in UTC (Howard Hinnant's `civil_from_days`).
fn rfc3339(at: i64) -> String {
    let (seconds, micros) = (at.div_euclid(1_000_000), at.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (month, of_month) = ((shifted + 2) % 12 + 1, of_year - (153 * shifted + 2) / 5 + 1);
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{of_month:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Makes a log in `target` of the lines of an export from the beginning. Its chain is the exported log's.
pub fn import_jsonl(reader: &mut dyn BufRead, target: &Path) -> Result<Verified, JsonlError> {
    let store = SledStore::open(target)?;
    if store.head()? != 0 {
        return Err(JsonlError::NotEmpty(target.to_path_buf()));
    }
    let mut import = Import { packer: Packer::new(GENESIS), head: 0, commits: 0, expected: VecDeque::new() };
    for (number, text) in (1..).zip(reader.lines()) {
        let line = |why: String| JsonlError::Line { line: number, why };
        let value: Value = serde_json::from_str(&text?).map_err(|error| line(error.to_string()))?;
        import.line(value).map_err(line)?;
        if import.commits >= COMMITS_AT_ONCE {
            import.write(&store)?;
        }
    }
    if let Some(missing) = import.expected.front() {
        let why = format!("is missing: the lines end before event {}", missing["id"]);
        return Err(Broken { position: store.head()? + 1, why }.into());
    }
    import.write(&store)?;
    Ok(verify_store(&store, |_| {})?)
}

/// The first field in which a line is not what its commit says.
fn edited(line: &Value, expected: &Value) -> String {
    let (Some(line), Some(expected)) = (line.as_object(), expected.as_object()) else {
        return "the line is no JSON object".to_string();
    };
    let names = expected.keys().chain(line.keys());
    let other = names.into_iter().find(|name| line.get(*name) != expected.get(*name));
    match other {
        Some(name) if !line.contains_key(name) => format!("`{name}` is missing"),
        Some(name) => format!("`{name}` was changed"),
        None => "it stands at another place".to_string(),
    }
}

struct Import {
    packer: Packer,
    /// The last position of the last commit.
    head: Position,
    commits: usize,
    /// The lines of the commit that have to come next.
    expected: VecDeque<Value>,
}

impl Import {
    fn line(&mut self, value: Value) -> Result<(), String> {
        if self.expected.is_empty() {
            self.commit(&value)?;
        }
        let Some(expected) = self.expected.pop_front() else { return Ok(()) };
        if value == expected {
            return Ok(());
        }
        Err(format!(
            "event {} is not the one that its commit holds: {}",
            expected["position"],
            edited(&value, &expected)
        ))
    }

    fn commit(&mut self, value: &Value) -> Result<(), String> {
        if let Some(position) = value["position"].as_u64().filter(|position| *position != self.head + 1) {
            return Err(format!("`position` is {position}, event {} comes next", self.head + 1));
        }
        let text = |name: &str| value[name].as_str().ok_or(format!("`{name}` is missing"));
        let body = STANDARD.decode(text("record")?).map_err(|error| format!("`record`: {error}"))?;
        let format = value["format"].as_u64().and_then(|format| u8::try_from(format).ok()).unwrap_or(0);
        let defect = |defect| format!("`record` of {}", Broken::of(self.head + 1, defect));
        let record = Record::after(format, GENESIS, &body).parse().map_err(defect)?;
        self.packer.add_body(format, record.first, record.last(), &body);
        if hex::text(&self.packer.chain) != text("chain")? {
            return Err("`record` and `chain` do not continue the hash chain of the lines before".to_string());
        }
        let last = record.last();
        let commit = record.decode().map_err(defect)?;
        self.head = last;
        let stored = Record::after(format, self.packer.chain, &body);
        self.expected = lines(&commit, &stored).into();
        self.commits += 1;
        if self.expected.is_empty() { Err("the commit has no events".to_string()) } else { Ok(()) }
    }

    fn write(&mut self, store: &SledStore) -> Result<(), StoreError> {
        let next = Packer::new(self.packer.chain);
        let packed = std::mem::replace(&mut self.packer, next);
        self.commits = 0;
        if packed.frames.is_empty() { Ok(()) } else { store.append(store.head()?, &packed.frames) }
    }
}
