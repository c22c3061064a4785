//! Names in a file: what its modules declare, import and use.

use std::collections::HashSet;

use super::tokens::{Kind, Token, tokens};

/// A module as its source has it: a file, or a `mod name { … }` in one. Code for tests alone is
/// left out.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// The modules that it declares.
    pub(super) children: Vec<(String, Child)>,
    /// The names of the items that it defines itself.
    pub(super) items: HashSet<String>,
    pub(super) imports: Vec<Import>,
    /// Paths in its code, of two names or more.
    pub(super) paths: Vec<Path>,
    /// Single names in its code.
    pub(super) names: HashSet<String>,
}

#[derive(Debug)]
pub(super) enum Child {
    /// `mod name;`
    File,
    /// `mod name { … }`
    Inline(Source),
}

/// One name of a `use`.
#[derive(Debug)]
pub(super) struct Import {
    /// `pub use`, however far it reaches.
    pub(super) is_reexport: bool,
    /// The name it has here; `*` for all.
    pub(super) alias: String,
    pub(super) path: Path,
}

#[derive(Debug)]
pub(super) struct Path {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
}

/// Keywords in front of the name of an item.
const ITEMS: [&str; 9] =
    ["struct", "enum", "union", "trait", "type", "fn", "const", "static", "macro_rules"];

