//! Tables that fit the terminal: the most useful columns of each kind first, uuids always whole.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::{Map, Value};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The columns of each kind of inventory, the most useful first. A column that no row has is left out.
pub fn columns(inventory: &str) -> &'static [&'static str] {
    match inventory {
        "zone" => &["uuid", "name", "state", "isDefault", "description"],
        "cluster" => &["uuid", "name", "state", "hypervisorType", "zoneUuid"],
        "host" => &["uuid", "name", "managementIp", "state", "status", "hypervisorType", "clusterUuid"],
        "image" => &["uuid", "name", "state", "status", "mediaType", "format", "system"],
        "l2" => &["uuid", "name", "type", "physicalInterface", "vlan", "attachedClusterUuids"],
        "l3" => &["uuid", "name", "state", "category", "dnsDomain", "dns", "l2NetworkUuid"],
        "ipRange" => &["uuid", "name", "startIp", "endIp", "netmask", "gateway", "ipRangeType", "l3NetworkUuid"],
        "reservedIpRange" => &["uuid", "startIp", "endIp", "l3NetworkUuid"],
        "usedIp" => &["uuid", "ip", "usedFor", "vmNicUuid", "l3NetworkUuid"],
        "networkServiceProvider" => &["uuid", "name", "type", "networkServiceTypes"],
        "networkServiceL3NetworkRef" => &["networkServiceType", "l3NetworkUuid", "networkServiceProviderUuid"],
        "instanceOffering" => &["uuid", "name", "type", "state", "cpuNum", "memorySize"],
        "virtualRouterOffering" => {
            &["uuid", "name", "state", "isDefault", "managementNetworkUuid", "publicNetworkUuid", "imageUuid"]
        }
        "vm" => &["uuid", "name", "state", "vmNics.ip", "lastError", "hostUuid"],
        "nic" => &["uuid", "ip", "mac", "internalName", "deviceId", "vmInstanceUuid", "l3NetworkUuid"],
        "virtualRouter" => &["uuid", "name", "state", "status", "vmNics.ip", "lastError", "hostUuid"],
        "loadBalancer" => &["uuid", "name", "state", "vipUuid"],
        "loadBalancerListener" => &["uuid", "name", "protocol", "loadBalancerPort", "instancePort", "loadBalancerUuid"],
        "accessControlList" => &["uuid", "name", "description"],
        "accessControlListEntry" => &["uuid", "type", "ipEntries", "domain", "url", "aclUuid"],
        "loadBalancerListenerAclRef" => &["listenerUuid", "aclUuid", "type", "serverGroupUuid"],
        "certificate" => &["uuid", "name", "description"],
        "loadBalancerServerGroup" => &["uuid", "name", "vmNicUuids", "loadBalancerUuid"],
        "vip" => &["uuid", "name", "ip", "useFor", "state", "system", "l3NetworkUuid"],
        "vipQos" => &["uuid", "vipUuid", "port", "inboundBandwidth", "outboundBandwidth"],
        "eip" => &["uuid", "name", "vipIp", "guestIp", "state", "vmNicUuid", "vipUuid"],
        "portForwarding" => &[
            "uuid",
            "name",
            "vipIp",
            "vipPortStart",
            "vipPortEnd",
            "protocolType",
            "guestIp",
            "privatePortStart",
            "state",
        ],
        "systemTag" | "userTag" => &["uuid", "tag", "resourceType", "resourceUuid"],
        "tag" => &["uuid", "type", "tag", "resourceType", "resourceUuid"],
        "resourceConfig" => &["category", "name", "value", "resourceType", "resourceUuid"],
        "account" => &["uuid", "name", "type", "description"],
        "accessKey" => &["uuid", "AccessKeyID", "state", "accountUuid", "description"],
        "apiToken" => &["uuid", "name", "scopes", "expirationDate", "accountUuid"],
        "policy" => &["uuid", "name", "statements", "description"],
        "role" => &["uuid", "name", "statements", "policies", "description"],
        "accountResourceRef" => &["resourceUuid", "resourceType", "accountUuid"],
        "sharedResource" => &["resourceUuid", "resourceType", "receiverAccountUuid", "toPublic", "ownerAccountUuid"],
        "securityGroup" => &["uuid", "name", "state", "ipVersion", "rules.dstPortRange", "description"],
        "securityGroupRule" => &[
            "uuid",
            "type",
            "priority",
            "action",
            "protocol",
            "dstPortRange",
            "srcIpRange",
            "dstIpRange",
            "remoteSecurityGroupUuid",
            "state",
        ],
        "vmNicInSecurityGroup" => &["vmNicUuid", "securityGroupUuid", "priority", "vmInstanceUuid"],
        "vmNicSecurityPolicy" => &["vmNicUuid", "ingressPolicy", "egressPolicy"],
        "quota" => &["name", "value", "identityUuid"],
        "globalConfig" => &["category", "name", "value", "defaultValue", "description"],
        _ => &["uuid", "name", "state", "status"],
    }
}

