//! The modules of the library's root that a source file uses, by `crate::` and by `super::`.

use std::iter::Peekable;
use std::vec::IntoIter;

use crate::lexer::{Kind, tokens};

/// A use of a name in the root of the crate.
#[derive(Debug, PartialEq)]
pub(super) struct Import {
    pub(super) line: usize,
    /// The name in the root: of a room, or of an item that the root exports again.
    pub(super) target: String,
}

/// Returns the names that a file uses by absolute paths, and by relative paths that reach the root. `module` is the
/// module path of the file.
pub(super) fn imports(module: &[String], source: &str) -> Vec<Import> {
    let code = tokens(source).into_iter().filter(|token| !matches!(token.kind, Kind::Comment(_) | Kind::Text(_)));
    let code: Vec<_> = code.map(|token| (token.line, token.kind)).collect();
    let mut reader = Reader { code: code.into_iter().peekable(), found: Vec::new() };
    reader.read(module.len());
    reader.found
}

struct Reader<'a> {
    code: Peekable<IntoIter<(usize, Kind<'a>)>>,
    found: Vec<Import>,
}

impl<'a> Reader<'a> {
    /// Reads a file, or the block of an inline module, that is `depth` modules below the root.
    fn read(&mut self, depth: usize) {
        let mut braces = 0;
        while let Some((_, kind)) = self.code.next() {
            match kind {
                Kind::Mark('{') => braces += 1,
                Kind::Mark('}') if braces == 0 => return,
                Kind::Mark('}') => braces -= 1,
                Kind::Word("mod") => self.module(depth),
                Kind::Word("crate") => self.path(),
                Kind::Word("super") => self.relative(depth),
                _ => {}
            }
        }
    }

    /// Reads `name {` and its block, or `name;`.
    fn module(&mut self, depth: usize) {
        self.code.next();
        if self.eat(Kind::Mark('{')) {
            self.read(depth + 1);
        }
    }

    /// Reads `super::super::…`. The path counts if it reaches the root.
    fn relative(&mut self, depth: usize) {
        let mut left = depth.saturating_sub(1);
        while left > 0 {
            if !self.eat_separator() {
                return;
            }
            if !self.eat(Kind::Word("super")) {
                return;
            }
            left -= 1;
        }
        self.path();
    }

    /// Reads `::name` or `::{name…, name…}` behind the root.
    fn path(&mut self) {
        if !self.eat_separator() {
            return; // `pub(crate)`
        }
        match self.code.peek() {
            Some((_, Kind::Mark('{'))) => self.group(),
            _ => self.name(),
        }
    }

    fn name(&mut self) {
        match self.code.next() {
            Some((line, Kind::Word(name))) => self.found.push(Import { line, target: name.to_owned() }),
            Some((line, Kind::Mark('*'))) => self.found.push(Import { line, target: "*".to_owned() }),
            _ => {}
        }
    }

    fn group(&mut self) {
        self.code.next();
        let mut braces = 1;
        self.name();
        while braces > 0 {
            match self.code.next() {
                Some((_, Kind::Mark('{'))) => braces += 1,
                Some((_, Kind::Mark('}'))) => braces -= 1,
                Some((_, Kind::Mark(','))) if braces == 1 => {
                    if !matches!(self.code.peek(), Some((_, Kind::Mark('}')))) {
                        self.name();
                    }
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    fn eat_separator(&mut self) -> bool {
        self.eat(Kind::Mark(':')) && self.eat(Kind::Mark(':'))
    }

    fn eat(&mut self, wanted: Kind<'a>) -> bool {
        self.code.next_if(|(_, kind)| *kind == wanted).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(module: &str, source: &str) -> Vec<String> {
        let module: Vec<String> = module.split("::").map(str::to_owned).collect();
        imports(&module, source).into_iter().map(|import| import.target).collect()
    }

    #[test]
    fn groups_are_read_whole() {
        let source = "use crate::{a::{b, c}, d, e::f as g,};\npub(crate) fn h() {}";
        assert_eq!(targets("x", source), ["a", "d", "e"]);
    }

    #[test]
    fn relative_paths_count_where_they_reach_the_root() {
        assert_eq!(targets("x", "use super::a;"), ["a"]);
        assert_eq!(targets("x::y", "use super::a; use super::super::b;"), ["b"]);
        assert_eq!(targets("x", "mod tests { use super::*; use super::super::c::d; } use super::e;"), ["c", "e"]);
        assert_eq!(targets("x::y", "use super::*;"), [""; 0]);
        assert_eq!(targets("x", "use super::*;"), ["*"]);
    }

    #[test]
    fn blocks_do_not_end_a_module() {
        assert_eq!(targets("x", "mod t { fn f() { if a {} } use super::super::b; } use super::c;"), ["b", "c"]);
    }
}
