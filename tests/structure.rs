//! The shape of the code: modules are in layers and import only downwards, no files import each other in a circle, and no file or
//! function outgrows what a person can hold in mind. Read from the code itself; tests and fuzzing properties are left out.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// The top-level modules, from the top to the bottom. A module imports only from lines below its own.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["daemon"],
    &["web"],
    &["control"],
    &["notify"],
    &["engine"],
    &["inbox"],
    &["ledger"],
    &["metrics"],
    &["folders"],
    &["config", "journal"],
    &["sidecar"],
    &["status", "policy"],
    &["job", "simulator"],
    &["yaml", "catalogue", "runway"],
    &["files", "media"],
    &["diagnostic", "json", "failpoint"],
];

/// The longest file, in lines without tests.
const FILE_MAX: usize = 600;
/// The longest function, in lines. A function that is nothing but one flat `match` may be longer.
const FUNCTION_MAX: usize = 80;

#[test]
fn modules_import_only_from_layers_below() {
    let source = Source::read();
    let layer = |module: &str| {
        let of = |names: &&[&str]| names.contains(&module);
        let found = LAYERS.iter().position(of);
        found.unwrap_or_else(|| panic!("add the module `{module}` to LAYERS in {}", file!()))
    };
    let mut upward = BTreeSet::new();
    for (from, to) in source.imports() {
        let (above, below) = (top(&from), top(&to));
        if above != below && layer(above) >= layer(below) {
            let (from, to) = (source.file(&from), source.file(&to));
            upward.insert(format!("{from} imports {to}"));
        }
    }
    let upward: Vec<_> = upward.into_iter().collect();
    assert!(
        upward.is_empty(),
        "imports that run upwards:\n{}",
        upward.join("\n")
    );
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let source = Source::read();
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in source.imports() {
        imports.entry(from).or_default().insert(to);
    }
    let reach = |from: &str| {
        let mut reached = BTreeSet::new();
        let mut next = vec![from.to_owned()];
        while let Some(file) = next.pop() {
            for to in imports.get(&file).into_iter().flatten() {
                if reached.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&String, BTreeSet<String>> =
        imports.keys().map(|from| (from, reach(from))).collect();
    let mut circles = String::new();
    for (from, to) in &imports {
        for to in to
            .iter()
            .filter(|to| reached.get(to).is_some_and(|back| back.contains(from)))
        {
            circles += &format!("{} imports {}\n", source.file(from), source.file(to));
        }
    }
    assert!(circles.is_empty(), "files in circles:\n{circles}");
}

#[test]
fn no_file_and_no_function_is_longer_than_a_person_can_hold_in_mind() {
    let source = Source::read();
    let mut long = Vec::new();
    for module in source.modules.values() {
        if module.lines > FILE_MAX {
            long.push(format!("{}: {} lines", module.file, module.lines));
        }
        for (name, line, lines) in &module.functions {
            if *lines > FUNCTION_MAX {
                long.push(format!("{}:{line}: {name} has {lines} lines", module.file));
            }
        }
    }
    assert!(long.is_empty(), "too long:\n{}", long.join("\n"));
}

/// The name of the top-level module.
fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// All modules of the crate, by path without `crate::`; the crate's own root is the empty path.
struct Source {
    modules: BTreeMap<String, Module>,
}

/// One file.
#[derive(Default)]
struct Module {
    file: String,
    lines: usize,
    functions: Vec<(String, usize, usize)>,
    /// Items that are defined here.
    defines: BTreeSet<String>,
    /// Names that this module passes on, and the path of each.
    exports: BTreeMap<String, Vec<String>>,
    /// Modules of which everything is passed on.
    exports_all: Vec<Vec<String>>,
    /// The full paths that are used here.
    uses: BTreeSet<Vec<String>>,
}

impl Source {
    fn read() -> Source {
        let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("run this with cargo"))
            .join("src");
        let mut source = Source {
            modules: BTreeMap::new(),
        };
        source.add(&root, &root.join("lib.rs"), Vec::new());
        source.add(&root, &root.join("main.rs"), vec!["main".to_owned()]);
        assert!(source.modules.len() > 50, "the source was not read");
        source
    }

    /// Adds the module of a file, and those that it declares.
    fn add(&mut self, root: &Path, file: &Path, path: Vec<String>) {
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut reader = Reader {
            path: path.clone(),
            module: Module {
                file: format!("src/{}", file.strip_prefix(root).unwrap().display()),
                lines: text.lines().count(),
                ..Module::default()
            },
            children: Vec::new(),
        };
        reader.visit_file(&parsed);
        self.modules.insert(path.join("::"), reader.module);
        let is_folder = file.ends_with("mod.rs") || file.ends_with("lib.rs");
        let folder: PathBuf = match is_folder {
            true => file.parent().unwrap().to_owned(),
            false => file.with_extension(""),
        };
        for child in reader.children {
            let flat = folder.join(format!("{child}.rs"));
            let nested = folder.join(&child).join("mod.rs");
            let mut path = path.clone();
            path.push(child);
            self.add(root, if flat.exists() { &flat } else { &nested }, path);
        }
    }

    /// Which file uses something that is defined in which other, both by module path.
    fn imports(&self) -> BTreeSet<(String, String)> {
        let mut imports = BTreeSet::new();
        for (from, module) in &self.modules {
            for path in &module.uses {
                if let Some(to) = self.definition(path, 0)
                    && to != *from
                    && !to.is_empty()
                {
                    imports.insert((from.clone(), to));
                }
            }
        }
        imports
    }

    /// The module whose file defines what a path names, through all that is passed on on the way there.
    fn definition(&self, path: &[String], depth: usize) -> Option<String> {
        if depth > 16 {
            return None;
        }
        let length = (0..=path.len())
            .rev()
            .find(|length| self.modules.contains_key(&path[..*length].join("::")))?;
        let at = path[..length].join("::");
        let module = &self.modules[&at];
        let Some(name) = path.get(length) else {
            // A module as such: `use crate::yaml;`. What is used of it has a path of its own.
            return None;
        };
        if module.defines.contains(name) {
            return Some(at);
        }
        if let Some(target) = module.exports.get(name) {
            let mut target = target.clone();
            target.extend_from_slice(&path[length + 1..]);
            return self.definition(&target, depth + 1);
        }
        for all in &module.exports_all {
            let mut target = all.clone();
            target.extend_from_slice(&path[length..]);
            let found = self.definition(&target, depth + 1);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn file(&self, module: &str) -> &str {
        &self.modules[module].file
    }
}

/// Reads one file.
struct Reader {
    path: Vec<String>,
    module: Module,
    children: Vec<String>,
}

impl Reader {
    /// The full path of one that is written in this file; `None` if it does not begin in this crate.
    fn full(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut full = match first.as_str() {
            "crate" | "taxiway" => Vec::new(),
            "self" => self.path.clone(),
            "super" => {
                let mut full = self.path.clone();
                full.pop()?;
                full
            }
            name if self.children.iter().any(|child| child == name) => {
                let mut full = self.path.clone();
                full.push(name.to_owned());
                full
            }
            _ => return None,
        };
        for part in rest {
            match part.as_str() {
                "super" => {
                    full.pop()?;
                }
                _ => full.push(part.clone()),
            }
        }
        Some(full)
    }

    /// What a use tree brings in: the path, the name it gets here, and whether it is everything.
    fn tree(
        tree: &syn::UseTree,
        before: &mut Vec<String>,
        found: &mut Vec<(Vec<String>, String, bool)>,
    ) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                Self::tree(&path.tree, before, found);
                before.pop();
            }
            syn::UseTree::Name(name) => {
                let ident = name.ident.to_string();
                let mut path = before.clone();
                let last = match ident.as_str() {
                    "self" => before.last().cloned().unwrap_or_default(),
                    _ => {
                        path.push(ident.clone());
                        ident
                    }
                };
                found.push((path, last, false));
            }
            syn::UseTree::Rename(rename) => {
                let mut path = before.clone();
                path.push(rename.ident.to_string());
                found.push((path, rename.rename.to_string(), false));
            }
            syn::UseTree::Glob(_) => found.push((before.clone(), String::new(), true)),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    Self::tree(tree, before, found);
                }
            }
        }
    }
}

