//! The parser by tables, and by very many inputs.

use super::*;

const LENGTHS: Lengths = Lengths { line: 64, payload: 100 };

/// All that comes out of `stream`, cut at `cuts`.
fn all(stream: &[u8], cuts: impl IntoIterator<Item = usize>) -> (Vec<Op>, Option<Fault>) {
    let (mut parser, mut bytes, mut ops) = (Parser::default(), BytesMut::new(), vec![]);
    let mut from = 0;
    for to in cuts.into_iter().chain([stream.len()]) {
        bytes.extend_from_slice(&stream[from..to]);
        from = to;
        loop {
            match parser.next(&mut bytes, LENGTHS) {
                Ok(Some(op)) => ops.push(op),
                Ok(None) => break,
                Err(fault) => return (ops, Some(fault)),
            }
        }
    }
    (ops, None)
}

fn whole(stream: &str) -> (Vec<Op>, Option<Fault>) {
    all(stream.as_bytes(), [])
}

fn sub(subject: &str, queue: Option<&str>, sid: &str) -> Op {
    Op::Sub { subject: subject.into(), queue: queue.map(Into::into), sid: sid.into() }
}

fn message(subject: &str, reply: Option<&str>, headers: usize, body: &str) -> Op {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Op::Pub(Message { subject: subject.into(), reply: reply.map(Into::into), headers, body })
}

#[test]
fn each_operation_is_read() {
    let unsub = |sid: &str, max| Op::Unsub { sid: sid.into(), max };
    for (said, op) in [
        ("PING\r\n", Op::Ping),
        ("pInG\n", Op::Ping),
        ("PONG\r\n", Op::Pong),
        ("SUB a.b 1\r\n", sub("a.b", None, "1")),
        ("sub \t a.*.>  workers\tx9 \r\n", sub("a.*.>", Some("workers"), "x9")),
        ("UNSUB 1\r\n", unsub("1", None)),
        ("UNSUB 1 5\r\n", unsub("1", Some(5))),
        ("PUB a 0\r\n\r\n", message("a", None, 0, "")),
        ("PUB a b 5\r\nPI\r\nN\r\n", message("a", Some("b"), 0, "PI\r\nN")),
        ("HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", message("a", None, 12, "NATS/1.0\r\n\r\nhi")),
        ("HPUB a b 12 12\r\nNATS/1.0\r\n\r\n\r\n", message("a", Some("b"), 12, "NATS/1.0\r\n\r\n")),
        ("INFO {}\r\n", Op::Nothing),
        ("+OK\r\n", Op::Nothing),
        ("-ERR 'x'\r\n", Op::Nothing),
        ("CONNECT {}\r\n", Op::Connect(Box::default())),
    ] {
        assert_eq!(whole(said), (vec![op], None), "{said:?}");
    }
    let (ops, _) = whole("CONNECT {\"verbose\":false,\"auth_token\":\"t\",\"x\":true}\r\n");
    let Some(Op::Connect(hello)) = ops.first() else { panic!("{ops:?}") };
    assert_eq!((hello.verbose, hello.auth_token.as_deref()), (false, Some("t")));
    assert!(!format!("{hello:?}").contains("auth_token"));
}

#[test]
fn what_is_none_is_named() {
    use Fault::*;
    let long = format!("SUB {} 1\r\n", "a".repeat(64));
    let endless = "SUB ".to_string() + &"a".repeat(64);
    for (said, fault) in [
        ("FOO\r\n", Unknown),
        ("G", Unknown),
        ("GET / HTTP/1.1\r\n", Unknown),
        ("\r\n", Unknown),
        ("\u{16}\u{3}\u{1}", Unknown),
        ("PUBLISH a 1\r\n", Unknown),
        ("PUB a 1\r\nabc\r\n", Unknown),
        ("CONNECT {bad}\r\n", Malformed),
        ("CONNECT {\"verbose\":1}\r\n", Malformed),
        ("SUB\r\n", Malformed),
        ("SUB a\r\n", Malformed),
        ("SUB a b c d\r\n", Malformed),
        ("UNSUB\r\n", Malformed),
        ("UNSUB 1 x\r\n", Malformed),
        ("PUB a\r\n", Malformed),
        ("PUB a x\r\n", Malformed),
        ("PUB a -1\r\n", Malformed),
        ("PUB a +1\r\n", Malformed),
        ("PUB a b c 1\r\n", Malformed),
        ("HPUB a 5 3\r\n", Malformed),
        ("HPUB a 0 3\r\n", Malformed),
        ("HPUB a 5\r\n", Malformed),
        ("PUB a 101\r\n", Payload),
        ("PUB a 99999999999999999999999\r\n", Payload),
        (&long, Line),
        (&endless, Line),
    ] {
        assert_eq!(whole(said), (vec![], Some(fault)), "{said:?}");
    }
}

