//! How a reply looks to ZStack's clients: `inventory` or `inventories`, and times in their form.

use serde_json::{Value, json};
use switchback_bus::CommandReply;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The body of a command's reply. What a delete left is nothing: `{}`.
pub(crate) fn of_command(reply: CommandReply) -> Value {
    let mut body = json!({});
    if let Some(inventory) = reply.inventory {
        body["inventory"] = inventory;
    }
    if let Some(inventories) = reply.inventories {
        body["inventories"] = json!(inventories);
    }
    shape(&mut body);
    body
}

/// Brings a reply of ours into ZStack's shape: without the log's position, and with its times.
pub(crate) fn shape(reply: &mut Value) {
    if let Value::Object(map) = reply {
        map.remove("position");
        map.values_mut().for_each(statements);
    }
    times(reply);
}

/// Of a role ZStack's clients know each statement as a part of an entry; of a policy it is as it is.
fn statements(inventories: &mut Value) {
    let each = match inventories {
        Value::Array(inventories) => inventories.as_mut_slice(),
        one => std::slice::from_mut(one),
    };
    for role in each.iter_mut().filter(|inventory| inventory["policies"].is_array()) {
        for entry in role["statements"].as_array_mut().into_iter().flatten() {
            let statement = json!({"name": entry["name"], "effect": entry["effect"], "actions": entry["actions"]});
            entry["statement"] = statement;
        }
    }
}

fn times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match value {
                    Value::String(text) if name.ends_with("Date") => {
                        if let Some(time) = time(text) {
                            *text = time;
                        }
                    }
                    Value::Object(_) | Value::Array(_) => times(value),
                    _ => {}
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(times),
        _ => {}
    }
}

/// `2026-11-20T17:54:12.5Z` → `Nov 20, 2026 5:54:12 PM`, in UTC.
fn time(text: &str) -> Option<String> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<usize>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.split('.').next()?.splitn(3, ':').map(|part| part.parse::<usize>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let month = MONTHS.get(month.checked_sub(1)?)?;
    let half = if hour < 12 { "AM" } else { "PM" };
    let hour = if hour % 12 == 0 { 12 } else { hour % 12 };
    Some(format!("{month} {day}, {year} {hour}:{minute:02}:{second:02} {half}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_zstacks() {
        let cases = [
            ("2026-11-20T17:54:12.143868Z", "Nov 20, 2026 5:54:12 PM"),
            ("2026-01-02T00:05:09Z", "Jan 2, 2026 12:05:09 AM"),
            ("2026-12-31T12:00:00Z", "Dec 31, 2026 12:00:00 PM"),
            ("2026-07-01T11:59:59.9Z", "Jul 1, 2026 11:59:59 AM"),
        ];
        for (ours, theirs) in cases {
            assert_eq!(time(ours).as_deref(), Some(theirs));
        }
        for other in ["", "Z", "TZ", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-11-20T17:54:12+01:00", "ü"]
        {
            assert_eq!(time(other), None, "{other}");
        }
    }

    #[test]
    fn a_statement_is_a_part_of_an_entry_of_a_role_and_whole_in_a_policy() {
        let entry = json!({"uuid": "u", "name": null, "effect": "Deny", "actions": ["read"]});
        let statement = json!({"name": null, "effect": "Deny", "actions": ["read"]});
        let mut role = json!({"inventory": {"policies": [], "statements": [entry]}});
        shape(&mut role);
        assert_eq!(role["inventory"]["statements"][0]["statement"], statement);
        let policy = json!({"inventories": [{"statements": [entry]}, {"name": "x"}, 7]});
        let mut shaped = policy.clone();
        shape(&mut shaped);
        assert_eq!(shaped, policy);
    }

    #[test]
    fn times_are_found_at_any_depth_and_other_texts_stay() {
        let at = "2026-01-02T00:05:09Z";
        let mut reply =
            json!({"position": 7, "inventories": [{"name": at, "createDate": at, "nics": [{"lastOpDate": at}]}]});
        shape(&mut reply);
        let theirs = "Jan 2, 2026 12:05:09 AM";
        let expected = json!({"inventories": [{"name": at, "createDate": theirs, "nics": [{"lastOpDate": theirs}]}]});
        assert_eq!(reply, expected);
    }
}
