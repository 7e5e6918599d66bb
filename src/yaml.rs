//! JSON values as YAML 1.2: block style, and quotes around every text that any YAML reader could take for
//! something else. Enough for output; nothing here reads YAML.

use serde_json::Value;
use std::fmt::Write;

/// The whole document, with a line end.
pub fn document(value: &Value) -> String {
    let mut text = lines(value).join("\n");
    text.push('\n');
    text
}

fn lines(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut all = vec![];
            for (key, value) in map {
                let key = scalar_text(key);
                if is_block(value) {
                    all.push(format!("{key}:"));
                    all.extend(lines(value).into_iter().map(|line| format!("  {line}")));
                } else {
                    all.push(format!("{key}: {}", inline(value)));
                }
            }
            all
        }
        Value::Array(items) if !items.is_empty() => {
            let mut all = vec![];
            for item in items {
                for (at, line) in lines(item).into_iter().enumerate() {
                    all.push(format!("{}{line}", if at == 0 { "- " } else { "  " }));
                }
            }
            all
        }
        other => vec![inline(other)],
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar_text(text),
        Value::Object(_) => "{}".to_string(),
        Value::Array(_) => "[]".to_string(),
        other => other.to_string(),
    }
}

/// Plain where no reader can misread it. A digit first may be a number, a time or base 60 to some reader.
fn scalar_text(text: &str) -> String {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_string() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_blocks_with_quotes_where_they_matter() {
        let value = json!({
            "inventories": [{"name": "web", "uuid": "1e3", "nics": [["a"], []], "mac": "fa:01"}, {}],
            "no": null, "ok": true, "words": ["yes", "x y", "a\"\n\u{7f}", "", "0x1f", "-", "# c", "ü"],
        });
        let expected = r##"inventories:
  - mac: "fa:01"
    name: web
    nics:
      - - a
      - []
    uuid: "1e3"
  - {}
"no": null
ok: true
words:
  - "yes"
  - "x y"
  - "a\"\n\u007f"
  - ""
  - "0x1f"
  - "-"
  - "# c"
  - "ü"
"##;
        assert_eq!(document(&value), expected);
    }
}
