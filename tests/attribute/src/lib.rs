//! The `#[test]` of the test programs that have a runner of their own, `tests/support/runner.rs`. It is used like the usual one;
//! `#[test(needs = [ROOT, STRACE])]` also names what the machine must have, from `runner::needs`.
//!
//! `#[macro_use] extern crate taxiway_test_attribute;` in a program's main file replaces the usual one in all its modules.

use proc_macro::{TokenStream, TokenTree};

/// Adds the function to the list of tests that `runner::main` runs.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let Some(needs) = read_needs(arguments) else {
        return error("expected nothing, or: needs = [NAME, …]");
    };
    let mut words = function.clone().into_iter();
    let is_fn = |word: &TokenTree| matches!(word, TokenTree::Ident(name) if name.to_string() == "fn");
    let Some(name) = words.find(is_fn).and_then(|_| words.next()) else {
        return error("only a function can be a test");
    };
    let entry = format!(
        "::inventory::submit! {{
            crate::support::runner::Test {{
                name: concat!(module_path!(), \"::{name}\"),
                needs: {{ #[allow(unused_imports)] use crate::support::runner::needs::*; &{needs} }},
                run: {name},
            }}
        }}"
    );
    match entry.parse::<TokenStream>() {
        Ok(entry) => [function, entry].into_iter().collect(),
        Err(problem) => error(&problem.to_string()),
    }
}

/// Reads `needs = [A, B]`; nothing means that nothing is needed.
fn read_needs(arguments: TokenStream) -> Option<String> {
    let words: Vec<TokenTree> = arguments.into_iter().collect();
    match words.as_slice() {
        [] => Some("[]".to_owned()),
        [TokenTree::Ident(key), TokenTree::Punct(_), TokenTree::Group(list)] if key.to_string() == "needs" => {
            Some(list.to_string())
        }
        _ => None,
    }
}

fn error(words: &str) -> TokenStream {
    format!("compile_error!({words:?});").parse().unwrap_or_default()
}
