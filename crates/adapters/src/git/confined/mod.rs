//! Code that runs on an agent's tree inside its confinement, without anything of the agent's running with it. git is never
//! shown the tree or the agent's `.git`: `mirror` copies the latter as data into a git directory of our own, `walk`
//! finds what lies in the tree, `rules` asks git what the tree's ignore files leave out, `ignored` finds
//! what of that the base's rules would not, `commit` makes the commit that
//! holds what is not committed yet. `left` names what no commit can hold.

mod commit;
mod data;
mod ignored;
mod index;
mod left;
mod links;
mod listing;
mod mirror;
mod nested;
mod program;
mod rules;
mod walk;

pub(super) use commit::Look;
pub(super) use data::{enter, open_directory};
pub(super) use index::{Entry, GITLINK, parse as parse_index};
pub(super) use left::{Left, LeftReport, Why};
pub(super) use mirror::{Mirror, head_at};
pub(super) use program::Git;
pub(super) use walk::{Beside, Content, File, Found};

/// A path in the quoting that git reads on its input.
pub(super) fn quoted(path: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in path {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => out.push_str(&format!("\\{byte:03o}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_quoted_for_fast_import() {
        assert_eq!(quoted("a \"b\"\\\n\u{e9}".as_bytes()), "\"a \\\"b\\\"\\\\\\012\\303\\251\"");
    }
}