/// Whether an item is compiled for tests or fuzzing only.
fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let condition = list.tokens.to_string();
        list.path.is_ident("cfg")
            && (condition == "test" || condition.contains("test ,") || condition == "fuzzing")
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether a function is nothing but one `match`, or `Some` of one.
fn is_flat_table(block: &syn::Block) -> bool {
    let Some(syn::Stmt::Expr(last, None)) = block.stmts.last() else {
        return false;
    };
    let last = match last {
        syn::Expr::Call(call) => call.args.last().unwrap_or(last),
        _ => last,
    };
    matches!(last, syn::Expr::Match(_)) && block.stmts.len() <= 2
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let span = item.span();
        if is_for_tests(attributes(item)) {
            self.module.lines -= span.end().line + 1 - span.start().line;
            return;
        }
        let name = match item {
            syn::Item::Fn(item) => Some(&item.sig.ident),
            syn::Item::Struct(item) => Some(&item.ident),
            syn::Item::Enum(item) => Some(&item.ident),
            syn::Item::Trait(item) => Some(&item.ident),
            syn::Item::Type(item) => Some(&item.ident),
            syn::Item::Const(item) => Some(&item.ident),
            syn::Item::Static(item) => Some(&item.ident),
            _ => None,
        };
        if let Some(name) = name {
            self.module.defines.insert(name.to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_none() {
            self.children.push(item.ident.to_string());
        }
        visit::visit_item_mod(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        Reader::tree(&item.tree, &mut Vec::new(), &mut found);
        let is_private = matches!(item.vis, syn::Visibility::Inherited);
        for (path, name, all) in found {
            let Some(full) = self.full(&path) else {
                continue;
            };
            match (is_private, all) {
                (true, _) => {
                    // A module that is used by its name: `use crate::yaml;` and then `yaml::parse`.
                    self.module.exports.insert(name, full.clone());
                    self.module.uses.insert(full);
                }
                (false, true) => self.module.exports_all.push(full),
                (false, false) => {
                    self.module.exports.insert(name, full);
                }
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path
            .segments
            .iter()
            .map(|part| part.ident.to_string())
            .collect();
        if parts.len() > 1 {
            let full = self.full(&parts).or_else(|| {
                let mut full = self.module.exports.get(&parts[0])?.clone();
                full.extend_from_slice(&parts[1..]);
                Some(full)
            });
            self.module.uses.extend(full);
        }
        visit::visit_path(self, path);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            self.measure(&item.sig, &item.block);
            visit::visit_impl_item_fn(self, item);
        }
    }
}

impl Reader {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (start, end) = (signature.span().start().line, block.span().end().line);
        if !is_flat_table(block) {
            self.module
                .functions
                .push((signature.ident.to_string(), start, end + 1 - start));
        }
    }
}