/// Reads a file.
pub(super) fn read(text: &str) -> Source {
    Reader { tokens: tokens(text), at: 0 }.module()
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> Option<Kind<'a>> {
        self.tokens.get(self.at + ahead).map(|token| token.kind)
    }

    fn name(&self, ahead: usize) -> Option<&'a str> {
        match self.peek(ahead) {
            Some(Kind::Name(name)) => Some(name),
            _ => None,
        }
    }

    fn is(&self, ahead: usize, other: char) -> bool {
        self.peek(ahead) == Some(Kind::Other(other))
    }

    /// Whether the token before is this one.
    fn follows(&self, other: char) -> bool {
        self.at.checked_sub(1).is_some_and(|at| self.tokens[at].kind == Kind::Other(other))
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |token| token.line)
    }

    /// Reads up to the end of the file, or past the brace that ends the module.
    fn module(&mut self) -> Source {
        let mut module = Source::default();
        // Whether each brace that is open is a macro's, whose items are the module's.
        let mut open = Vec::new();
        let mut is_public = false;
        while let Some(kind) = self.peek(0) {
            match kind {
                Kind::Other('#') if self.is(1, '[') => {
                    if self.attribute_is_for_tests() {
                        self.skip_item();
                    }
                    continue;
                }
                Kind::Other('{') => open.push(self.follows('!')),
                Kind::Other('}') if open.is_empty() => {
                    self.at += 1;
                    break;
                }
                Kind::Other('}') => {
                    open.pop();
                }
                Kind::Name("pub") => {
                    self.at += 1;
                    if self.is(0, '(') {
                        self.skip_group();
                    }
                    is_public = true;
                    continue;
                }
                // `impl A + use<'a>` imports nothing.
                Kind::Name("use") if !self.is(1, '<') => {
                    self.at += 1;
                    self.import(&mut Vec::new(), is_public, &mut module.imports);
                }
                Kind::Name("mod") if self.is(2, ';') || self.is(2, '{') => {
                    let name = self.name(1).unwrap_or_default().to_owned();
                    let is_file = self.is(2, ';');
                    self.at += 3;
                    let child = if is_file { Child::File } else { Child::Inline(self.module()) };
                    module.children.push((name, child));
                    is_public = false;
                    continue;
                }
                Kind::Name(keyword) if ITEMS.contains(&keyword) => {
                    self.at += 1 + usize::from(self.is(1, '!') || self.name(1) == Some("mut"));
                    match self.name(0) {
                        // `const fn`, `const unsafe fn`
                        Some("fn" | "unsafe" | "async" | "extern") => {}
                        Some(name) => {
                            if open.iter().all(|is_macro| *is_macro) {
                                module.items.insert(name.to_owned());
                            }
                            self.at += 1;
                        }
                        None => {}
                    }
                    is_public = false;
                    continue;
                }
                Kind::Name(_) => {
                    self.path(&mut module);
                    is_public = false;
                    continue;
                }
                _ => {}
            }
            is_public = false;
            self.at += 1;
        }
        module
    }

    /// Reads a path in code.
    fn path(&mut self, module: &mut Source) {
        let before = self.at.checked_sub(1).map(|at| self.tokens[at].kind);
        let is_part = matches!(before, Some(Kind::Other('.') | Kind::PathSeparator));
        let line = self.line();
        let mut segments = Vec::new();
        while let Some(name) = self.name(0) {
            segments.push(name.to_owned());
            self.at += 1;
            if self.peek(0) != Some(Kind::PathSeparator) || self.name(1).is_none() {
                break;
            }
            self.at += 1;
        }
        if is_part {
            return;
        }
        if let [name] = segments.as_slice() {
            module.names.insert(name.clone());
        } else {
            module.names.extend(segments.first().cloned());
            module.paths.push(Path { segments, line });
        }
    }

    /// Reads a tree of names after `use`, up to the `;`, `,` or `}` behind it.
    fn import(&mut self, prefix: &mut Vec<String>, is_reexport: bool, imports: &mut Vec<Import>) {
        let outer = prefix.len();
        let line = self.line();
        let mut alias = None;
        while let Some(kind) = self.peek(0) {
            match kind {
                Kind::Other(';' | ',' | '}') => break,
                Kind::Name("as") => {
                    alias = self.name(1).map(str::to_owned);
                    self.at += 2;
                }
                Kind::Name(name) => {
                    prefix.push(name.to_owned());
                    self.at += 1;
                }
                Kind::Other('*') => {
                    alias = Some("*".to_owned());
                    self.at += 1;
                }
                Kind::Other('{') => {
                    self.at += 1;
                    while !self.is(0, '}') && self.peek(0).is_some() {
                        self.import(prefix, is_reexport, imports);
                        self.at += usize::from(!self.is(0, '}'));
                    }
                    self.at += 1;
                    prefix.truncate(outer);
                    return;
                }
                _ => self.at += 1,
            }
        }
        let mut segments = prefix.clone();
        // `a::{self}` is `a`.
        if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        prefix.truncate(outer);
        if let Some(last) = segments.last() {
            let alias = alias.unwrap_or_else(|| last.clone());
            imports.push(Import { is_reexport, alias, path: Path { segments, line } });
        }
    }

    /// Reads an attribute: whether what follows is compiled for tests alone.
    fn attribute_is_for_tests(&mut self) -> bool {
        let start = self.at;
        self.at += 1;
        self.skip_group();
        let names: Vec<_> = self.tokens[start..self.at]
            .iter()
            .filter_map(|token| match token.kind {
                Kind::Name(name) => Some(name),
                _ => None,
            })
            .collect();
        names.first() == Some(&"cfg") && names.contains(&"test") && !names.contains(&"not")
    }

    /// Skips an item, a field or a statement: to its `;`, its `,` or the end of its block.
    fn skip_item(&mut self) {
        while self.is(0, '#') {
            self.at += 1;
            self.skip_group();
        }
        let is_import = (0..5)
            .take_while(|ahead| !self.is(*ahead, '{'))
            .any(|ahead| self.name(ahead) == Some("use"));
        let mut is_generic = false;
        while let Some(kind) = self.peek(0) {
            match kind {
                Kind::Other('{') if !is_import => {
                    self.skip_group();
                    return;
                }
                Kind::Other('(' | '[' | '{') => {
                    self.skip_group();
                    continue;
                }
                Kind::Other(';') => {
                    self.at += 1;
                    return;
                }
                Kind::Other(',') if !is_generic => {
                    self.at += 1;
                    return;
                }
                Kind::Other(')' | ']' | '}') => return,
                Kind::Name("fn" | "impl" | "struct" | "enum" | "trait" | "type") => {
                    is_generic = true;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Skips the group that begins here, with its brackets.
    fn skip_group(&mut self) {
        let mut depth = 0_usize;
        while let Some(kind) = self.peek(0) {
            self.at += 1;
            match kind {
                Kind::Other('(' | '[' | '{') => depth += 1,
                Kind::Other(')' | ']' | '}') => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(text: &str) -> Vec<String> {
        read(text)
            .imports
            .into_iter()
            .map(|import| {
                let visibility = if import.is_reexport { "pub " } else { "" };
                let path = import.path.segments.join("::");
                format!("{visibility}{path} as {} in {}", import.alias, import.path.line)
            })
            .collect()
    }

    fn paths(text: &str) -> Vec<String> {
        read(text).paths.into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn a_use_is_read_name_by_name() {
        let text = "use a::{\n    b::{self, C}, d::E as F,\n    g::*,\n};\npub(crate) use h::I;\n";
        let expected = [
            "a::b as b in 2",
            "a::b::C as C in 2",
            "a::d::E as F in 2",
            "a::g as * in 3",
            "pub h::I as I in 5",
        ];
        assert_eq!(imports(text), expected);
    }

    #[test]
    fn code_for_tests_is_left_out() {
        let text = "#[cfg(test)]\nuse a::{B, C};\n#[cfg(test)]\n#[path = \"x\"]\nmod d;\n\
                    #[cfg(test)]\nmod e { use f::G; }\n\
                    struct H { #[cfg(test)] i: i::I<u8>, j: j::J }\n\
                    #[cfg(test)]\nfn k<A, B>(l: l::L) -> m::M { n::n() }\n\
                    #[cfg(not(test))]\nmod o;\n";
        let source = read(text);
        assert_eq!(paths(text), ["j::J"]);
        assert_eq!(imports(text), Vec::<String>::new());
        assert_eq!(source.children.len(), 1);
        assert_eq!(source.children[0].0, "o");
    }

    #[test]
    fn items_are_those_of_the_module_itself() {
        let source = read(
            "pub const fn a() { const B: u8 = 0; fn c() {} }\nstatic mut D: u8 = 0;\n\
             macro_rules! e { () => {} }\nimpl F { fn g() {} }\nmod h { struct I; }\n\
             j! { enum K { L } }\n",
        );
        let mut items: Vec<_> = source.items.iter().map(String::as_str).collect();
        items.sort_unstable();
        assert_eq!(items, ["D", "K", "a", "e"]);
        assert!(matches!(&source.children[0].1, Child::Inline(h) if h.items.contains("I")));
    }

    #[test]
    fn paths_are_read_wherever_they_are() {
        let text = "fn f(a: &super::A) -> crate::b::B<C> { a.d::<e::E>(); g::h::<u8>(x) }";
        assert_eq!(paths(text), ["super::A", "crate::b::B", "e::E", "g::h"]);
    }
}
