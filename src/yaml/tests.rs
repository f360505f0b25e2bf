#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::diagnostic::Place;
use crate::json::Step;

fn key(name: &str) -> Step {
    Step::Key(name.to_owned())
}

fn place(line: usize, column: usize) -> Place {
    Place { line, column }
}

/// Asserts that a text has these problems: some words of each, and its place.
fn assert_problems(bytes: &[u8], expected: &[(&str, Place)]) {
    let found = parse_bytes(bytes).unwrap_err();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (problem, (words, place)) in found.iter().zip(expected) {
        assert_eq!(problem.place, Some(*place), "{problem}");
        assert!(problem.message.contains(words), "{words:?}: {problem}");
    }
}

/// The message of a text's only problem.
fn problem(text: &str) -> String {
    let found = parse(text).unwrap_err();
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].message.clone()
}

fn read(text: &str) -> Document {
    parse(text).unwrap()
}

fn prompt(path: &[Step]) -> bool {
    matches!(path.last(), Some(Step::Key(name)) if name == "prompt")
}

fn lost(text: &str) -> Vec<(Place, String)> {
    read(text)
        .cut_short(&prompt)
        .into_iter()
        .map(|cut| (cut.place, cut.lost))
        .collect()
}

#[test]
fn values_keep_their_types_and_order() {
    let document = read(
        "b: true\na: 5\nbig: 18446744073709551615\nf: 0.5\nratio: 1280:720\nempty:\nzip: 007\nyes: no\n\
         list: [1, \"2\", ~]\nmap: {x: -1}\n",
    );
    assert_eq!(
        to_json(document.root()).to_string(),
        json!({
            "b": true, "a": 5, "big": u64::MAX, "f": 0.5, "ratio": "1280:720", "empty": null, "zip": "007",
            "yes": "no", "list": [1, "2", null], "map": {"x": -1}
        })
        .to_string()
    );
}

#[test]
fn every_sort_of_value_has_its_place() {
    let text = "plain: word\n\
                quoted:   \"two words\"\n\
                below:\n\
                \x20   on the next line\n\
                block: |\n\
                \x20 line one\n\
                \x20 line two\n\
                flow: { a: 1, b: [x, y] }\n\
                list:\n\
                - first\n\
                -   { deep: here }\n\
                nothing:\n\
                ümläut: ÿ\n\
                nested:\n\
                \x20 inner:\n\
                \x20   - - twice\n\
                folded: >-\n\
                \x20 text\n\
                multi: one\n\
                \x20 two\n\
                last: end";
    let document = read(text);
    let expect = |path: &[Step], key_place: Place, value_place: Place| {
        assert_eq!(document.place_of_key(path), Some(key_place), "key {path:?}");
        assert_eq!(
            document.place_of_value(path),
            Some(value_place),
            "value {path:?}"
        );
    };
    expect(&[], place(1, 1), place(1, 1));
    expect(&[key("plain")], place(1, 1), place(1, 8));
    expect(&[key("quoted")], place(2, 1), place(2, 11));
    expect(&[key("below")], place(3, 1), place(4, 5));
    expect(&[key("block")], place(5, 1), place(5, 8));
    expect(&[key("flow")], place(8, 1), place(8, 7));
    expect(&[key("flow"), key("a")], place(8, 9), place(8, 12));
    expect(&[key("flow"), key("b")], place(8, 15), place(8, 18));
    expect(
        &[key("flow"), key("b"), Step::Index(1)],
        place(8, 22),
        place(8, 22),
    );
    expect(&[key("list")], place(9, 1), place(10, 1));
    expect(&[key("list"), Step::Index(0)], place(10, 3), place(10, 3));
    expect(&[key("list"), Step::Index(1)], place(11, 5), place(11, 5));
    expect(
        &[key("list"), Step::Index(1), key("deep")],
        place(11, 7),
        place(11, 13),
    );
    expect(&[key("nothing")], place(12, 1), place(12, 9));
    expect(&[key("ümläut")], place(13, 1), place(13, 9));
    expect(&[key("nested")], place(14, 1), place(15, 3));
    expect(
        &[key("nested"), key("inner"), Step::Index(0), Step::Index(0)],
        place(16, 9),
        place(16, 9),
    );
    expect(&[key("folded")], place(17, 1), place(17, 9));
    expect(&[key("multi")], place(19, 1), place(19, 8));
    expect(&[key("last")], place(21, 1), place(21, 7));
}

#[test]
fn places_hold_with_windows_line_ends_a_byte_order_mark_and_unicode_line_separators() {
    let document =
        parse_bytes("\u{feff}a: 1\r\nb:\r\n  - \"x\u{2028}y\"\r\n  - z\r\n".as_bytes()).unwrap();
    assert_eq!(document.place_of_value(&[key("a")]), Some(place(1, 4)));
    assert_eq!(
        document.place_of_value(&[key("b"), Step::Index(0)]),
        Some(place(3, 5))
    );
    assert_eq!(
        document.place_of_value(&[key("b"), Step::Index(1)]),
        Some(place(4, 5))
    );
}

