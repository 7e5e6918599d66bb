//! What no compiler checks: the arrows between crates, the stems of concepts, the form of files, the links between
//! documents, and that generated documents are current. `UPDATE_GOLDEN=1` writes the generated documents again.
//!
//! Not here: formatting and lints, which `./test.sh` asks rustfmt and clippy about.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use switchback::config::{SETTINGS, sample};
use switchback_bus::{
    COMMANDS, COMMON, DELETE_MODE, GLOBAL_CONFIGS, LATER_TAGS, METRICS, Message, Parameter, QUERIES, READS,
    RESOURCE_TYPES, SYSTEM_TAGS, TagNumber, TagOrigin, creates,
};
use switchback_events::StreamKind;
use switchback_projections::catalogue::KINDS;

#[path = "tidy/refusals.rs"]
mod refusals;
#[path = "acceptance/rows.rs"]
mod rows;
#[path = "tidy/schemas.rs"]
mod schemas;

/// Which of our crates each crate may import.
const ARROWS: &[(&str, &[&str])] = &[
    ("events", &[]),
    ("bus", &["events"]),
    ("journal", &["events"]),
    ("snapshots", &["events"]),
    ("appliance", &["events"]),
    ("actors", &["events", "bus", "journal", "snapshots", "appliance"]),
    ("projections", &["events", "journal"]),
    ("agent", &["events", "appliance"]),
    ("bus/nats", &["events", "bus"]),
    ("gateway", &["events", "bus"]),
    (".", &["events", "bus", "nats", "journal", "snapshots", "appliance", "actors", "projections", "agent", "gateway"]),
];

/// The layers in which a concept has a file of its stem.
const LAYERS: &[&str] = &["events", "bus", "actors", "projections"];

/// Concepts that have no file in a layer, and why.
const NO_FILE: &[(&str, &str, &str)] =
    &[("bus", "mac_block", "nobody asks for a MAC block: nics take from it and give back")];

/// A file with more lines holds a second concept.
const MAX_LINES: usize = 800;
/// An architecture decision record is one page.
const MAX_RECORD_LINES: usize = 50;

/// Nobody reads pages while they are written again.
static PAGES: Mutex<()> = Mutex::new(());

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("read `{}`: {error}", path.display()))
}

/// The repository's files that end in `extension`, relative to its root.
fn files(extension: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    walk(&path, extension, found);
                }
            } else if path.extension().is_some_and(|own| own == extension) && !name.starts_with('.') {
                found.push(path.strip_prefix(root()).unwrap().to_path_buf());
            }
        }
    }
    let mut found = Vec::new();
    walk(root(), extension, &mut found);
    found.sort();
    assert!(!found.is_empty(), "there are files that end in .{extension}");
    found
}

#[track_caller]
fn all_well(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn crates_import_only_along_the_arrows() {
    let mut faults = Vec::new();
    let members: BTreeSet<&str> = ARROWS.iter().map(|(member, _)| *member).collect();
    for path in files("toml").iter().filter(|path| path.ends_with("Cargo.toml")) {
        let folder = path.parent().and_then(Path::to_str).filter(|folder| !folder.is_empty()).unwrap_or(".");
        if !members.contains(folder) {
            faults.push(format!("{}: a crate that ARROWS does not know", path.display()));
        }
    }
    for (member, allowed) in ARROWS {
        for import in imports(&read(Path::new(member).join("Cargo.toml"))) {
            if !allowed.contains(&import.as_str()) {
                faults.push(format!("{member}/Cargo.toml imports switchback-{import}, which it may not"));
            }
        }
    }
    all_well(faults);
}

/// Our crates among the dependencies of a manifest, those of tests and builds included.
fn imports(manifest: &str) -> BTreeSet<String> {
    let mut imports = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section.contains("dependencies") && !section.starts_with("workspace");
            if let Some((_, import)) = section.split_once("dependencies.switchback-").filter(|_| inside) {
                imports.insert(import.to_string());
            }
        } else if let Some(import) = line.strip_prefix("switchback-").filter(|_| inside) {
            imports.insert(import.split(['.', ' ', '=']).next().unwrap_or_default().to_string());
        }
    }
    imports
}

