//! The manual: every page is there and says nothing that roff takes for a request.

use crate::harness::shell;
use std::collections::BTreeSet;
use switchback_bus::messages;

#[test]
fn there_is_a_page_for_each_command_and_message() {
    let folder = tempfile::tempdir().unwrap();
    let done = shell("switchback", folder.path()).args(["man", "--directory", "man1"]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let pages = std::fs::read_dir(folder.path().join("man1")).unwrap();
    let pages: BTreeSet<String> = pages.map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    for name in ["switchback", "switchback-audit", "switchback-audit-log", "switchback-router-diff", "switchback-man"] {
        assert!(pages.contains(&format!("{name}.1")), "{name}");
    }
    for message in messages() {
        assert_eq!(pages.contains(&format!("switchback-{}.1", message.name)), !message.internal, "{}", message.name);
    }
    // What a line that begins with a point may ask of roff.
    let requests =
        ["TH", "ad", "SH", "SS", "PP", "TP", "IP", "RS", "RE", "nf", "fi", "nh", "hy", "HP", "br", "ie", "el", "\\\""];
    for page in pages {
        let text = std::fs::read_to_string(folder.path().join("man1").join(&page)).unwrap();
        assert!(text.is_ascii(), "{page}: {:?}", text.lines().find(|line| !line.is_ascii()));
        for line in text.lines() {
            let request = line.strip_prefix('.').map(|line| line.split(' ').next().unwrap_or_default());
            assert!(request.is_none_or(|request| requests.contains(&request)), "{page}: {line}");
            assert!(!line.starts_with('\''), "{page}: {line}");
        }
        for section in ["NAME", "SYNOPSIS", "SEE ALSO"] {
            assert!(
                text.contains(&format!(".SH {section}\n")) || text.contains(&format!(".SH \"{section}\"\n")),
                "{page}"
            );
        }
    }
}