#[test]
fn a_path_that_leads_nowhere_has_no_place() {
    let document = read("a: [1]\n");
    for path in [
        vec![key("b")],
        vec![key("a"), Step::Index(1)],
        vec![key("a"), key("x")],
        vec![Step::Index(0)],
    ] {
        assert_eq!(document.place_of_value(&path), None);
        assert_eq!(document.place_of_key(&path), None);
        assert_eq!(document.get(&path), None);
    }
}

#[test]
fn a_value_behind_an_alias_is_where_its_anchor_is_and_shifts_nothing_after_it() {
    let document = read("a: &x {k: v}\nb: *x\nc: 1\n");
    assert_eq!(
        document.place_of_value(&[key("b"), key("k")]),
        Some(place(1, 11))
    );
    assert_eq!(document.place_of_key(&[key("c")]), Some(place(3, 1)));
}

#[test]
fn all_readable_problems_are_reported_at_once_in_order() {
    let text = "a: 1\n5: x\na: 2\nt: !mine y\n<<: {z: 1}\nn: .nan\nbig: 99999999999999999999999\n? [k]\n: v\nin: {q: 1, q: 2}\n---\nb: 1\n";
    assert_problems(
        text.as_bytes(),
        &[
            (
                "a key must be a text, and this one is a number",
                place(2, 1),
            ),
            ("the key `a` appears twice", place(3, 1)),
            ("`!mine` is a YAML tag", place(4, 4)),
            ("merge keys", place(5, 1)),
            ("infinite or not a number", place(6, 4)),
            ("more digits", place(7, 6)),
            ("a key must be a text, and this one is a list", place(8, 3)),
            ("the key `q` appears twice", place(10, 12)),
            ("a second document", place(12, 1)),
        ],
    );
}

#[test]
fn thousands_of_problems_are_summed_up() {
    let text = "a: 1\n".repeat(4000);
    let found = parse(&text).unwrap_err();
    assert_eq!(found.len(), 51);
    assert!(
        found.last().unwrap().message.contains("3949 more"),
        "{found:?}"
    );
}

#[test]
fn a_file_without_a_value_is_empty() {
    for text in ["", "\n\n", "# only a comment\n", "---\n", "~\n", "\u{feff}"] {
        assert_eq!(*read(text).root(), Node::Null, "{text:?}");
    }
}

#[test]
fn a_large_file_is_refused_before_it_is_read() {
    let text = format!("a: {}\n", "x".repeat(MAX_BYTES));
    for bytes in [text.into_bytes(), vec![0xff; 10 << 20]] {
        assert_problems(&bytes, &[("are not read", Place::START)]);
    }
}