/// Every kind of stream. The compiler asks for a new one here.
fn kinds() -> Vec<StreamKind> {
    use StreamKind::*;
    let next = |kind| match kind {
        Zone => Some(Cluster),
        Cluster => Some(Host),
        Host => Some(Image),
        Image => Some(L2Network),
        L2Network => Some(L3Network),
        L3Network => Some(IpRange),
        IpRange => Some(MacBlock),
        MacBlock => Some(NetworkServiceProvider),
        NetworkServiceProvider => Some(Offering),
        Offering => Some(VmInstance),
        VmInstance => Some(Router),
        Router => Some(LoadBalancer),
        LoadBalancer => Some(Certificate),
        Certificate => Some(AccessControlList),
        AccessControlList => Some(Vip),
        Vip => Some(Eip),
        Eip => Some(PortForwarding),
        PortForwarding => Some(TagSet),
        TagSet => Some(GlobalConfig),
        GlobalConfig => Some(ResourceConfig),
        ResourceConfig => Some(Account),
        Account => Some(Policy),
        Policy => Some(Role),
        Role => Some(Ownership),
        Ownership => Some(SecurityGroup),
        SecurityGroup => None,
    };
    std::iter::successors(Some(Zone), |kind| next(*kind)).collect()
}

#[test]
fn every_concept_has_a_file_of_its_stem_in_every_layer() {
    let mut faults = Vec::new();
    for layer in LAYERS {
        for stem in kinds().into_iter().map(StreamKind::stem) {
            let source = root().join(layer).join("src");
            let there = source.join(format!("{stem}.rs")).exists() || source.join(stem).join("mod.rs").exists();
            let excused = NO_FILE.iter().any(|(in_layer, of, _)| (in_layer, *of) == (layer, stem));
            match (there, excused) {
                (false, false) => faults.push(format!("{layer}/src/{stem}.rs is missing")),
                (true, true) => faults.push(format!("{layer}/src/{stem}.rs is there: take it off NO_FILE")),
                _ => {}
            }
        }
    }
    all_well(faults);
}

#[test]
fn source_files_say_what_they_are_for_and_stay_short() {
    let mut faults = Vec::new();
    for path in files("rs") {
        let text = read(&path);
        if !text.starts_with("//!") {
            faults.push(format!("{} does not open with `//!`", path.display()));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            faults.push(format!("{} has {lines} lines, more than {MAX_LINES}", path.display()));
        }
    }
    all_well(faults);
}

#[test]
fn source_files_have_no_words_that_are_not_meant_to_stay() {
    // Put together here, so that this file does not have them either.
    let banned = [
        (["to", "do!("].concat(), "say what is missing as a refusal"),
        (["unimple", "mented!("].concat(), "say what is missing as a refusal"),
        (["db", "g!("].concat(), "use tracing"),
        ([".do_", "send("].concat(), "it ignores the mailbox's bound: use send, which waits"),
    ];
    let mut faults = Vec::new();
    for path in files("rs") {
        for (number, line) in read(&path).lines().enumerate() {
            for (word, instead) in banned.iter().filter(|(word, _)| line.contains(word.as_str())) {
                faults.push(format!("{}:{}: `{word}`: {instead}", path.display(), number + 1));
            }
        }
    }
    all_well(faults);
}

/// The lines of a document outside of fenced code, numbered from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((number + 1, line));
        }
    }
    lines
}

/// The anchors of a document: its own, and those of its headings as the places that show Markdown make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|(_, line)| line.starts_with('#'));
    let anchor = |line: &str| {
        let kept = line.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    let own = text.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_string);
    headings.map(|(_, line)| anchor(line)).chain(own).collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let _alone = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut faults = Vec::new();
    for path in files("md") {
        let text = read(&path);
        for (number, line) in prose(&text) {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
                if !root().join(&file).exists() {
                    faults.push(format!("{}:{number}: there is no `{target}`", path.display()));
                } else if !anchor.is_empty() && !anchors(&read(&file)).contains(anchor) {
                    faults.push(format!("{}:{number}: `{target}` has no such heading", path.display()));
                }
            }
        }
    }
    all_well(faults);
}

#[test]
fn decision_records_are_short_and_numbered_without_gaps() {
    let mut records: Vec<PathBuf> = files("md").into_iter().filter(|path| path.starts_with("docs/adr")).collect();
    records.retain(|path| !path.ends_with("README.md"));
    let mut faults = Vec::new();
    for (at, path) in records.iter().enumerate() {
        let number = format!("{:04}-", at + 1);
        if !path.file_name().unwrap().to_string_lossy().starts_with(&number) {
            faults.push(format!("{}: the next number is {number}", path.display()));
        }
        let lines = read(path).lines().count();
        if lines >= MAX_RECORD_LINES {
            faults.push(format!("{} has {lines} lines: a record is under {MAX_RECORD_LINES}", path.display()));
        }
    }
    all_well(faults);
}

