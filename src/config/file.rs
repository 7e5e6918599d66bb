//! The configuration file: TOML, with the line of everything.

use super::{Configuration, Fault, SECTIONS, SETTINGS, Setting, Source, setting, unknown};
use std::{fs, ops::Range, path::Path};
use toml::de::{DeTable, DeValue};

/// A configuration is a page, no more.
const MAX_BYTES: u64 = 1 << 20;

/// Takes over what the file says.
pub(super) fn read(path: &Path, configuration: &mut Configuration, faults: &mut Vec<Fault>) {
    let file = path.display().to_string();
    let text = match text(path) {
        Ok(text) => text,
        Err(why) => {
            let source = Source::Flag("--config");
            return faults.push(Fault { source, what: format!("read the file `{file}`: {why}") });
        }
    };
    let source = |span: Range<usize>| {
        let before = text.as_bytes().get(..span.start).unwrap_or_default();
        Source::File(file.clone(), 1 + before.iter().filter(|byte| **byte == b'\n').count())
    };
    let table = match DeTable::parse(&text) {
        Ok(table) => table,
        Err(error) => {
            let what = format!("not TOML: {}", error.message());
            return faults.push(Fault { source: source(error.span().unwrap_or_default()), what });
        }
    };
    for (section, values) in table.get_ref().iter() {
        let (name, place) = (section.get_ref().as_ref(), source(section.span()));
        let known = SECTIONS.iter().map(|(known, _)| *known);
        if !known.clone().any(|known| known == name) {
            faults.push(unknown(place, name, known.map(str::to_string)));
            continue;
        }
        let DeValue::Table(values) = values.get_ref() else {
            let what = format!("`{name}` is a section: write [{name}] and its keys below it");
            faults.push(Fault { source: place, what });
            continue;
        };
        for (key, value) in values.iter() {
            let (key, place) = (key.get_ref().as_ref(), source(key.span()));
            let Some(setting) = setting(name, key) else {
                let own = SETTINGS.iter().filter(|setting| setting.section == name).map(Setting::name);
                faults.push(unknown(place, &format!("{name}.{key}"), own));
                continue;
            };
            match scalar(setting, value.get_ref()) {
                Some(value) => configuration.set(name, key, &value, place, faults),
                None => {
                    let shown: String = text.get(value.span()).unwrap_or_default().chars().take(120).collect();
                    let what = format!("{name}.{key} = {shown}: {}", setting.right.words());
                    faults.push(Fault { source: place, what });
                }
            }
        }
    }
}

/// The text of a value of the type that the setting has: a number in quotation marks is none.
fn scalar(setting: &Setting, value: &DeValue<'_>) -> Option<String> {
    let default = setting.right.toml(setting.default);
    match value {
        DeValue::String(text) if default.starts_with('"') => Some(text.to_string()),
        DeValue::Boolean(flag) if matches!(default.as_str(), "true" | "false") => Some(flag.to_string()),
        DeValue::Integer(number) if default.bytes().all(|c| c.is_ascii_digit()) => {
            Some(i64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string())
        }
        _ => None,
    }
}

fn text(path: &Path) -> Result<String, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > MAX_BYTES {
        return Err(format!("it has {length} bytes, more than {MAX_BYTES}"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}
