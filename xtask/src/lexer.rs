//! A lexer of Rust, good enough for C: comments, strings, words and marks with their lines.

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind<'a> {
    /// A comment, without its marks. A block comment keeps its lines.
    Comment(&'a str),
    /// The source text between the quotes of a string.
    Text(&'a str),
    /// An identifier, a keyword or a number.
    Word(&'a str),
    /// Any other character that is not white space.
    Mark(char),
}

/// A token and the line, counted from 1, where its content starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) line: usize,
    pub(crate) kind: Kind<'a>,
}

/// Returns the tokens of a source file in order.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { source, at: 0, line: 1 };
    std::iter::from_fn(|| lexer.next()).collect()
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = self.rest();
            let first = rest.chars().next()?;
            if first.is_whitespace() {
                self.skip(first.len_utf8());
            } else if rest.starts_with("//") {
                return Some(self.line_comment());
            } else if rest.starts_with("/*") {
                return Some(self.block_comment());
            } else if let Some(prefix) = string_prefix(rest) {
                return Some(self.string(prefix));
            } else if first == '\'' {
                // A character literal holds no prose; the quote of a lifetime is a mark.
                match character(rest) {
                    Some(length) => {
                        self.skip(length);
                    }
                    None => return Some(self.mark(first)),
                }
            } else if is_word(first) {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let line = self.line;
                return Some(Token { line, kind: Kind::Word(self.skip(length)) });
            } else {
                return Some(self.mark(first));
            }
        }
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn skip(&mut self, length: usize) -> &'a str {
        let skipped = &self.rest()[..length];
        self.line += skipped.matches('\n').count();
        self.at += length;
        skipped
    }

    fn mark(&mut self, mark: char) -> Token<'a> {
        let line = self.line;
        self.skip(mark.len_utf8());
        Token { line, kind: Kind::Mark(mark) }
    }

    fn line_comment(&mut self) -> Token<'a> {
        let rest = self.rest();
        let line = self.line;
        let text = self.skip(rest.find('\n').unwrap_or(rest.len()));
        let text = text.trim_start_matches('/');
        Token { line, kind: Kind::Comment(text.strip_prefix('!').unwrap_or(text)) }
    }

    fn block_comment(&mut self) -> Token<'a> {
        let rest = self.rest();
        let (mut depth, mut length) = (1, 2);
        while depth > 0 && length < rest.len() {
            let after = &rest.as_bytes()[length..];
            let step = match after {
                [b'/', b'*', ..] => 1,
                [b'*', b'/', ..] => -1,
                _ => 0,
            };
            depth += step;
            length += if step == 0 { 1 } else { 2 };
        }
        let line = self.line;
        let text = self.skip(length);
        Token { line, kind: Kind::Comment(text.trim_start_matches('/').trim_matches('*').trim_end_matches("*/")) }
    }

    fn string(&mut self, prefix: Prefix) -> Token<'a> {
        self.skip(prefix.length);
        let rest = self.rest();
        let line = self.line;
        let (length, end) = match prefix.hashes {
            Some(hashes) => {
                let end = format!("\"{}", "#".repeat(hashes));
                (rest.find(&end).unwrap_or(rest.len()), end.len())
            }
            None => (end_of_string(rest), 1),
        };
        let text = self.skip(length);
        self.skip(end.min(self.rest().len()));
        Token { line, kind: Kind::Text(text) }
    }
}

/// How a string begins.
struct Prefix {
    /// The length up to the quote, the quote included.
    length: usize,
    /// The number of `#` of a raw string.
    hashes: Option<usize>,
}

fn string_prefix(rest: &str) -> Option<Prefix> {
    let letters = rest.find(|c: char| !matches!(c, 'b' | 'c' | 'r')).filter(|length| *length <= 2)?;
    let is_raw = rest[..letters].ends_with('r');
    let after = &rest[letters..];
    let hashes = if is_raw { after.len() - after.trim_start_matches('#').len() } else { 0 };
    let length = letters + hashes + 1;
    after[hashes..].starts_with('"').then_some(Prefix { length, hashes: is_raw.then_some(hashes) })
}

fn end_of_string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            '"' if !escaped => return at,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// Returns the length of a character literal; nothing for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 1)
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<Kind<'_>> {
        tokens(source).into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn comments_strings_words_and_marks_are_told_apart() {
        use Kind::{Comment, Mark, Text, Word};
        assert_eq!(
            kinds("//! a\nfn b() // c"),
            [Comment(" a"), Word("fn"), Word("b"), Mark('('), Mark(')'), Comment(" c")]
        );
        assert_eq!(
            kinds(r##"x("a // \" b", r#"c"d"#, b"e")"##),
            [Word("x"), Mark('('), Text(r#"a // \" b"#), Mark(','), Text("c\"d"), Mark(','), Text("e"), Mark(')')]
        );
        assert_eq!(kinds("/* a /* b */ c */ d"), [Comment(" a /* b */ c "), Word("d")]);
    }

    #[test]
    fn characters_are_skipped_and_lifetimes_kept() {
        use Kind::{Mark, Word};
        assert_eq!(kinds(r#"'"' '\'' '\u{41}' &'a str"#), [Mark('&'), Mark('\''), Word("a"), Word("str")]);
    }

    #[test]
    fn tokens_know_their_lines() {
        let lines: Vec<usize> = tokens("a\n\"b\nc\" d\n// e").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 2, 3, 4]);
    }
}
