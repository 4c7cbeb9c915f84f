//! The map in `src/lib.rs` is true: each module imports what its row names and nothing else, no module imports one
//! that is below it there, and no more than two files import one another in a circle.
//!
//! Imports are read from the sources: `use` lines, and paths that begin with `crate`, `super`, `self` or a module's
//! name. A re-exported name counts as a name of the file that defines it. A module's own file may use its submodules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module by its path: `["log", "sqlite", "read"]`; the root is empty.
type Module = Vec<String>;

struct Sources {
    texts: BTreeMap<Module, String>,
    /// For each re-exported name, the module that it comes from. The key is the module that re-exports it, and the
    /// name.
    exported: BTreeMap<(Module, String), Module>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns all modules of the crate whose root file is `top`, without their tests and comments.
fn sources(folder: &Path, top: &str) -> Sources {
    let mut texts = BTreeMap::new();
    let mut folders = vec![(folder.to_owned(), Module::new())];
    while let Some((folder, module)) = folders.pop() {
        for file in std::fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut inner = module.clone();
            if path.is_dir() && !(module.is_empty() && name == "bin") {
                inner.push(name);
                folders.push((path, inner));
            } else if path.extension().is_some_and(|end| end == "rs") {
                let is_top = module.is_empty() && path.file_name().unwrap() == top;
                if !is_top && name != "mod" {
                    inner.push(name);
                }
                if !inner.iter().any(|name| name == "tests") {
                    texts.insert(inner, code(&std::fs::read_to_string(path).unwrap()));
                }
            }
        }
    }
    let mut sources = Sources {
        texts,
        exported: BTreeMap::new(),
    };
    for (module, text) in sources.texts.clone() {
        for statement in uses(&text).filter(|statement| statement.is_export) {
            for (path, name) in expand(&statement.tree) {
                if let Some(path) = sources.resolve(&module, &path) {
                    sources.exported.insert((module.clone(), name), path);
                }
            }
        }
    }
    sources
}

/// Returns a source without comments and unit tests.
fn code(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join("\n");
    let tests = text.find("#[cfg(test)]\nmod tests {");
    text[..tests.unwrap_or(text.len())].to_owned()
}

struct Use {
    is_export: bool,
    tree: String,
}

fn uses(text: &str) -> impl Iterator<Item = Use> {
    text.split(';').filter_map(|statement| {
        let (before, tree) = statement.rsplit_once("use ")?;
        let first = before.chars().next_back();
        let line = before.lines().next_back().unwrap_or_default().trim();
        first.is_none_or(char::is_whitespace).then(|| Use {
            is_export: line.starts_with("pub"),
            tree: tree.split_whitespace().collect(),
        })
    })
}

/// Returns the paths in a tree of imports, each with the name that it is imported under.
fn expand(tree: &str) -> Vec<(String, String)> {
    if let (Some(open), true) = (tree.find('{'), tree.ends_with('}')) {
        let (prefix, inner) = (&tree[..open], &tree[open + 1..tree.len() - 1]);
        let mut depth = 0;
        let parts = inner.split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        let parts = parts.filter(|part| !part.is_empty());
        return parts
            .flat_map(|part| expand(&format!("{prefix}{part}")))
            .collect();
    }
    // Without spaces: `a::bascore` is `a::b as core`, which no path of ours is.
    let name = tree.rsplit("::").next().unwrap_or_default().to_owned();
    vec![(tree.to_owned(), name)]
}

impl Sources {
    /// Resolves `path`, as used in `module`, to a path from the root of the crate. Returns `None` if it leads out of
    /// the crate.
    fn resolve(&self, module: &Module, path: &str) -> Option<Module> {
        let mut parts: Module = path.split("::").map(str::to_owned).collect();
        let mut base = module.clone();
        match parts.first()?.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                while parts.first().is_some_and(|part| part == "super") {
                    base.pop();
                    parts.remove(0);
                }
                base.extend(parts);
                return Some(base);
            }
            first => {
                base.push(first.to_owned());
                let is_ours = self.texts.contains_key(&base);
                base.pop();
                if !is_ours {
                    return None;
                }
                base.extend(parts);
                return Some(base);
            }
        }
        base.extend(parts.into_iter().skip(1));
        Some(base)
    }

    /// Returns the file that defines what a path names.
    fn file(&self, path: &[String]) -> Module {
        let mut length = path.len();
        while !self.texts.contains_key(&path[..length]) {
            length -= 1;
        }
        let (module, rest) = path.split_at(length);
        let name = rest.first().cloned().unwrap_or_default();
        match self.exported.get(&(module.to_vec(), name)) {
            Some(from) => self.file(from),
            None => module.to_vec(),
        }
    }

    /// Returns the files that each file imports, without its own submodules.
    fn imports(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let mut imports = BTreeMap::new();
        for (module, text) in &self.texts {
            let of_uses = uses(text)
                .filter(|statement| !statement.is_export)
                .flat_map(|statement| expand(&statement.tree));
            let mut paths: Vec<String> = of_uses.map(|(path, _)| path).collect();
            let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let words = text.split(|c| !is_word(c));
            paths.extend(words.filter(|word| word.contains("::")).map(str::to_owned));
            let files = paths.iter().filter_map(|path| {
                let path = self.resolve(module, path.trim_end_matches(':'))?;
                Some(self.file(&path))
            });
            let others = files.filter(|file| !file.is_empty() && !file.starts_with(module));
            imports.insert(module.clone(), others.collect::<BTreeSet<_>>());
        }
        imports
    }
}

