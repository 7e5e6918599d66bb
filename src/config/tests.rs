//! What a file, the environment and flags say, and what is wrong with it.

use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn what_is_nearer_to_the_user_wins() {
    let file =
        file("[listen]\naddress = '127.0.0.1:1'\nworkers = 0x3\n[log]\nfilter = \"warn\"\n[agents]\nsimulate = true\n");
    let environment = variables(&[
        ("SWITCHBACK__LISTEN__ADDRESS", "[::1]:2"),
        ("SWITCHBACK_LOG", "error"),
        ("SWITCHBACK_DATA", "a"),
        ("SWITCHBACK__DATA__DIRECTORY", "b"),
        ("SWITCHBACK_TOKEN", "is no setting"),
    ]);
    let flags = vec![("listen", "address", "127.0.0.1:3".to_string(), "--listen")];
    let configuration = Configuration::load(Some(file.path()), &environment, &flags).unwrap();
    let settings = configuration.settings().unwrap();
    assert_eq!(settings.listen.address.to_string(), "127.0.0.1:3");
    assert_eq!((settings.listen.workers, settings.agents.simulate, settings.agents.netns), (3, true, None));
    assert_eq!((settings.data.directory.to_str(), settings.log.filter.as_str()), (Some("b"), "error"));
    let source = |name: &str| configuration.rows().find(|(setting, ..)| setting.name() == name).unwrap().2.to_string();
    assert_eq!(source("listen.address"), "--listen");
    assert_eq!(source("listen.workers"), format!("{}:3", file.path().display()));
    assert_eq!(source("data.directory"), "SWITCHBACK__DATA__DIRECTORY");
    assert_eq!(source("log.filter"), "SWITCHBACK_LOG");
    assert_eq!(source("log.format"), "default");
}