/// A table, and the columns that had no room.
pub struct Rendered {
    /// The lines, each with its end.
    pub text: String,
    /// What was left out.
    pub left_out: Vec<String>,
}

/// Rows under a header. Without a width every column is shown in full, for pipes.
pub fn rows<C: AsRef<str>>(items: &[Value], columns: &[C], width: Option<u16>) -> Rendered {
    let names = columns.iter().map(AsRef::as_ref);
    let shown: Vec<&str> = names.filter(|name| items.iter().any(|item| !path(item, name).is_null())).collect();
    if shown.is_empty() {
        return Rendered { text: String::new(), left_out: vec![] };
    }
    let line = |text: String| if text.contains('\n') { text.replace('\n', " ") } else { text };
    let all: Vec<Vec<String>> =
        items.iter().map(|item| shown.iter().map(|name| line(cell(&path(item, name)))).collect()).collect();
    let fitted = fit(&shown, &all, width.map_or(usize::MAX, usize::from));
    let pick = |row: &[&str]| fitted.iter().map(|(at, room)| cut(row[*at], *room)).collect::<Vec<String>>();
    let left_out = (0..shown.len()).filter(|at| fitted.iter().all(|(fitting, _)| fitting != at));
    let left_out = left_out.map(|at| shown[at].to_string()).collect();
    let mut cells = vec![pick(&shown)];
    cells.extend(all.iter().map(|row| pick(&row.iter().map(String::as_str).collect::<Vec<_>>())));
    let text = aligned(&cells).iter().map(|line| format!("{line}\n")).collect();
    Rendered { text, left_out }
}

/// Which columns have room, and how much: each in its turn, if it fits beside those before it. What does not is cut and is the last, unless it
/// is to be copied or would say nothing: then what comes after it may have the room.
fn fit(names: &[&str], cells: &[Vec<String>], width: usize) -> Vec<(usize, usize)> {
    let mut fitted: Vec<(usize, usize)> = vec![];
    let mut used = 0;
    for at in 0..names.len() {
        let widest = cells.iter().map(|row| wide(&row[at])).max().unwrap_or(0).max(names[at].len());
        let gap = if fitted.is_empty() { 0 } else { GAP };
        let room = width.saturating_sub(used + gap);
        if fitted.is_empty() || widest <= room {
            used += gap + widest;
            fitted.push((at, widest));
        } else if room >= CUT_MIN.max(names[at].len()) && !cells.iter().any(|row| is_uuid(&row[at])) {
            fitted.push((at, room));
            break;
        }
    }
    fitted
}

/// Between two columns.
const GAP: usize = 2;

/// One thing, a line for each field: uuid and name first, then by name.
pub fn pairs(value: &Value, width: Option<u16>) -> String {
    let empty = Map::new();
    let map = value.as_object().unwrap_or(&empty);
    let rank = |key: &str| match key {
        "uuid" => 0,
        "name" => 1,
        _ => 2,
    };
    let mut keys: Vec<&String> = map.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key).collect();
    keys.sort_by_key(|key| (rank(key), *key));
    let cells: Vec<Vec<String>> = keys.into_iter().map(|key| vec![clean(key), cell(&map[key])]).collect();
    if cells.is_empty() {
        return String::new();
    }
    let mut table = plain(width);
    table.add_rows(&cells);
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    text(&table)
}

fn plain(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    match width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table
}

fn text(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end())).collect()
}

/// A column that is narrower says nothing.
const CUT_MIN: usize = 8;

fn is_uuid(text: &str) -> bool {
    text.parse::<switchback_events::Id>().is_ok()
}

