//! The order of a resource's own fields: as the book shows them. Comments travel with the field below them.

/// Sorts the top-level fields of one document. `lines` are laid out already: a top-level field begins at the left edge.
pub(super) fn sort(lines: Vec<String>) -> Vec<String> {
    let mut head = Vec::new();
    let mut fields: Vec<Field> = Vec::new();
    // Comments and blank lines that wait for the field below them.
    let mut above: Vec<String> = Vec::new();
    for line in lines {
        let at_edge = line.chars().next().is_some_and(|c| c != ' ');
        match fields.last_mut() {
            _ if line.is_empty() || line.starts_with('#') => above.push(line),
            _ if at_edge && key(&line).is_some() => {
                let name = key(&line).unwrap_or_default().to_owned();
                if fields.is_empty() {
                    // What stands above the first field is about the whole resource.
                    head.append(&mut above);
                }
                above.push(line);
                fields.push(Field { name, lines: std::mem::take(&mut above) });
            }
            Some(field) => {
                field.lines.append(&mut above);
                field.lines.push(line);
            }
            None => {
                above.push(line);
                head.append(&mut above);
            }
        }
    }
    let kind = fields.iter().find(|f| f.name == "kind").and_then(|f| f.lines.iter().find_map(|l| l.strip_prefix("kind: ")));
    let kind = kind.and_then(|k| k.split(' ').next()).unwrap_or_default().to_owned();
    let mut ranked: Vec<(usize, Field)> = Vec::with_capacity(fields.len());
    for field in fields {
        // A field that is not in the book's list stays behind the one it follows.
        let before = ranked.last().map_or(LAST, |(rank, _)| *rank);
        ranked.push((rank(&kind, &field.name).unwrap_or(before), field));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    let fields = ranked.into_iter().flat_map(|(_, field)| field.lines);
    head.into_iter().chain(fields).chain(above).collect()
}

struct Field {
    name: String,
    lines: Vec<String>,
}

/// The key that a line begins with, where it is a plain word.
fn key(line: &str) -> Option<&str> {
    let (key, rest) = line.split_once(':')?;
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    (plain && (rest.is_empty() || rest.starts_with(' '))).then_some(key)
}

fn rank(kind: &str, field: &str) -> Option<usize> {
    let rest: &[&str] = match kind {
        "Service" => &["identities", "hosts", "owner", "zone", "data", "labels", "headers", "query", "claims", "paths", "operations"],
        "Permission" => &["allow", "deny", "mode", "when", "limit", "justification", "owner", "approved_by", "ticket", "review_by"],
        "Invariant" => &["never", "always", "controls"],
        "Group" => &["members"],
        "Zone" => &["sensitive", "require"],
        "Exception" => &["invariant", "from", "to", "reaches", "lint", "control", "of", "reason", "approved_by", "ticket", "expires"],
        "Test" => &["fixtures", "cases"],
        _ => &[],
    };
    ["kind", "name"].iter().chain(rest).position(|known| *known == field)
}

/// Behind everything that is known.
const LAST: usize = usize::MAX;
