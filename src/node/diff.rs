//! The difference of two router configurations, by section and item.

use serde_json::{Map, Value, json};
use switchback_appliance::Sections;

/// What was added, removed and changed in each section; sections without a difference are left out.
pub(super) fn sections(from: Option<&Sections>, to: Option<&Sections>) -> Value {
    let json_of = |sections: Option<&Sections>| match sections.map(serde_json::to_value) {
        Some(Ok(Value::Object(map))) => map,
        _ => Map::new(),
    };
    let (from, to) = (json_of(from), json_of(to));
    let mut names: Vec<&String> = from.keys().chain(to.keys()).collect();
    names.sort();
    names.dedup();
    let mut found = Map::new();
    for name in names {
        let empty = json!({});
        let mut section = Difference::default();
        section.compare("", from.get(name).unwrap_or(&empty), to.get(name).unwrap_or(&empty));
        if !section.is_empty() {
            found.insert(
                name.clone(),
                json!({"added": section.added, "removed": section.removed, "changed": section.changed}),
            );
        }
    }
    Value::Object(found)
}

/// What differs between two inventories, field by field: `path`, `from`, `to`. Items of a list stand by themselves.
pub(super) fn fields(from: &Value, to: &Value) -> Vec<Value> {
    let mut found = Difference::default();
    found.compare("", from, to);
    let removed = found.removed.iter().map(|item| json!({"path": item["path"], "from": item["item"], "to": null}));
    let added = found.added.iter().map(|item| json!({"path": item["path"], "from": null, "to": item["item"]}));
    let mut fields: Vec<Value> = found.changed.iter().cloned().chain(removed).chain(added).collect();
    fields.retain(|field| field["from"] != field["to"]);
    fields.sort_by(|a, b| a["path"].as_str().cmp(&b["path"].as_str()));
    fields
}

#[derive(Default)]
struct Difference {
    added: Vec<Value>,
    removed: Vec<Value>,
    changed: Vec<Value>,
}

impl Difference {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    fn compare(&mut self, path: &str, from: &Value, to: &Value) {
        if from == to {
            return;
        }
        match (from, to) {
            (Value::Object(a), Value::Object(b)) => {
                let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
                keys.sort();
                keys.dedup();
                for key in keys {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    self.compare(&path, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                }
            }
            (Value::Array(_) | Value::Null, Value::Array(_) | Value::Null) => {
                let (a, b) = (items(from), items(to));
                self.removed.extend(a.iter().filter(|item| !b.contains(item)).map(|item| named(path, item)));
                self.added.extend(b.iter().filter(|item| !a.contains(item)).map(|item| named(path, item)));
                if a.len() == b.len() && a.iter().all(|item| b.contains(item)) {
                    self.changed.push(json!({"path": path, "from": from, "to": to}));
                }
            }
            _ => self.changed.push(json!({"path": path, "from": from, "to": to})),
        }
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

fn named(path: &str, item: &Value) -> Value {
    json!({"path": path, "item": item})
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchback_appliance::{DnsName, SnatRule};

    #[test]
    fn items_are_added_and_removed_by_section() {
        let name = |last: u8| DnsName { ip: [10, 0, 0, last].into(), hostname: format!("vm{last}"), domain: None };
        let mut from = Sections::default();
        from.dns.names = vec![name(1), name(2)];
        let mut to = from.clone();
        to.dns.names = vec![name(2), name(3)];
        to.snat.rules.push(SnatRule {
            source: "10.0.0.0/24".parse().unwrap(),
            interface: "eth1".to_string(),
            public_ip: [203, 0, 113, 5].into(),
        });
        let found = sections(Some(&from), Some(&to));
        assert_eq!(found["dns"]["added"][0]["item"]["hostname"], "vm3");
        assert_eq!(found["dns"]["removed"][0]["item"]["hostname"], "vm1");
        assert_eq!(found["snat"]["added"].as_array().unwrap().len(), 1);
        assert!(found.get("dhcp").is_none());
        assert_eq!(sections(Some(&to), Some(&to)), json!({}));
    }
}
