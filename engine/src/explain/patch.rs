//! Edits of policy files as data: what is written where. The words of an edit and the trying of it come from the same patch.

use crate::authorizer::Authorizer;
use crate::bundle::{Bundle, SourceFile};
use crate::decision::Decision;
use crate::diagnostic::Location;
use crate::explain::{Edit, EditKind};
use crate::model::{Operations, Permission, Service};
use crate::request::{Request, Target};
use crate::yaml::{self, Node, Value};

/// A text that is written into a file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Patch {
    /// The file; it is made if it does not exist.
    pub file: String,
    /// The line it is written into, from 1; 0 for the end of the file.
    pub line: u32,
    /// The characters of the line that stay before it.
    pub column: u32,
    /// What is written.
    pub insert: String,
}

/// The bundle with the patches made; `None` where one does not fit.
pub(super) fn apply(bundle: &Bundle, patches: &[Patch]) -> Option<Bundle> {
    let mut files = bundle.files.clone();
    // From the end to the beginning, so that no patch moves the place of another.
    let mut patches: Vec<&Patch> = patches.iter().collect();
    patches.sort_by_key(|p| std::cmp::Reverse((p.line, p.column)));
    for patch in patches {
        let file = match files.iter_mut().find(|f| f.path == patch.file) {
            Some(file) => file,
            None => {
                files.push(SourceFile { path: patch.file.clone(), bytes: Vec::new() });
                files.last_mut()?
            }
        };
        let mut text = String::from_utf8(std::mem::take(&mut file.bytes)).ok()?;
        let at = if patch.line == 0 { text.len() } else { offset(&text, patch.line, patch.column)? };
        text.insert_str(at, &patch.insert);
        file.bytes = text.into_bytes();
    }
    Bundle::from_files(bundle.name.clone(), files).ok()
}

fn offset(text: &str, line: u32, column: u32) -> Option<usize> {
    let mut start = 0;
    for (number, whole) in (1..).zip(text.split_inclusive('\n')) {
        if number == line {
            let own = whole.trim_end_matches(['\n', '\r']);
            return own.char_indices().map(|(at, _)| at).chain([own.len()]).nth(column as usize).map(|at| start + at);
        }
        start += whole.len();
    }
    None
}

pub(super) fn add_caller(bundle: &Bundle, authorizer: &Authorizer, permission: &Permission, request: &Request) -> Option<Edit> {
    let caller = caller(authorizer, request);
    let breadth = permission.to.len() * operations(permission);
    add(bundle, permission, "from", &caller, breadth)
}

pub(super) fn add_operation(bundle: &Bundle, permission: &Permission, operation: &str) -> Option<Edit> {
    add(bundle, permission, "operations", operation, permission.from.len() * permission.to.len())
}

pub(super) fn add_method(bundle: &Bundle, permission: &Permission, request: &Request) -> Option<Edit> {
    let Target::Http { method, .. } = &request.target else { return None };
    add(bundle, permission, "methods", method.as_str(), permission.from.len() * permission.to.len() * operations(permission))
}

fn operations(permission: &Permission) -> usize {
    match &permission.operations {
        Operations::Listed(ids) => ids.len(),
        _ => MANY,
    }
}

/// Adds a word to a list of a permission's scope.
fn add(bundle: &Bundle, permission: &Permission, field: &str, word: &str, breadth: usize) -> Option<Edit> {
    let source = Source::of(bundle, "Permission", &permission.name, &permission.at)?;
    let list = source.node.get("allow")?.get(field)?;
    let law = source.append(list, &quoted(word))?;
    let at = Location::new(&*permission.at.file, law.last()?.line, 1).short();
    let text = format!("add `{word}` to `allow.{field}` of `{}` ({at})", permission.name);
    // Whoever joins a grant of everything gets more than was asked for: a permission of its own is smaller than that.
    let cost = if breadth >= MANY { LAW_COST + NEW_COST } else { LAW_COST };
    Some(Edit { kind: EditKind::Permission, at, text, law, request: Vec::new(), cost, breadth })
}

