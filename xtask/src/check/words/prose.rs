//! The prose in a file: comments and strings of sources, and whole texts.

use crate::lexer::{Kind, tokens};

/// A continuous text, such as the comments of adjacent lines. Each line of the text is a line of the file.
#[derive(Debug, PartialEq)]
pub(super) struct Block {
    /// The line of the file, counted from 1, where the block starts.
    pub(super) line: usize,
    pub(super) text: String,
}

/// Returns the prose in a file. The name of the file shows the kind of file.
pub(super) fn blocks(name: &str, text: &str) -> Vec<Block> {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("rs" | "c" | "h") => of_source(text),
        Some("py" | "pyi") => of_python(text),
        _ => vec![whole(text)],
    }
}

/// Returns the comments and the strings. The comments of adjacent lines are one block.
fn of_source(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // The line after a comment, while nothing follows the comment.
    let mut next_line = 0;
    for token in tokens(text) {
        match token.kind {
            Kind::Comment(comment) => {
                match blocks.last_mut() {
                    Some(last) if token.line == next_line => last.text += &format!("\n{comment}"),
                    _ => blocks.push(Block { line: token.line, text: comment.to_owned() }),
                }
                next_line = token.line + comment.matches('\n').count() + 1;
            }
            Kind::Text(string) => {
                blocks.push(Block { line: token.line, text: string.replace("\\\n", "\n") });
                next_line = 0;
            }
            Kind::Word(_) | Kind::Mark(_) => next_line = 0,
        }
    }
    for block in &mut blocks {
        block.text = block.text.lines().map(without_comment_mark).collect::<Vec<_>>().join("\n");
    }
    blocks
}

/// Returns the strings and the comments. The comments of adjacent lines are one block.
fn of_python(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(['#', '"', '\'']) {
        at += found;
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| text[at..].starts_with(quote));
        at += quote.map_or(0, str::len);
        let length = quote.map_or_else(|| length_of_comment(&text[at..]), |quote| length_of_string(&text[at..], quote));
        let content: Vec<&str> = text[at..at + length].lines().map(without_comment_mark).collect();
        blocks.push(Block { line: text[..at].matches('\n').count() + 1, text: content.join("\n") });
        at = text.len().min(at + length + quote.map_or(0, str::len));
    }
    blocks
}

/// Returns the length of a comment and of the comments on the following lines.
fn length_of_comment(rest: &str) -> usize {
    let lines = rest.split_inclusive('\n').enumerate();
    let comments = lines.take_while(|(index, line)| *index == 0 || line.trim_start().starts_with('#'));
    comments.map(|(_, line)| line.len()).sum()
}

/// Returns the length of a string. A string in single quotes ends with its line at the latest.
fn length_of_string(rest: &str, quote: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        if !escaped && (rest[at..].starts_with(quote) || quote.len() == 1 && c == '\n') {
            return at;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

/// Returns the text with the marks of comments and quotes removed from its lines.
fn whole(text: &str) -> Block {
    let lines: Vec<&str> = text.lines().map(without_comment_mark).collect();
    Block { line: 1, text: lines.join("\n") }
}

fn without_comment_mark(line: &str) -> &str {
    line.trim_start().trim_start_matches(['#', '>', '*']).trim_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Vec<(usize, String)> {
        blocks(name, text).into_iter().map(|block| (block.line, block.text)).collect()
    }

    #[test]
    fn adjacent_comments_are_one_block() {
        let found = of("a.rs", "//! a\n//! b\n\nfn c() {} // d\n// e\nlet f = \"g\";");
        let expected = [(1, "a\nb"), (4, "d\ne"), (6, "g")];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn strings_of_python_end() {
        let found = of("a.py", "a = 'b # c' # d\n# e\nf = \"\"\"g'\nh\"\"\"\ni = 'j'");
        let expected = [(1, "b # c"), (1, "d\ne"), (3, "g'\nh"), (5, "j")];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }
}