#[test]
fn aliases_cannot_fill_the_memory() {
    let mut laughs = "a0: &a0 lol\n".to_owned();
    for level in 1..12 {
        let last = level - 1;
        let items = vec![format!("*a{last}"); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let large = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(100_000),
        vec!["*a"; 5_000].join(", ")
    );
    let own = "a: &a [*a]\n";
    assert!(problem(&laughs).contains("once its aliases"));
    assert!(problem(&large).contains("once its aliases"));
    assert!(problem(own).contains("an alias contains itself"));
}

#[test]
fn deep_nesting_is_a_problem_and_no_crash() {
    for text in ["[".repeat(100_000), "{a: ".repeat(60_000)] {
        assert!(problem(&text).contains("brackets are open"));
    }
    let closed = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for text in [closed, "- ".repeat(100_000), "[".repeat(200)] {
        let problem = problem(&text);
        assert!(
            ["nested too deeply", "not closed"]
                .iter()
                .any(|words| problem.contains(words)),
            "{problem}"
        );
    }
}

#[test]
fn what_is_no_text_is_told_apart() {
    let utf16 = parse_bytes(&[0xff, 0xfe, b'a', 0]).unwrap_err();
    assert!(utf16[0].message.contains("UTF-16"));
    assert_problems(b"a: 1\nb: caf\xe9\n", &[("not text in UTF-8", place(2, 7))]);
    assert_problems(b"a: 1\nb: \x07\n", &[("U+0007", place(2, 4))]);
}

#[test]
fn syntax_problems_are_explained_where_they_are() {
    for (text, at, words) in [
        ("prompt: a cat: with a hat\n", place(1, 14), "colon"),
        ("prompt: @hero walks\n", place(1, 9), "`@`"),
        ("prompt: `x`\n", place(1, 9), "`` ` ``"),
        ("prompt: *hero\n", place(1, 9), "alias"),
        ("prompt: * a list\n", place(1, 10), "alias"),
        ("prompt: \"open\nmodel: x\n", place(3, 1), "quotation mark"),
        ("prompt: \"a \\d\"\n", place(1, 12), "backslash"),
        ("prompt: \"a\" cat\n", place(1, 13), "quoted text"),
        ("a: [1, 2\nb: 3\n", place(2, 2), "not closed"),
        ("a:\n\tb: 1\n", place(2, 1), "tab"),
        ("a: 1\n  b: 2\n", place(2, 4), "indent"),
        ("a: 1\njust words\n", place(3, 1), "key: value"),
    ] {
        let found = parse(text).unwrap_err();
        assert_eq!(found.len(), 1, "{text:?}");
        assert_eq!(found[0].place, Some(at), "{text:?} {found:?}");
        let all = format!("{} {}", found[0].message, found[0].hint);
        assert!(
            all.contains(words) || (words.contains("` `") && all.contains("cannot begin")),
            "{text:?}: {all}"
        );
    }
}

#[test]
fn a_prompt_that_goes_on_in_a_comment_is_cut_short() {
    for (text, at, what) in [
        (
            "prompt: a cat #cinematic\nmodel: x\n",
            place(1, 15),
            "#cinematic",
        ),
        ("prompt: a cat # of mine\n", place(1, 15), "# of mine"),
        ("prompt: cat #1", place(1, 13), "#1"),
        ("prompt: #cinematic cat\n", place(1, 9), "#cinematic cat"),
        (
            "prompt:\n  a cat\n  in a hat   #moody light  \nmodel: x\n",
            place(3, 14),
            "#moody light",
        ),
        (
            "prompt: a cat\n  #cinematic\nmodel: x\n",
            place(2, 3),
            "#cinematic",
        ),
        ("prompt: #wide\n  a cat\n", place(1, 9), "#wide"),
        (
            "model: x\r\nprompt: ein Kätzchen #süß\r\nseed: 1\r\n",
            place(2, 22),
            "#süß",
        ),
        ("{ prompt: a cat #x\n }\n", place(1, 17), "#x"),
        ("prompt: &p a cat #x\n", place(1, 18), "#x"),
        (
            "shots:\n  - prompt: one #a\n    duration: 5\n  - prompt: two\n",
            place(2, 17),
            "#a",
        ),
    ] {
        assert_eq!(lost(text), [(at, what.to_owned())], "{text:?}");
    }
}

#[test]
fn a_comment_that_takes_nothing_from_a_prompt_is_no_problem() {
    for text in [
        "prompt: \"a cat\" # said in quotes\n",
        "prompt: 'a cat' #x\n",
        "prompt: |\n  a cat #cinematic\n  # and this\n",
        "prompt: > #folded\n  a cat #cinematic\n",
        "prompt: a cat#1 on a C# sheet\n",
        "prompt: a cat\n# the next line says which model\nmodel: x\n",
        "prompt: a cat\n  # a remark\nmodel: x\n",
        "# first\nprompt: # what to show\n  a cat\n",
        "prompt: ~ # none\nmodel: x # why\nduration: 5 #seconds\n",
        "prompt: null #none\n",
        "prompt: \"\" #none\n",
        "prompt:\nmodel: x # y\n",
        "prompt: |\n  a\n#b\nmodel: x\n",
    ] {
        assert_eq!(lost(text), [], "{text:?}");
    }
}

#[test]
fn text_of_several_lines_is_written_as_a_block_and_a_hash_survives() {
    let text = to_yaml(&json!({"prompt": "one\ntwo #three\n", "tag": "a #b", "n": 5, "f": 5.0, "ratio": "1280:720"})).unwrap();
    assert!(
        text.starts_with("prompt: |\n  one\n  two #three\n"),
        "{text}"
    );
    assert!(text.contains("f: 5.0\n"), "{text}");
    assert_eq!(read(&text).cut_short(&|_| true), []);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON numbers are finite", |x| x.is_finite())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ #:\n\t'\"|>a-c-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z #:~0-9]{0,8}", inner, 0..4).prop_map(|map| {
                Value::Object(map.into_iter().filter(|(key, _)| key != "<<").collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_the_same(value in value()) {
        let value = json!({ "root": value });
        let text = to_yaml(&value).unwrap();
        let document = parse(&text).map_err(|problems| TestCaseError::fail(format!("{problems:?}\n{text}")))?;
        prop_assert_eq!(to_json(document.root()), value);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>(), yamlish in "[ab:\\-#&*!|>\\[\\]{},'\"\n\t ?@]{0,60}") {
        for text in [text, yamlish] {
            if let Ok(document) = parse(&text) {
                document.cut_short(&|_| true);
            }
        }
    }
}