#[test]
fn every_stable_code_is_documented_and_no_other() {
    let source = read("bus/src/refusal.rs");
    let declared = source.lines().filter(|line| line.trim_start().starts_with("pub const "));
    let codes: BTreeSet<&str> = declared.filter_map(|line| line.split('"').nth(1)).collect();
    let page = read("docs/reference/refusals.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<&str> = rows.filter(|word| word.contains('.')).collect();
    assert!(!codes.is_empty());
    assert_eq!(codes, documented, "bus/src/refusal.rs and docs/reference/refusals.md");
}

#[test]
fn generated_documents_are_current() {
    let documents: BTreeMap<&str, String> = BTreeMap::from([
        ("docs/reference/messages.md", messages_page()),
        ("docs/reference/fields.md", fields_page()),
        ("docs/reference/global-config.md", global_config_page()),
        ("docs/reference/configuration.md", configuration_page()),
        ("docs/reference/metrics.md", metrics_page()),
        ("docs/reference/tags.md", tags_page()),
        ("docs/reference/acceptance.md", acceptance_page()),
        ("docs/reference/errors.md", refusals::page()),
        ("docs/reference/events.md", schemas::page()),
        ("docs/reference/asyncapi.json", schemas::document()),
    ]);
    let _alone = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
    for (path, text) in documents {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(root().join(path), &text).unwrap();
        }
        assert!(read(path) == text, "{path} is not current: UPDATE_GOLDEN=1 cargo test --test tidy writes it again");
    }
}

const GENERATED: &str = "<!-- Made from the catalogue by tests/tidy.rs: UPDATE_GOLDEN=1 cargo test --test tidy -->\n";

