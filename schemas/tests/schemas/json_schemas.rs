//! The committed JSON Schemas are those of the types.

use std::collections::BTreeSet;
use std::fs;

use tripline_schemas::json_schema;

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    let dir = crate::crate_dir().join("json");
    let mut expected = BTreeSet::new();
    for (name, schema) in json_schema::all() {
        let file = format!("{name}.schema.json");
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if crate::bless() {
            fs::write(dir.join(&file), &text).unwrap();
        }
        let committed = String::from_utf8(crate::read(&dir.join(&file))).unwrap();
        assert_eq!(committed, text, "{file} drifted: TRIPLINE_BLESS=1 writes it anew");
        expected.insert(file);
    }
    let found = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<_>>(), expected, "files in {}", dir.display());
}
