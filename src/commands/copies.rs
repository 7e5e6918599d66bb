//! The log out of its directory and into a new one: `switchback audit export` and `import`.

use crate::{
    asking::Asked,
    failure::{Exit, Failure},
    output::Output,
    progress::{Watched, bar, bytes_bar},
    views::count,
};
use serde_json::json;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};
use switchback::node::DataDir;
use switchback_bus::LogForm;
use switchback_journal::{Verified, import_jsonl};

const CHUNK_BYTES: usize = 1 << 16;

/// What could not be done with a file.
pub fn file_failure(doing: &str, file: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Other, format!("{doing} `{}`: {why}", file.display()))
}

/// Writes the whole log as JSON lines. A file gets its name when it is whole.
pub fn export(asked: &dyn Asked, file: &Path, output: &mut Output) -> Result<(), Failure> {
    let to_stdout = file == Path::new("-");
    if !to_stdout && file.exists() {
        return Err(Failure::usage(format!("`{}` is there already: name a new file", file.display())));
    }
    let mut draft = file.as_os_str().to_owned();
    draft.push(".draft");
    let draft = Path::new(&draft);
    let mut written =
        if to_stdout { None } else { Some(private(draft).map_err(|error| file_failure("write", draft, error))?) };
    let copied = copy_lines(asked, &mut |bytes| match &mut written {
        Some(written) => written.write_all(bytes).map(|()| true),
        None => output.bytes(bytes),
    });
    let named = copied.and_then(|events| {
        let Some(written) = &written else { return Ok(events) };
        let named = written.sync_all().and_then(|()| fs::rename(draft, file));
        named.map(|()| events).map_err(|error| file_failure("write", file, error))
    });
    if named.is_err() && !to_stdout {
        let _ = fs::remove_file(draft);
    }
    let events = named?;
    if !to_stdout {
        output.note(&format!("{} in `{}`", count(events, "event"), file.display()));
    }
    Ok(())
}

/// A new file that only its owner may read: whatever is in it is as secret as the log.
fn private(file: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)
}

/// Gives all lines to `take` until it wants no more; counts them.
fn copy_lines(asked: &dyn Asked, take: &mut dyn FnMut(&[u8]) -> io::Result<bool>) -> Result<usize, Failure> {
    let mut log = asked.log(LogForm::JsonLines, 0)?;
    let bar = bar("exporting");
    bar.set_length(log.upto);
    let mut copy = || -> io::Result<usize> {
        let (mut events, mut buffer) = (0, vec![0; CHUNK_BYTES]);
        loop {
            let read = log.reader.read(&mut buffer)?;
            if read == 0 || !take(&buffer[..read])? {
                return Ok(events);
            }
            events += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
            bar.set_position(events as u64);
        }
    };
    let copied = copy();
    bar.finish_and_clear();
    copied.map_err(|error| Failure::new(Exit::Other, format!("export the log: {error}")))
}

/// Makes a data directory of an export.
pub fn import(file: &Path, data: Option<&Path>, output: &mut Output) -> Result<(), Failure> {
    let Some(data) = data else {
        return Err(Failure::usage("audit import makes a new data directory: --data NEWDIR says where"));
    };
    let (mut reader, bar): (Box<dyn BufRead>, _) = if file == Path::new("-") {
        (Box::new(BufReader::new(io::stdin())), None)
    } else {
        let opened = File::open(file).map_err(|error| file_failure("read", file, error))?;
        let bar = bytes_bar("importing", opened.metadata().map_or(0, |metadata| metadata.len()));
        (Box::new(BufReader::new(Watched { reader: opened, bar: bar.clone() })), Some(bar))
    };
    let made = DataDir::open(data).and_then(|data| data.put_log(|log| Ok(import_jsonl(&mut reader, log)?)));
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let made = made.map_err(|error| Failure::from(error.context(format!("import `{}`", file.display()))))?;
    show_made(&made, data, output)?;
    output.note("keys, certificates and tokens are in no export: the server makes new ones when it starts");
    Ok(())
}

/// Says what a new data directory holds.
pub fn show_made(made: &Verified, data: &Path, output: &mut Output) -> Result<(), Failure> {
    let hash = switchback_appliance::hex(&made.chain);
    let reply = json!({"position": made.head, "commits": made.commits, "hash": hash, "data": data});
    output.data(&reply, |output| output.pairs(&reply))?;
    output.note(&format!("hint: switchback serve --data {}", data.display()));
    Ok(())
}
