//! The graph of files and what they import of each other.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::source::{Child, Source, read};
use crate::tidy::File;

/// A place in `modules`.
type Id = usize;

/// The modules of a crate, from the root down.
struct Modules {
    modules: Vec<Module>,
}

struct Module {
    path: String,
    parent: Option<Id>,
    children: BTreeMap<String, Id>,
    source: Source,
}

/// The end of a path.
enum Target {
    Module(Id),
    /// An item of this module.
    Item(Id),
}

/// The files of which each file names an item, with the line where it does so first.
pub(super) type Graph = BTreeMap<String, BTreeMap<String, usize>>;

/// The imports between the files of the crate whose root is `root`.
pub(super) fn imports(files: &[File], root: &File) -> Graph {
    let files = files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut modules = Modules { modules: Vec::new() };
    let directory = root.path.rsplit_once('/').map_or("", |(directory, _)| directory);
    modules.add(&files, &root.path, directory, None, read(&root.text));
    modules.graph()
}

impl Modules {
    /// Adds a module and those below it, whose files are in `directory`.
    fn add(
        &mut self,
        files: &BTreeMap<&str, &File>,
        path: &str,
        directory: &str,
        parent: Option<Id>,
        mut source: Source,
    ) -> Id {
        let id = self.modules.len();
        let declared = std::mem::take(&mut source.children);
        let children = BTreeMap::new();
        self.modules.push(Module { path: path.to_owned(), parent, children, source });
        for (name, child) in declared {
            let below = format!("{directory}/{name}");
            let (path, source) = match child {
                Child::Inline(source) => (path.to_owned(), source),
                Child::File => {
                    let paths = [format!("{below}.rs"), format!("{below}/mod.rs")];
                    let Some(file) = paths.iter().find_map(|path| files.get(path.as_str())) else {
                        continue;
                    };
                    (file.path.clone(), read(&file.text))
                }
            };
            let child = self.add(files, &path, &below, Some(id), source);
            self.modules[id].children.insert(name, child);
        }
        id
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for (id, module) in self.modules.iter().enumerate() {
            let edges = graph.entry(module.path.clone()).or_default();
            let imports = module.source.imports.iter().filter(|import| {
                // To pass a name on is not to depend on it.
                !import.is_reexport || module.source.names.contains(&import.alias)
            });
            let imports = imports.map(|import| (&import.path, import.alias == "*"));
            let paths = module.source.paths.iter().map(|path| (path, false));
            for (path, is_glob) in imports.chain(paths) {
                let to = match self.resolve(id, &path.segments, &mut HashSet::new()) {
                    Some(Target::Item(to)) => to,
                    Some(Target::Module(to)) if is_glob => to,
                    // The paths that begin with the module's name lead to the items.
                    Some(Target::Module(_)) | None => continue,
                };
                let to = &self.modules[to].path;
                if *to != module.path {
                    let line = edges.entry(to.clone()).or_insert(path.line);
                    *line = path.line.min(*line);
                }
            }
        }
        graph
    }

    /// Follows a path in the module `from`; `None` if it leads out of the crate.
    ///
    /// `tried` has the imports on the way, since those of two modules may name each other.
    fn resolve(
        &self,
        from: Id,
        segments: &[String],
        tried: &mut HashSet<(Id, String)>,
    ) -> Option<Target> {
        let (first, rest) = segments.split_first()?;
        match first.as_str() {
            "crate" => self.walk(0, rest, tried),
            "self" => self.walk(from, rest, tried),
            "super" => {
                let mut module = self.modules[from].parent?;
                let mut rest = rest;
                while let Some((first, after)) = rest.split_first()
                    && first == "super"
                {
                    module = self.modules[module].parent?;
                    rest = after;
                }
                self.walk(module, rest, tried)
            }
            _ if self.has(from, first) => self.walk(from, segments, tried),
            _ => None,
        }
    }

    /// Whether a path in the module may begin with this name, without leading out of the crate.
    fn has(&self, module: Id, name: &str) -> bool {
        let module = &self.modules[module];
        module.children.contains_key(name)
            || module.source.imports.iter().any(|import| import.alias == name)
    }

    /// Follows `segments` from the module on, through modules and imports, to an item.
    fn walk(
        &self,
        id: Id,
        segments: &[String],
        tried: &mut HashSet<(Id, String)>,
    ) -> Option<Target> {
        let Some((name, rest)) = segments.split_first() else { return Some(Target::Module(id)) };
        let module = &self.modules[id];
        if let Some(child) = module.children.get(name)
            && (!rest.is_empty() || !self.offers(id, name))
        {
            return self.walk(*child, rest, tried);
        }
        if module.source.items.contains(name) {
            return Some(Target::Item(id));
        }
        if !tried.insert((id, name.clone())) {
            return None;
        }
        let named = module.source.imports.iter().find(|import| import.alias == *name);
        if let Some(import) = named {
            return match self.resolve(id, &import.path.segments, tried)? {
                Target::Module(module) => self.walk(module, rest, tried),
                item @ Target::Item(_) => Some(item),
            };
        }
        for import in module.source.imports.iter().filter(|import| import.alias == "*") {
            if let Some(Target::Module(module)) = self.resolve(id, &import.path.segments, tried)
                && (self.offers(module, name) || self.modules[module].children.contains_key(name))
            {
                return self.walk(module, segments, tried);
            }
        }
        // Made by a macro, most likely.
        Some(Target::Item(id))
    }

    /// Whether the module has an item of this name, its own or an imported one.
    fn offers(&self, module: Id, name: &str) -> bool {
        let source = &self.modules[module].source;
        source.items.contains(name) || source.imports.iter().any(|import| import.alias == name)
    }
}

/// Circles of imports, shortest first, each without the imports of those before it.
pub(super) fn circles(mut graph: Graph) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    while let Some(circle) =
        graph.keys().filter_map(|start| circle(&graph, start)).min_by_key(|circle| circle.len())
    {
        for (at, from) in circle.iter().enumerate() {
            if let Some(edges) = graph.get_mut(from) {
                edges.remove(&circle[(at + 1) % circle.len()]);
            }
        }
        found.push(circle);
    }
    found
}

/// The shortest way from `start` back to it: the files on it, `start` first.
fn circle(graph: &Graph, start: &str) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for to in graph.get(file)?.keys() {
            if to == start {
                let mut way = vec![file.to_owned()];
                let mut at = file;
                while at != start {
                    at = came_from.get(at)?;
                    way.push(at.to_owned());
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(to.as_str()) {
                came_from.insert(to, file);
                queue.push_back(to);
            }
        }
    }
    None
}
