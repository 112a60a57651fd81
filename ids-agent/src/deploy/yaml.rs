//! Writes YAML: as much of it as the files need that people read and edit. Pure.

/// A node. Keys stay in the order in which they were given.
#[derive(Clone, Debug)]
pub(super) enum Yaml {
    Map(Vec<(String, Self)>),
    List(Vec<Self>),
    /// Quoted where it could be taken for something else.
    Text(String),
    Number(i64),
    Flag(Flag),
    /// What follows a line of explanation.
    Said(String, Box<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    Yes,
    No,
}

pub(super) fn text(value: impl Into<String>) -> Yaml {
    Yaml::Text(value.into())
}

pub(super) fn texts<T: Into<String>>(values: impl IntoIterator<Item = T>) -> Yaml {
    Yaml::List(values.into_iter().map(text).collect())
}

pub(super) fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Yaml)>) -> Yaml {
    Yaml::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

impl Yaml {
    /// With a comment above it.
    pub(super) fn said(self, why: impl Into<String>) -> Self {
        Self::Said(why.into(), Box::new(self))
    }

    /// A whole file, with what it says of itself at its head.
    pub(super) fn document(&self, head: &str) -> String {
        let mut out = String::new();
        comment(&mut out, 0, head);
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        match self {
            Self::Map(entries) => {
                for (key, value) in entries {
                    let value = value.after_comment(out, depth);
                    indent(out, depth);
                    out.push_str(&scalar(key));
                    out.push(':');
                    value.write_value(out, depth + 1);
                }
            }
            Self::List(items) => {
                for item in items {
                    let item = item.after_comment(out, depth);
                    indent(out, depth);
                    out.push('-');
                    match item {
                        // The first key stands behind the dash.
                        Self::Map(_) => {
                            let mut inner = String::new();
                            item.write(&mut inner, depth + 1);
                            let (lead, rest) = (2 * (depth + 1), inner);
                            match rest.get(lead..).filter(|_| !rest.trim_start().starts_with('#')) {
                                Some(first) => {
                                    out.push(' ');
                                    out.push_str(first);
                                }
                                None => {
                                    out.push('\n');
                                    out.push_str(&rest);
                                }
                            }
                        }
                        other => other.write_value(out, depth + 1),
                    }
                }
            }
            Self::Text(_) | Self::Number(_) | Self::Flag(_) | Self::Said(..) => {
                indent(out, depth);
                self.write_value(out, depth);
            }
        }
    }

    fn after_comment(&self, out: &mut String, depth: usize) -> &Self {
        let mut node = self;
        while let Self::Said(why, inner) = node {
            comment(out, depth, why);
            node = inner;
        }
        node
    }

    /// What stands behind `key:` or `-`.
    fn write_value(&self, out: &mut String, depth: usize) {
        match self {
            Self::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
            Self::List(items) if items.is_empty() => out.push_str(" []\n"),
            Self::Map(_) | Self::List(_) => {
                out.push('\n');
                self.write(out, depth);
            }
            Self::Text(value) => {
                out.push(' ');
                out.push_str(&scalar(value));
                out.push('\n');
            }
            Self::Number(value) => out.push_str(&format!(" {value}\n")),
            Self::Flag(flag) => out.push_str(if *flag == Flag::Yes { " true\n" } else { " false\n" }),
            Self::Said(_, inner) => inner.write_value(out, depth),
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    out.push_str(&"  ".repeat(depth));
}

fn comment(out: &mut String, depth: usize, said: &str) {
    for line in said.lines() {
        indent(out, depth);
        out.push_str("# ");
        out.push_str(line);
        out.push('\n');
    }
}

/// Plain where nothing can be misread, else in double quotes, which JSON and YAML write alike.
fn scalar(value: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ' ' | '(' | ')' | ';');
    let plain = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && value.chars().all(word)
        && !value.ends_with(' ')
        && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
            .contains(&value.to_ascii_lowercase().as_str());
    if plain { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_misread_is_quoted() {
        let node = map([
            ("plain", text("two words")),
            ("number", text("5")),
            ("flag", text("no")),
            ("colon", text("a: b # c")),
            ("quote", text("say \"so\"\nand go")),
            ("list", Yaml::List(vec![map([("a", Yaml::Number(1)), ("b", texts(["x"]))]).said("why"), text("y z")])),
            ("none", texts::<&str>([])),
        ]);
        let wanted = "# Head.\nplain: two words\nnumber: \"5\"\nflag: \"no\"\ncolon: \"a: b # c\"\n\
            quote: \"say \\\"so\\\"\\nand go\"\nlist:\n  # why\n  - a: 1\n    b:\n      - x\n  - y z\nnone: []\n";
        assert_eq!(node.document("Head."), wanted);
    }
}