/// Returns the files that can be reached from `from`.
fn reached(imports: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let (mut found, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        for import in imports.get(module).into_iter().flatten() {
            if found.insert(import.clone()) {
                next.push(import);
            }
        }
    }
    found
}

/// Returns the files that import one another in circles, each circle once.
fn circles(imports: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Vec<String>> {
    let reached: BTreeMap<_, _> = imports
        .keys()
        .map(|module| (module, reached(imports, module)))
        .collect();
    let circle = |module: &Module| {
        let others = imports
            .keys()
            .filter(|other| reached[module].contains(*other) && reached[*other].contains(module));
        others.map(|other| other.join("::")).collect::<Vec<_>>()
    };
    imports
        .keys()
        .map(circle)
        .filter(|circle| circle.len() > 1)
        .collect()
}

/// Returns the rows of the map: each module, and the others that it uses.
fn map() -> Vec<(String, BTreeSet<String>)> {
    let text = std::fs::read_to_string(root().join("lib.rs")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| [`"));
    rows.map(|row| {
        let (module, row) = row.split_once("`]").unwrap();
        let uses = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names = uses
            .split(", ")
            .map(|name| name.trim_matches('`').to_owned());
        let names = names.filter(|name| name != "nothing");
        (module.to_owned(), names.collect())
    })
    .collect()
}

#[test]
fn each_module_uses_what_the_map_says_and_nothing_below_it() {
    let imports = sources(&root(), "lib.rs").imports();
    let map = map();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, files) in &imports {
        let Some(top) = module.first() else {
            continue;
        };
        let others = files.iter().filter_map(|file| file.first());
        let others = others.filter(|other| *other != top).cloned();
        used.entry(top.clone()).or_default().extend(others);
    }
    let modules: BTreeSet<_> = map.iter().map(|(module, _)| module.clone()).collect();
    assert_eq!(
        modules,
        used.keys().cloned().collect(),
        "the modules of the map"
    );
    let mut above = BTreeSet::new();
    for (module, uses) in &map {
        assert_eq!(uses, &used[module], "what {module} uses");
        assert!(uses.is_subset(&above), "{module} uses what stands below it");
        above.insert(module.clone());
    }
}

#[test]
fn no_more_than_two_files_import_one_another() {
    for (folder, top) in [
        (root(), "lib.rs"),
        (root().join("bin/chatd"), "main.rs"),
        (root().join("bin/chatc"), "main.rs"),
    ] {
        let circles = circles(&sources(&folder, top).imports());
        let large: Vec<_> = circles.iter().filter(|circle| circle.len() > 2).collect();
        assert!(large.is_empty(), "{large:#?}");
    }
}

#[test]
fn imports_are_found_in_every_notation() {
    let text = |text: &str| code(text);
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let mut sources = Sources {
        texts: BTreeMap::from([
            (Module::new(), String::new()),
            (module("a"), text("pub use inner::Shown;\nmod inner;")),
            (
                module("a::inner"),
                text("use super::super::d; // use crate::e;"),
            ),
            (
                module("b"),
                text("use crate::{\n    a::Shown,\n    c::{self, Other},\n};"),
            ),
            (
                module("c"),
                text(
                    "fn f() -> super::d::Thing {}\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}",
                ),
            ),
            (module("d"), text("use std::fmt;")),
        ]),
        exported: BTreeMap::new(),
    };
    let exported = ((module("a"), "Shown".to_owned()), module("a::inner::Shown"));
    sources.exported.extend([exported]);
    let imports = sources.imports();
    let of = |name: &str| imports[&module(name)].iter().cloned().collect::<Vec<_>>();
    assert!(of("a").is_empty());
    assert_eq!(of("a::inner"), [module("d")]);
    assert_eq!(of("b"), [module("a::inner"), module("c")]);
    assert_eq!(of("c"), [module("d")]);
    assert!(of("d").is_empty());
}
