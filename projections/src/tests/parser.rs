//! The parser by itself: the naive evaluator shares it, so comparing answers says nothing about it.

use crate::catalogue::{KINDS, Kind, Ty};
use crate::condition::{Condition, End, Op, STEPS_MAX};
use crate::samples::Random;
use crate::value::Val;
use proptest::prelude::*;

const OPERATORS: &[(&str, Op)] = &[
    ("=", Op::Eq),
    ("!=", Op::Ne),
    (">", Op::Gt),
    (">=", Op::Ge),
    ("<", Op::Lt),
    ("<=", Op::Le),
    ("?=", Op::In),
    ("!?=", Op::NotIn),
    ("~=", Op::Like),
    ("!~=", Op::NotLike),
];

/// A path, the names of its relations, and its last field.
fn random_path(random: &mut Random, kind: &'static Kind) -> (String, Vec<&'static str>, &'static str, Ty) {
    let (mut at, mut hops) = (kind, Vec::new());
    for _ in 0..random.below(STEPS_MAX) {
        if at.relations.is_empty() {
            break;
        }
        let relation = random.pick(at.relations);
        hops.push(relation.name);
        at = relation.target();
    }
    let visible: Vec<_> = at.fields.iter().filter(|field| !field.hidden).collect();
    let (name, ty) = match random.below(6) {
        0 => (*random.pick(&["__userTag__", "__systemTag__"]), Ty::Text),
        _ => {
            let field = random.pick(&visible);
            (field.name, field.ty)
        }
    };
    let path = hops.iter().copied().chain([name]).collect::<Vec<_>>().join(".");
    (path, hops, name, ty)
}

fn value(ty: Ty, text: &str, number: i64) -> (String, Val) {
    match ty {
        Ty::Int => (number.to_string(), Val::Int(number)),
        Ty::Time => (number.to_string(), Val::Int(number)),
        Ty::Bool => match number % 2 == 0 {
            true => (["true", "1"][(number / 2 % 2).unsigned_abs() as usize].to_string(), Val::Int(1)),
            false => (["false", "0"][(number / 2 % 2).unsigned_abs() as usize].to_string(), Val::Int(0)),
        },
        Ty::Uuid | Ty::Uuids => (text.to_string(), Val::Text(text.to_ascii_lowercase().into())),
        Ty::Text | Ty::Texts => (text.to_string(), text.into()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever the value is: operators, quotes and dots in it are the value's, but for what makes `<` a `<=`.
    #[test]
    fn a_condition_that_was_written_is_read_again(seed in any::<u64>(), text in "\\PC{0,12}", number in any::<i64>()) {
        let mut random = Random(seed);
        let kind = *random.pick(KINDS);
        let (path, hops, name, ty) = random_path(&mut random, kind);
        let (sign, op) = *random.pick(OPERATORS);
        let text = if matches!(op, Op::Lt | Op::Gt) { text.trim_start_matches('=') } else { &text };
        let (text, typed) = value(ty, text, number);
        let read = Condition::parse(kind, &format!("{path}{sign}{text}"));
        let no_pattern = matches!(op, Op::Like | Op::NotLike) && matches!(ty, Ty::Bool | Ty::Time);
        if no_pattern {
            prop_assert!(read.unwrap_err().detail.contains("no text"));
            return Ok(());
        }
        let read = read.unwrap_or_else(|bad| panic!("{path}{sign}{text}: {bad:?}"));
        prop_assert_eq!(read.hops.iter().map(|hop| hop.name).collect::<Vec<_>>(), hops);
        match read.end {
            End::Field(field) => prop_assert_eq!(field.name, name),
            End::Tags(tags) => prop_assert_eq!(format!("__{}__", tags.name), name),
            End::Relation(relation) => prop_assert!(false, "{} is a field", relation.name),
        }
        match (op, &*text) {
            (Op::Eq, "null") => prop_assert_eq!((read.op, read.values.len()), (Op::Null, 0)),
            (Op::Ne, "null") => prop_assert_eq!((read.op, read.values.len()), (Op::NotNull, 0)),
            (Op::Like | Op::NotLike, text) => prop_assert_eq!((read.op, read.values), (op, vec![text.into()])),
            (Op::In | Op::NotIn, text) if text.contains(',') => {
                let members: Vec<Val> = text.split(',').map(|member| value(ty, member, number).1).collect();
                prop_assert_eq!((read.op, read.values), (op, members));
            }
            _ => prop_assert_eq!((read.op, read.values), (op, vec![typed])),
        }
    }

    /// A text of any kind is read or refused, with what is wrong of it and not all of it.
    #[test]
    fn no_text_is_too_hostile(
        seed in any::<u64>(),
        text in proptest::collection::vec(prop_oneof![
            Just("name"), Just("vmNics"), Just("."), Just("="), Just("!"), Just("?"), Just("~"), Just("<"), Just("null"),
            Just("__userTag__"), Just("\0"), Just("\u{202e}"), Just("ü"), Just("\""), Just("'"), Just(","), Just(" "),
            Just("%"), Just("\\"), Just("9999999999999999999"), Just("--"), Just("\n"),
        ], 0..24),
    ) {
        let kind = *Random(seed).pick(KINDS);
        if let Err(bad) = Condition::parse(kind, &text.concat()) {
            prop_assert!(!bad.detail.is_empty());
            prop_assert!(bad.field.chars().count() <= 81 && bad.detail.chars().count() < 400, "{:?}", bad);
        }
    }
}

#[test]
fn what_is_long_is_shortened_where_it_is_refused() {
    for text in ["x".repeat(100_000), format!("{}=1", "a.".repeat(50_000)), format!("deviceId={}", "9".repeat(60_000))]
    {
        let kind = crate::catalogue::kind("nic").unwrap();
        let bad = Condition::parse(kind, &text).unwrap_err();
        assert!(bad.to_string().len() < 400 && bad.field.len() < 400, "{}", bad.detail.len());
    }
}

#[test]
fn operators_are_read_as_far_as_they_go() {
    let kind = crate::catalogue::kind("vm").unwrap();
    for (text, op, value) in [
        ("name==x", Op::Eq, "=x"),
        ("name>=<", Op::Ge, "<"),
        ("name!=null ", Op::Ne, "null "),
        ("name=NULL", Op::Eq, "NULL"),
        ("name?=null", Op::In, "null"),
        ("name~=null", Op::Like, "null"),
        ("name!?==", Op::NotIn, "="),
        ("name=", Op::Eq, ""),
        ("name=a=b.c>d", Op::Eq, "a=b.c>d"),
    ] {
        let read = Condition::parse(kind, text).unwrap();
        assert_eq!((read.op, read.values), (op, vec![value.into()]), "{text}");
    }
    for text in
        ["", "=", "name", "name!x", "name !=x", " name=x", "name.=x", ".name=x", "näme=x", "name~x", "vmNics..mac=x"]
    {
        Condition::parse(kind, text).unwrap_err();
    }
}