fn messages_page() -> String {
    let mut page = format!("# Messages\n\n{GENERATED}\n");
    page.push_str(
        "Everything that can be asked, over HTTP and on the command line. A command is `POST /v1/commands/<Name>` \
         with its parameters as one flat JSON object, or `switchback <Name> key=value …`; a query or read is \
         `GET /v1/queries/<Name>`, or the same on the command line. `switchback messages <Name>` prints what is here.\n\n",
    );
    page.push_str("## Contents\n\n");
    for (title, messages) in [("Commands", COMMANDS), ("Queries", QUERIES), ("Reads", READS)] {
        let names = messages.iter().filter(|message| !message.internal);
        let links = names.map(|message| format!("[{}](#{})", message.name, message.name.to_lowercase()));
        writeln!(page, "* {title}: {}", links.collect::<Vec<_>>().join(", ")).unwrap();
    }
    page.push_str("\n## Common parameters\n\nCommands that make a resource also take:\n\n");
    parameters(&mut page, COMMON.iter());
    let takes =
        COMMANDS.iter().filter(|message| message.method == "DELETE").map(|message| format!("`{}`", message.name));
    writeln!(page, "{} also take:\n", takes.collect::<Vec<_>>().join(", ")).unwrap();
    parameters(&mut page, std::iter::once(&DELETE_MODE));
    page.push_str("## Commands\n\n");
    for message in COMMANDS.iter().filter(|message| !message.internal) {
        section(&mut page, message);
    }
    page.push_str(
        "## Queries\n\nAll speak [one language](query.md) and take `q` (a condition, repeatable), `fields`, `sort`, `start`, \
         `limit`, `count`, `replyWithCount`, `groupBy`, `at` and `minPosition`.\n\n| query | answers | for |\n|---|---|---|\n",
    );
    for message in QUERIES {
        let (id, name, who) = (message.name.to_lowercase(), message.name, message.access.words());
        writeln!(page, "| <a id=\"{id}\"></a>`{name}` | {} | {who} |", message.doc).unwrap();
    }
    page.push_str("\n## Reads\n\n");
    for message in READS {
        section(&mut page, message);
    }
    page.push_str(
        "## Reports\n\nOnly the system's own reconcilers send these; to anyone else they do not exist. They are in the \
         log like every command.\n\n",
    );
    for message in COMMANDS.iter().filter(|message| message.internal) {
        section(&mut page, message);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn section(page: &mut String, message: &Message) {
    writeln!(page, "### {}\n\n{}", message.name, words(message.doc)).unwrap();
    if !message.internal {
        writeln!(page, "For {}.", message.access.words()).unwrap();
    }
    if creates(message) {
        page.push_str("Takes the [common parameters](#common-parameters).\n");
    }
    page.push('\n');
    parameters(page, message.parameters.iter());
}

fn parameters<'a>(page: &mut String, parameters: impl Iterator<Item = &'a Parameter>) {
    let mut rows = parameters.peekable();
    if rows.peek().is_none() {
        return;
    }
    page.push_str("| parameter | needed | value | meaning |\n|---|---|---|---|\n");
    for parameter in rows {
        let needed = if parameter.required { "yes" } else { "" };
        let (value, meaning) = (cell(&parameter.check.right()), cell(&words(parameter.doc)));
        writeln!(page, "| `{}` | {needed} | {value} | {meaning} |", parameter.api_name()).unwrap();
    }
    page.push('\n');
}

/// The lines of a doc comment as one.
fn words(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn fields_page() -> String {
    let mut page = format!("# Fields and relations\n\n{GENERATED}\n");
    page.push_str(
        "What [queries](query.md) can ask about. **Bold** fields are found by index. Lists are marked `[]`; embedded \
         relations are in the inventory in full.\n\n",
    );
    for kind in KINDS {
        writeln!(page, "## {}\n", kind.name).unwrap();
        let queries: Vec<String> = kind.queries.iter().map(|query| format!("`{query}`")).collect();
        match queries.is_empty() {
            true => page.push_str("No query of its own: relations lead here.\n\n"),
            false => writeln!(page, "{}\n", queries.join(", ")).unwrap(),
        }
        let fields = kind.fields.iter().filter(|field| !field.hidden).map(|field| {
            let (name, ty) = (field.name, format!("{:?}", field.ty).to_lowercase());
            let ty = ty.strip_suffix('s').map_or_else(|| ty.clone(), |member| format!("{member}[]"));
            match field.indexed || name == "uuid" {
                true => format!("**`{name}`** {ty}"),
                false => format!("`{name}` {ty}"),
            }
        });
        writeln!(page, "Fields: {}", fields.collect::<Vec<_>>().join(", ")).unwrap();
        let relations = kind.relations.iter().map(|relation| {
            let embedded = if relation.embedded { ", embedded" } else { "" };
            format!("`{}` → [{}](#{}){embedded}", relation.name, relation.to, relation.to.to_lowercase())
        });
        let relations: Vec<_> = relations.collect();
        if !relations.is_empty() {
            writeln!(page, "\nRelations: {}", relations.join("; ")).unwrap();
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn global_config_page() -> String {
    let mut page = format!("# Global configuration\n\n{GENERATED}\n");
    page.push_str(
        "Values that hold for the whole system. `switchback QueryGlobalConfig` lists them; they are changed with \
         `switchback UpdateGlobalConfig category=… name=… value=…`, which is in the log like every command.\n\n\
         Resources of the types in the last column may have a value of their own (`UpdateResourceConfig`), the \
         nearest counts; `DeleteResourceConfig` takes it away, and it goes with the resource.\n\n\
         | category | name | default | value | meaning | own values of |\n|---|---|---|---|---|---|\n",
    );
    for entry in GLOBAL_CONFIGS {
        let (value, meaning) = (cell(&entry.check.right()), cell(entry.description));
        let own: Vec<String> = entry.bindable.iter().map(|of| format!("`{of}`")).collect();
        let (category, name, default, own) = (entry.category, entry.name, entry.default, own.join(", "));
        writeln!(page, "| `{category}` | `{name}` | `{default}` | {value} | {meaning} | {own} |").unwrap();
    }
    page
}

fn configuration_page() -> String {
    let generated = GENERATED.replace("the catalogue", "src/config/setting.rs");
    let mut page = format!("# Configuration\n\n{generated}\n");
    page.push_str(
        "What `switchback serve` reads when it starts: a file (`--config FILE` or `SWITCHBACK_CONFIG`), over it the environment, \
         over both the flags. `switchback config check` says whether it is right, `switchback config show` what is in effect and \
         from where. How it is used: [operating a server](../guides/operating.md).\n\n\
         | key | default | value | meaning | variable | flag |\n|---|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let (right, doc) = (cell(&setting.right.words()), cell(&words(setting.doc)));
        let flag = if setting.flag.is_empty() { String::new() } else { format!("`{}`", setting.flag) };
        let (name, default, variable) = (setting.name(), setting.right.toml(setting.default), setting.variable());
        writeln!(page, "| `{name}` | `{default}` | {right} | {doc} | `{variable}` | {flag} |").unwrap();
    }
    write!(page, "\n`SWITCHBACK_DATA` and `SWITCHBACK_LOG` are short for `SWITCHBACK__DATA__DIRECTORY` and `SWITCHBACK__LOG__FILTER`.\n\n\
        ## The file with all defaults\n\n```toml\n{}```\n", sample()).unwrap();
    page
}

fn metrics_page() -> String {
    let generated = GENERATED.replace("the catalogue", "bus/src/measure.rs");
    let mut page = format!("# Metrics\n\n{generated}\n");
    page.push_str(
        "What `/metrics` shows, in Prometheus' text format. It takes an administrator's token, or none with `metrics.open = true` \
         in the [configuration](configuration.md). The values of labels come from lists of the product; no name or id of a user \
         is one.\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in METRICS {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind) = (metric.name, metric.kind.name());
        writeln!(page, "| `{name}` | {kind} | {} | {} |", labels.join(", "), metric.help).unwrap();
    }
    page
}

fn tags_page() -> String {
    let mut page = format!("# System tags\n\n{GENERATED}\n");
    page.push_str(
        "A system tag is read by the system. It has a pattern; what it names must exist, and when that is deleted the \
         tag goes, too. Tags are given with a resource (`systemTags=…`) or later (`CreateSystemTag`), as the last \
         column says. What they are good for: [offerings and tags](../concepts/offering-and-tags.md).\n\n\
         | tag | on | how many | meaning | given |\n|---|---|---|---|---|\n",
    );
    for tag in SYSTEM_TAGS {
        let on: Vec<&str> = tag.on.iter().map(|bearer| bearer.words()).collect();
        let number = match tag.number {
            TagNumber::One => "one",
            TagNumber::OneEach => "one for each network",
            TagNumber::OneEachFamily => "one for each network and family of addresses",
            TagNumber::Many => "any number",
        };
        let origin = match tag.origin {
            TagOrigin::Anyhow => "with the resource or later".to_string(),
            TagOrigin::Creation(commands) => format!("with the resource; later it follows {commands}"),
            TagOrigin::Commands(commands) => format!("by {commands}"),
        };
        writeln!(page, "| `{}` | {} | {number} | {} | {origin} |", tag.pattern(), on.join(", "), tag.description)
            .unwrap();
    }
    page.push_str("\n## Words\n\n| in | word | is |\n|---|---|---|\n");
    for tag in SYSTEM_TAGS {
        for (word, is) in tag.words {
            writeln!(page, "| `{}` | `{word}` | {} |", tag.name, is.right()).unwrap();
        }
    }
    let types: Vec<String> = RESOURCE_TYPES.iter().map(|(name, _)| format!("`{name}`")).collect();
    write!(page, "\n## Resource types\n\n{}; a router is a `VmInstanceVO`.\n", types.join(", ")).unwrap();
    let later: Vec<String> = LATER_TAGS.iter().map(|name| format!("`{name}`")).collect();
    write!(page, "\n## Not supported yet\n\n{}.\n", later.join(", ")).unwrap();
    page
}

/// The tests of the acceptance rows, by row.
fn acceptance_tests() -> BTreeMap<String, Vec<String>> {
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files("rs").iter().filter(|path| path.starts_with("tests/acceptance")) {
        let text = read(path);
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if !line.starts_with("#[") || !line.ends_with("test]") {
                continue;
            }
            // Other attributes may stand between.
            let function = lines.by_ref().find(|line| !line.starts_with("#[")).unwrap_or_default();
            let name = function.trim_start_matches("async ").trim_start_matches("fn ").split('(').next();
            let name = name.unwrap_or_default().to_string();
            let row = name.split('_').next().unwrap_or_default().to_uppercase();
            tests.entry(row).or_default().push(name);
        }
    }
    tests
}

fn acceptance_page() -> String {
    let generated = GENERATED.replace("the catalogue", "tests/acceptance");
    let mut page = format!("# Acceptance\n\n{generated}\n");
    let mut tests = acceptance_tests();
    let (mut sections, mut all, mut tested) = (String::new(), 0, 0);
    for (letter, title, rows) in rows::SECTIONS {
        write!(sections, "\n## {letter}. {title}\n\n| row | what holds | test |\n|---|---|---|\n").unwrap();
        for (number, words) in *rows {
            let row = format!("{letter}{number}");
            let names = tests.remove(&row).map(|names| format!("`{}`", names.join("`, `")));
            all += 1;
            tested += usize::from(names.is_some());
            writeln!(sections, "| {row} | {} | {} |", cell(words), names.as_deref().unwrap_or("open")).unwrap();
        }
    }
    assert!(tests.is_empty(), "tests in tests/acceptance that are of no row in rows.rs: {tests:?}");
    writeln!(
        page,
        "What the network model must do, and the test that shows it through the public interface: \
         `cargo test --test acceptance <test>`, or all of them by `./test.sh`. {tested} of {all} rows have a test; the \
         others are open, most of them because what they are about is not there yet."
    )
    .unwrap();
    page + &sections
}