#[test]
fn headers_are_read_as_they_are_written() {
    let headers = Headers::new().with("Nats-Msg-Id", "1").with("X-Reason", "a: b").with("x-reason", "c");
    let mut text = String::new();
    headers.write(&mut text);
    assert_eq!(text, "NATS/1.0\r\nNats-Msg-Id: 1\r\nX-Reason: a: b\r\nx-reason: c\r\n\r\n");
    assert_eq!(Headers::parse(text.as_bytes()), Some(headers));
    assert_eq!(Headers::parse(b"NATS/1.0\r\n\r\n"), Some(Headers::new()));
    assert_eq!(Headers::parse(b"NATS/1.0 503\r\nA:b\r\n\r\n"), Some(Headers::new().with("A", "b")));
    for wrong in [
        "",
        "NATS/1.0\r\n",
        "NATS/2.0\r\n\r\n",
        "NATS/1.0x\r\n\r\n",
        "NATS/1.0\r\nx\r\n\r\n",
        "NATS/1.0\r\n:x\r\n\r\n",
        "NATS/1.0\r\na:b\nc:d\r\n\r\n",
        "NATS/1.0\r\na:b\r\n",
    ] {
        assert_eq!(Headers::parse(wrong.as_bytes()), None, "{wrong:?}");
    }
    let mut text = String::new();
    Headers::new().with("A", "b\r\nC: d").write(&mut text);
    assert_eq!(text, "NATS/1.0\r\nA: bC: d\r\n\r\n");
}

/// Valid operations, some of which are then damaged; each stream is read whole and cut at random places.
#[test]
fn whatever_comes_and_however_it_is_cut_the_same_comes_out() {
    let full = std::env::var_os("SWITCHBACK_FULL").is_some();
    let inputs: u64 = if full { 1_000_000 } else { 20_000 };
    let seed = std::env::var("SWITCHBACK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let (mut ops, mut faults) = (0, 0);
    for input in seed..seed + inputs {
        let mut draw = fastrand::Rng::with_seed(input);
        let mut stream: Vec<u8> = (0..draw.usize(1..8)).flat_map(|_| one(&mut draw)).collect();
        for _ in 0..draw.usize(0..4) {
            damage(&mut stream, &mut draw);
        }
        let expected = all(&stream, []);
        let mut cuts: Vec<usize> = (0..draw.usize(0..12)).map(|_| draw.usize(0..=stream.len())).collect();
        cuts.sort_unstable();
        let cut = all(&stream, cuts.iter().copied());
        assert_eq!(cut, expected, "input {input}, {cuts:?}: {:?}", String::from_utf8_lossy(&stream));
        let bytewise = all(&stream, 0..stream.len());
        assert_eq!(bytewise, expected, "input {input}: {:?}", String::from_utf8_lossy(&stream));
        for op in &expected.0 {
            if let Op::Pub(message) = op {
                assert!(message.body.len() <= LENGTHS.payload && message.headers <= message.body.len());
                let _ = message.parts();
            }
        }
        ops += expected.0.len();
        faults += usize::from(expected.1.is_some());
    }
    // Otherwise the inputs are no test of anything.
    assert!(ops as u64 > inputs && faults as u64 > inputs / 10, "{ops} operations, {faults} faults");
}

fn one(draw: &mut fastrand::Rng) -> Vec<u8> {
    let word = |draw: &mut fastrand::Rng| -> String {
        let parts = ["a", "bc", "*", ">", "switchback", "evt", "_INBOX", "x1", ""];
        let words: Vec<&str> = (0..draw.usize(1..4)).map(|_| parts[draw.usize(0..parts.len())]).collect();
        words.join(".")
    };
    let (a, b) = (word(draw), word(draw));
    let body: Vec<u8> = (0..draw.usize(0..40)).map(|_| draw.u8(..)).collect();
    let text = match draw.u8(0..12) {
        0 => "PING\r\n".to_string(),
        1 => "PONG\r\n".to_string(),
        2 => format!("SUB {a} {}\r\n", draw.u16(..)),
        3 => format!("SUB {a} q {}\r\n", draw.u16(..)),
        4 => format!("UNSUB {}\r\n", draw.u16(..)),
        5 => format!("UNSUB {} {}\r\n", draw.u16(..), draw.u16(..)),
        6 => "CONNECT {\"verbose\":false,\"user\":\"u\"}\r\n".to_string(),
        7 => "+OK\r\n".to_string(),
        kind => {
            let headers = if kind > 9 { "NATS/1.0\r\nA: b\r\n\r\n" } else { "" };
            let (length, reply) = (headers.len() + body.len(), if kind % 2 == 0 { "" } else { &b });
            let mut bytes = match kind > 9 {
                true => format!("HPUB {a} {reply} {} {length}\r\n{headers}", headers.len()),
                false => format!("PUB {a} {reply} {length}\r\n"),
            }
            .into_bytes();
            bytes.extend(body);
            bytes.extend(b"\r\n");
            return bytes;
        }
    };
    text.into_bytes()
}

fn damage(stream: &mut Vec<u8>, draw: &mut fastrand::Rng) {
    if stream.is_empty() {
        return;
    }
    let at = draw.usize(0..stream.len());
    match draw.u8(0..5) {
        0 => stream[at] = draw.u8(..),
        1 => drop(stream.remove(at)),
        2 => stream.insert(at, b" \r\n\t9\xff\x00"[draw.usize(0..7)]),
        3 => stream.truncate(at),
        _ => {
            let part: Vec<u8> = stream[at..(at + draw.usize(0..20)).min(stream.len())].to_vec();
            stream.splice(at..at, part);
        }
    }
}