/// Declares the operation that a request asks for, where a permission for all declared operations would then cover it.
pub(super) fn add_declaration(bundle: &Bundle, service: &Service, permission: &Permission, request: &Request) -> Option<Edit> {
    if permission.operations != Operations::Declared {
        return None;
    }
    let source = Source::of(bundle, "Service", &service.name, &service.at)?;
    let (id, entry) = declaration(service, request);
    let law = source.append(source.node.get("operations")?, &entry)?;
    let at = Location::new(&*service.at.file, law.last()?.line, 1).short();
    let text = format!(
        "declare the operation `{id}` of `{}`: add `{entry}` to its `operations` ({at}), which `{}` then covers",
        service.name, permission.name
    );
    // Every permission for all operations of the service widens with it.
    Some(Edit { kind: EditKind::Operation, at, text, law, request: Vec::new(), cost: LAW_COST + 1, breadth: MANY })
}

/// A permission that covers this caller and this operation, and the operation's declaration where it has none.
pub(super) fn new_permission(bundle: &Bundle, authorizer: &Authorizer, request: &Request, decision: &Decision<'_>) -> Option<Edit> {
    let service = authorizer.service(&request.service)?;
    let caller = caller(authorizer, request);
    let mut law = Vec::new();
    let (operation, declared) = match decision.operation {
        Some(operation) => (operation.to_owned(), String::new()),
        None => {
            let source = Source::of(bundle, "Service", &service.name, &service.at)?;
            let (id, entry) = declaration(service, request);
            law.extend(source.append(source.node.get("operations")?, &entry)?);
            let at = Location::new(&*service.at.file, law.last()?.line, 1).short();
            (id, format!("# declared in {at}: {entry}\n"))
        }
    };
    let word = caller.rsplit('/').next().unwrap_or_default();
    let word = if authorizer.identify(&request.principal).is_some() { caller.as_str() } else { word };
    let taken = |name: &str| authorizer.policies().iter().any(|p| *p.reference.id == *name);
    let base: String =
        format!("{word}-{operation}-of-{}", service.name).chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    let name = std::iter::once(base.clone()).chain((2..).map(|n| format!("{base}-{n}"))).find(|name| !taken(name))?;
    let snippet = format!(
        "kind: Permission\nname: {name}\nallow: {{from: [{}], to: {}, operations: [{operation}]}}\njustification: TODO\n",
        quoted(&caller),
        service.name
    );
    let file = authorizer.permissions.last().map_or_else(|| "permissions.yaml".to_owned(), |p| p.at.file.clone());
    let before = bundle.files.iter().find(|f| f.path == file).map(|f| f.bytes.as_slice()).unwrap_or_default();
    let separator = match before {
        [] => "",
        [.., b'\n'] => "\n---\n",
        _ => "\n\n---\n",
    };
    law.push(Patch { file: file.clone(), line: 0, column: 0, insert: format!("{separator}{snippet}") });
    let cost = if decision.operation.is_some() { NEW_COST } else { NEW_COST + LAW_COST };
    Some(Edit { kind: EditKind::NewPermission, at: file, text: format!("{declared}{snippet}"), law, request: Vec::new(), cost, breadth: 0 })
}

/// How a permission would name the caller: by its service or, of a stranger, by its identity.
fn caller(authorizer: &Authorizer, request: &Request) -> String {
    authorizer.identify(&request.principal).map_or_else(|| request.principal.to_string(), |s| s.name.to_string())
}

