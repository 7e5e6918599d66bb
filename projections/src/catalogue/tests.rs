//! What the catalogue promises of itself.

use super::*;
use std::collections::BTreeSet;

#[test]
fn the_catalogue_refers_only_to_what_it_has() {
    let mut queries = BTreeSet::new();
    for kind in KINDS {
        let names: BTreeSet<_> =
            kind.fields.iter().map(|f| f.name).chain(kind.relations.iter().map(|r| r.name)).collect();
        assert_eq!(names.len(), kind.fields.len() + kind.relations.len(), "{}: a name twice", kind.name);
        assert!(kind.fields.len() <= 64, "{}: the fold keeps changed fields in 64 bits", kind.name);
        assert_eq!(kind.fields[0].name, "uuid");
        let dates: Vec<_> = kind.fields[kind.fields.len() - 2..].iter().map(|f| f.name).collect();
        assert_eq!(dates, ["createDate", "lastOpDate"]);
        for query in kind.queries {
            assert!(queries.insert(query), "{query} asks for two kinds");
        }
        for relation in kind.relations {
            let target = relation.target();
            let (holder, field, list) = match relation.link {
                Link::One(field) => (*kind, field, false),
                Link::Many(field) => (target, field, false),
                Link::Each(field) => (*kind, field, true),
                Link::Listed(field) => (target, field, true),
            };
            let found = holder.column(field).unwrap_or_else(|| panic!("{}.{}", kind.name, relation.name));
            assert_eq!(holder.fields[found].ty, if list { Uuids } else { Uuid }, "{}.{}", kind.name, relation.name);
            assert!(!relation.embedded || matches!(relation.link, Link::Many(_)));
            let others = relation.others.map(|name| &kind.fields[kind.column(name).unwrap()]);
            assert!(others.is_none_or(|field| field.hidden && field.ty == Bool && relation.embedded));
        }
    }
}