#[test]
fn all_that_is_wrong_is_named_with_its_place_and_what_would_be_right() {
    let file = file(
        "surprise = 1\n[listen]\naddres = \"127.0.0.1:1\"\nworkers = \"2\"\n[log]\nformat = \"xml\"\n\n[limit]\nbody_bytes = 1\n\
         [limits]\nbody_bytes = 1\nhead_seconds = [\n  1,\n]\n[agents]\nnetns = \"a b\"\n",
    );
    let environment = variables(&[("SWITCHBACK__LOG__FILTR", "info"), ("SWITCHBACK__LOG__FILTER", "a=b=c")]);
    let faults = Configuration::load(Some(file.path()), &environment, &vec![]).unwrap_err();
    let name = file.path().display().to_string();
    let faults: Vec<String> = faults.iter().map(|fault| fault.to_string().replace(&name, "F")).collect();
    let expected = [
        "F:16: agents.netns = `a b`: at most 64 letters",
        "F:8: there is no `limit`; did you mean limits?",
        "F:11: limits.body_bytes = `1`: a whole number from 1024 to 67108864",
        "F:12: limits.head_seconds = [\n  1,\n]: a whole number from 1 to 3600",
        "F:3: there is no `listen.addres`; did you mean listen.address?",
        "F:4: listen.workers = \"2\": a whole number from 1 to 256",
        "F:6: log.format = `xml`: one of \"text\", \"json\"",
        "F:1: there is no `surprise`; there are listen, ",
        "SWITCHBACK__LOG__FILTR: there is no `SWITCHBACK__LOG__FILTR`; did you mean SWITCHBACK__LOG__FILTER?",
        "SWITCHBACK__LOG__FILTER: log.filter = `a=b=c`: levels",
    ];
    for expected in expected {
        assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected}\n{faults:#?}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
}

#[test]
fn a_file_that_cannot_be_read_and_one_that_is_not_toml_are_named() {
    let faults = Configuration::load(Some(Path::new("/nowhere/x.toml")), &[], &vec![]).unwrap_err();
    assert!(faults[0].to_string().starts_with("--config: read the file `/nowhere/x.toml`: No such file"), "{faults:?}");
    let file = file("[listen]\n\naddress = = 1\n");
    let faults = Configuration::load(Some(file.path()), &[], &vec![]).unwrap_err();
    assert!(faults[0].to_string().contains(":3: not TOML: "), "{faults:?}");
    let twice = self::file("[listen]\nworkers = 1\nworkers = 2\n");
    let faults = Configuration::load(Some(twice.path()), &[], &vec![]).unwrap_err();
    assert!(faults[0].to_string().contains(":3: not TOML: duplicate key"), "{faults:?}");
}

#[test]
fn the_sample_says_the_defaults() {
    let commented = sample();
    let text: Vec<&str> = commented
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .collect();
    let sample = file(&text.join("\n"));
    let said = Configuration::load(Some(sample.path()), &[], &vec![]).unwrap();
    let silent = Configuration::load(Some(file(&commented).path()), &[], &vec![]).unwrap();
    assert_eq!(said.settings().unwrap(), silent.settings().unwrap());
    assert!(said.rows().all(|(_, _, source)| matches!(source, Source::File(..))), "every setting is in the sample");
    assert!(silent.rows().all(|(_, _, source)| *source == Source::Default));
}

#[test]
fn nothing_goes_over_a_network_in_clear_unless_told_so() {
    let load = |text: &str| Configuration::load(Some(file(text).path()), &[], &vec![]);
    for (text, expected) in [
        ("[listen]\naddress = '0.0.0.0:80'\n", "tls.key, or listen on 127.0.0.1"),
        ("[tls]\ncertificate = 'c'\n", "tls.certificate = `c`: give tls.key, too, or neither"),
        ("[tls]\nkey = 'k'\n", "tls.key = `k`: give tls.certificate, too, or neither"),
        (
            "[bus]\nnats = 'nats://[::1]:4222,nats://nats.example:4222'\n",
            "bus.nats = `nats://nats.example:4222`: tokens would",
        ),
    ] {
        let faults = load(text).unwrap_err();
        assert!(faults.len() == 1 && faults[0].what.contains(expected), "{text}: {faults:?}");
    }
    for text in [
        "[listen]\naddress = '[::1]:80'\n",
        "[listen]\naddress = '0.0.0.0:80'\ninsecure = true\n",
        "[bus]\nnats = 'nats://localhost:4222,nats://127.0.0.1:1,nats://[::1]:4222,tls://nats.example:4222'\n",
        "[bus]\nnats = 'nats://nats.example:4222'\nnats_insecure = true\n",
        "[bus]\nnats = 'nats://nats.example:4222'\nnats_authority = 'ca.pem'\n",
        "[listen]\naddress = '0.0.0.0:80'\n[tls]\ncertificate = 'c'\nkey = 'k'\n",
    ] {
        load(text).unwrap();
    }
}

#[test]
fn the_address_of_a_nats_server_holds_no_secret_and_nothing_strange() {
    for text in [
        "nats",
        "nats://",
        "nats://h",
        "nats://h:0",
        "nats://h:65536",
        "nats://h:+1",
        "nats://u:p@h:4222",
        "http://h:1",
        "ws://h:1",
        "nats://h:1/x",
        "nats://-h:1",
        "nats://a b:1",
        "nats://[::g]:1",
        "nats://h:1,",
        "nats://h\u{e9}:1",
        "nats://h\n:1",
    ] {
        assert!(!Right::NatsServers.accepts(text), "{text:?}");
    }
    for text in ["", "nats://h:1", "tls://nats-1.example.com:4222,nats://[::1]:4222"] {
        assert!(Right::NatsServers.accepts(text), "{text:?}");
    }
    for (text, right) in
        [("off", true), ("SWITCHBACK_2", true), ("", false), ("a.b", false), ("a b", false), ("*", false)]
    {
        assert_eq!(Right::Stream.accepts(text), right, "{text:?}");
    }
}