/// An id that is free, and the entry that declares the operation.
fn declaration(service: &Service, request: &Request) -> (String, String) {
    let (base, endpoint) = match &request.target {
        Target::Connect { port } => (format!("port-{port}"), format!("port: {port}")),
        Target::Http { method, path } => {
            let segment = path
                .segments()
                .filter(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'))
                .last()
                .unwrap_or("root");
            let template = if path.as_str().contains(['{', '}', '%']) { "/{rest*}".to_owned() } else { path.as_str().to_owned() };
            (format!("{}-{segment}", method.as_str().to_ascii_lowercase()), format!("method: {}, path: \"{template}\"", method.as_str()))
        }
    };
    let taken = |id: &str| service.operations.iter().any(|o| *o.id == *id);
    let base: String = base.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let id = std::iter::once(base.clone()).chain((2..).map(|n| format!("{base}-{n}"))).find(|id| !taken(id)).unwrap_or(base);
    let entry = format!("{{id: {id}, {endpoint}}}");
    (id, entry)
}

/// A word as YAML takes it in brackets.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':');
    let begins = word.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins && word.chars().all(plain) && !word.ends_with(':') {
        word.to_owned()
    } else {
        format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// A resource as it is written.
struct Source<'b> {
    file: &'b str,
    text: &'b str,
    node: Node,
}

impl<'b> Source<'b> {
    fn of(bundle: &'b Bundle, kind: &str, name: &str, at: &Location) -> Option<Self> {
        let file = bundle.files.iter().find(|f| f.path == at.file)?;
        let text = file.text().ok()?;
        let is_it =
            |node: &Node| node.get("kind").and_then(Node::as_str) == Some(kind) && node.get("name").and_then(Node::as_str) == Some(name);
        let node = yaml::parse(&file.path, text).ok()?.into_iter().find(is_it)?;
        Some(Self { file: &file.path, text, node })
    }

    /// Appends an entry to a list, however it is written; one word becomes a list of two.
    fn append(&self, list: &Node, entry: &str) -> Option<Vec<Patch>> {
        let patch = |line: u32, column: u32, insert: String| Patch { file: self.file.to_owned(), line, column, insert };
        match &list.value {
            Value::Scalar(..) => {
                let (line, column) = (list.line, list.column - 1);
                Some(vec![patch(line, column, "[".to_owned()), patch(line, column + list.length, format!(", {entry}]"))])
            }
            Value::Sequence(items) => {
                let last = items.last()?;
                let line = self.text.lines().nth(last.line.checked_sub(1)? as usize)?;
                let before: String = line.chars().take(last.column.checked_sub(1)? as usize).collect();
                if let Some(indent) = before.trim_end().strip_suffix('-').filter(|indent| indent.trim().is_empty()) {
                    let end = last_line(last);
                    let column = u32::try_from(self.text.lines().nth(end.checked_sub(1)? as usize)?.chars().count()).ok()?;
                    return Some(vec![patch(end, column, format!("\n{indent}- {entry}"))]);
                }
                match last.value {
                    Value::Scalar(..) => Some(vec![patch(last.line, last.column - 1 + last.length, format!(", {entry}"))]),
                    // Where the bracket of a value in brackets closes is not known here; in front of it is as good.
                    _ => Some(vec![patch(last.line, last.column - 1, format!("{entry}, "))]),
                }
            }
            Value::Mapping(_) => None,
        }
    }
}

/// The bundle with one operation more in a service, however its list is written. The comment is written where a line can end with one.
/// `None` where the text of the service leaves no place for it.
#[must_use]
pub fn with_operation(bundle: &Bundle, service: &Service, entry: &str, comment: &str) -> Option<Bundle> {
    let source = Source::of(bundle, "Service", &service.name, &service.at)?;
    let mut patches = match source.node.get("operations") {
        Some(list) => source.append(list, entry)?,
        None => {
            let name = source.node.get("name")?;
            let line = source.text.lines().nth(name.line.checked_sub(1)? as usize).filter(|line| line.starts_with("name:"))?;
            let insert = format!("\noperations:\n  - {entry}");
            vec![Patch { file: source.file.to_owned(), line: name.line, column: u32::try_from(line.chars().count()).ok()?, insert }]
        }
    };
    for patch in patches.iter_mut().filter(|p| p.insert.starts_with('\n') && !comment.is_empty()) {
        patch.insert.push_str("  # ");
        patch.insert.push_str(comment);
    }
    apply(bundle, &patches)
}

fn last_line(node: &Node) -> u32 {
    let inner = match &node.value {
        Value::Scalar(..) => None,
        Value::Sequence(items) => items.iter().map(last_line).max(),
        Value::Mapping(items) => items.iter().map(|(k, v)| last_line(k).max(last_line(v))).max(),
    };
    inner.unwrap_or(node.line).max(node.line)
}

/// A change of the law weighs more than something that a request brings; a new permission more than two changes of one that is there.
const LAW_COST: usize = 2;
const NEW_COST: usize = 5;
/// `'*'` counts as this many operations.
const MANY: usize = 1_000;