/// Text in lines that are no longer than this, broken between words.
pub fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if wide(line) + 1 + wide(word) <= room => *line += &format!(" {word}"),
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// A line, cut where there is no more room.
pub fn cut(text: &str, room: usize) -> String {
    let text = text.lines().next().unwrap_or_default();
    if wide(text) <= room {
        return text.to_string();
    }
    let mut left = room.saturating_sub(1);
    let fits = |c: &char| {
        let has_room = UnicodeWidthChar::width(*c).unwrap_or(0) <= left;
        left = left.saturating_sub(UnicodeWidthChar::width(*c).unwrap_or(0));
        has_room
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// How many columns of a terminal a text takes: Chinese signs take two.
fn wide(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Lines with what stands below each other aligned.
pub fn aligned(cells: &[Vec<String>]) -> Vec<String> {
    let widest = |at: usize| cells.iter().filter_map(|row| row.get(at)).map(|text| wide(text)).max();
    let line = |row: &Vec<String>| {
        let padded = row.iter().enumerate().map(|(at, text)| {
            let gap = widest(at).unwrap_or(0).saturating_sub(wide(text));
            format!("{text}{:gap$}", "")
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    cells.iter().map(line).collect()
}

/// `vmNics.ip`: the `ip` of each of `vmNics`.
fn path(item: &Value, name: &str) -> Value {
    if let Some(value) = item.get(name) {
        return value.clone();
    }
    let Some((head, rest)) = name.split_once('.') else { return Value::Null };
    match item.get(head) {
        Some(Value::Array(items)) if !items.is_empty() => items.iter().map(|item| path(item, rest)).collect(),
        Some(inner @ Value::Object(_)) => path(inner, rest),
        _ => Value::Null,
    }
}

/// What stands in a cell.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_string(),
        Value::String(text) => clean(text),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items.iter().map(brief).collect::<Vec<_>>().join("\n")
        }
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => clean(&other.to_string()),
    }
}

/// A thing within another one: what it says, where that is known, else all of it.
fn brief(item: &Value) -> String {
    match (&item["effect"], &item["actions"], &item["policyUuid"]) {
        (Value::String(effect), Value::Array(actions), _) => {
            let actions: Vec<String> = actions.iter().map(cell).collect();
            clean(&format!("{effect} {}", actions.join(",")))
        }
        (_, _, Value::String(policy)) => clean(policy),
        _ => clean(&item.to_string()),
    }
}

/// Without what could move a terminal's cursor or change its title.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn statements_and_policies_are_shown_in_a_word_each() {
        let role = json!([{"uuid": "u", "effect": "Allow", "actions": ["read", "Stop*"]}, {"x": 1}]);
        assert_eq!(cell(&role), "Allow read,Stop*\n{\"x\":1}");
        assert_eq!(cell(&json!([{"policyUuid": "p", "roleUuid": "r"}])), "p");
    }

    fn routers() -> Vec<Value> {
        vec![
            json!({
                "uuid": "0123456789abcdef0123456789abcdef", "name": "edge", "state": "Running",
                "status": "Connected", "vmNics": [{"ip": "10.0.0.1"}, {"ip": "192.168.0.1"}],
                "hostUuid": "f123456789abcdef0123456789abcdef",
            }),
            json!({"uuid": "1123456789abcdef0123456789abcdef", "name": "evil\u{1b}[2J", "state": "Stopped"}),
        ]
    }

    #[test]
    fn a_pipe_gets_every_column() {
        let rendered = rows(&routers(), columns("virtualRouter"), None);
        let expected = "\
uuid                              name      state    status     vmNics.ip             hostUuid
0123456789abcdef0123456789abcdef  edge      Running  Connected  10.0.0.1,192.168.0.1  f123456789abcdef0123456789abcdef
1123456789abcdef0123456789abcdef  evil\u{fffd}[2J  Stopped  -          -                     -
";
        assert_eq!(rendered.text, expected);
        assert!(rendered.left_out.is_empty());
    }

    #[test]
    fn a_narrow_terminal_loses_the_last_columns_and_no_uuid_breaks() {
        let rendered = rows(&routers(), columns("virtualRouter"), Some(66));
        let expected = "\
uuid                              name      state    status
0123456789abcdef0123456789abcdef  edge      Running  Connected
1123456789abcdef0123456789abcdef  evil\u{fffd}[2J  Stopped  -
";
        assert_eq!(rendered.text, expected);
        assert_eq!(rendered.left_out, ["vmNics.ip", "hostUuid"]);
        for width in [1, 20, 36, 40, 80, 120, 500] {
            let text = rows(&routers(), columns("virtualRouter"), Some(width)).text;
            assert!(text.contains("0123456789abcdef0123456789abcdef"), "{width}:\n{text}");
        }
    }

    #[test]
    fn the_first_column_without_room_is_cut_where_it_is_not_to_be_copied() {
        let event = |name: &str| json!({"position": 1, "event": "zone.Created", "name": name, "reason": "because"});
        let rendered =
            rows(&[event("a-rather-long-name"), event("z")], &["position", "event", "name", "reason"], Some(34));
        let expected = "\
position  event         name
1         zone.Created  a-rather-…
1         zone.Created  z
";
        assert_eq!((rendered.text.as_str(), rendered.left_out), (expected, vec!["reason".to_string()]));
    }

    #[test]
    fn signs_that_take_two_columns_are_counted_so() {
        let zone = |name: &str| json!({"name": name, "state": "Enabled", "description": "生产网络生产网络"});
        let rendered = rows(&[zone("上海"), zone("east")], &["name", "state", "description"], Some(29));
        let expected = "\
name  state    description
上海  Enabled  生产网络生产…
east  Enabled  生产网络生产…
";
        assert_eq!(rendered.text, expected);
    }

    #[test]
    fn one_thing_is_a_line_for_each_field() {
        let value = json!({
            "state": "Enabled", "name": "web", "uuid": "0123456789abcdef0123456789abcdef", "description": null,
            "dns": ["1.1.1.1", "8.8.8.8"], "ipRanges": [{"a": 1}, {"b": 2}],
        });
        let expected = "\
uuid      0123456789abcdef0123456789abcdef
name      web
dns       1.1.1.1,8.8.8.8
ipRanges  {\"a\":1}
          {\"b\":2}
state     Enabled
";
        assert_eq!(pairs(&value, None), expected);
        assert_eq!(pairs(&json!({}), None), "");
        assert_eq!(rows(&[], columns("zone"), None).text, "");
    }
}
