//! The ownership mark: one line in an object's description that says whose it is and what a lost store must not forget.
//!
//! `berth/1 OWNER/STACK/APP op=… [id=… h=… c=… n=… q=… s=… a=1]`. A mark is complete only with the object's own id,
//! since a duplicate of an object copies its description.

use crate::hash::Hash;
use crate::ids::{AppId, AppName, ChildId, OperationId, Owner, StackName};
use std::collections::BTreeMap;
use std::fmt;

/// How every mark begins.
pub const PREFIX: &str = "berth/1 ";

/// The description of environments that Berth makes. They have no mark of their own: their project has.
pub const OUR_ENVIRONMENT: &str = "Made by Berth";

/// The mark of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Which Berth.
    pub owner: Owner,
    /// Which stack.
    pub stack: StackName,
    /// Which app of it.
    pub app: AppName,
    /// The create that made it.
    pub op: OperationId,
    /// The object's own id; `None` until the create is finished.
    pub id: Option<AppId>,
    /// What was written last.
    pub hash: Option<Hash>,
    /// Ids of the children that are ours, in order.
    pub children: Vec<ChildId>,
    /// Digests of children that are about to be made.
    pub pending: Vec<Hash>,
    /// The spec that failed and was rolled back.
    pub quarantined: Option<Hash>,
    /// The highest version of each given secret that was applied.
    pub secrets: BTreeMap<String, u32>,
    /// Taken over, not made, by Berth.
    pub adopted: bool,
}

/// What a description says about ownership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkSeen {
    /// Nothing.
    None,
    /// A mark of another owner, or of a form that this version does not read: hands off.
    Foreign(String),
    /// A mark of this owner.
    Ours(Box<Mark>),
}

/// The mark line in a description, if there is one.
#[must_use]
pub fn line(description: &str) -> Option<&str> {
    description.lines().find(|l| l.starts_with("berth/"))
}

/// Of a mark line, or of none: equal within one process where the lines are equal.
#[must_use]
pub fn print(line: Option<&str>) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

/// The description with its mark line replaced by (or, where there was none, followed by) `mark`.
#[must_use]
pub fn with_line(description: Option<&str>, mark: &str) -> String {
    let description = description.unwrap_or("");
    match line(description) {
        Some(old) => description.replacen(old, mark, 1),
        None if description.trim().is_empty() => mark.to_owned(),
        None => format!("{}\n{mark}", description.trim_end()),
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{}/{} op={}", self.owner, self.stack, self.app, self.op)?;
        if let Some(id) = &self.id {
            write!(f, " id={id}")?;
        }
        if let Some(hash) = self.hash {
            write!(f, " h={hash}")?;
        }
        let list = |f: &mut fmt::Formatter<'_>, key: &str, items: Vec<String>| {
            if items.is_empty() { Ok(()) } else { write!(f, " {key}={}", items.join(",")) }
        };
        list(f, "c", self.children.iter().map(ToString::to_string).collect())?;
        list(f, "n", self.pending.iter().map(ToString::to_string).collect())?;
        if let Some(q) = self.quarantined {
            write!(f, " q={q}")?;
        }
        list(f, "s", self.secrets.iter().map(|(k, v)| format!("{k}:{v}")).collect())?;
        if self.adopted {
            f.write_str(" a=1")?;
        }
        Ok(())
    }
}

/// Reads the mark in a description. Unknown words are passed over: a later version may add some.
#[must_use]
pub fn read(description: &str, us: &Owner) -> MarkSeen {
    let Some(text) = line(description) else {
        return MarkSeen::None;
    };
    match parse(text) {
        Some(mark) if mark.owner == *us => MarkSeen::Ours(Box::new(mark)),
        _ => MarkSeen::Foreign(text.chars().take(120).collect()),
    }
}

fn parse(text: &str) -> Option<Mark> {
    let mut words = text.strip_prefix(PREFIX)?.split_ascii_whitespace();
    let mut path = words.next()?.split('/');
    let mut mark = Mark {
        owner: Owner::new(path.next()?).ok()?,
        stack: StackName::new(path.next()?).ok()?,
        app: AppName::new(path.next()?).ok()?,
        op: OperationId::from(""),
        id: None,
        hash: None,
        children: Vec::new(),
        pending: Vec::new(),
        quarantined: None,
        secrets: BTreeMap::new(),
        adopted: false,
    };
    if path.next().is_some() {
        return None;
    }
    for word in words {
        let (key, value) = word.split_once('=')?;
        match key {
            "op" => mark.op = value.into(),
            "id" => mark.id = Some(value.into()),
            "h" => mark.hash = Some(Hash::parse(value)?),
            "q" => mark.quarantined = Some(Hash::parse(value)?),
            "c" => mark.children = value.split(',').map(ChildId::from).collect(),
            "n" => mark.pending = value.split(',').map(Hash::parse).collect::<Option<_>>()?,
            "s" => {
                for item in value.split(',') {
                    let (name, version) = item.rsplit_once(':')?;
                    mark.secrets.insert(name.to_owned(), version.parse().ok()?);
                }
            }
            "a" => mark.adopted = value == "1",
            _ => {}
        }
    }
    (!mark.op.as_str().is_empty()).then_some(mark)
}

/// The mark of a project or environment that Berth made: `berth/1 OWNER/STACK-or-"project"/- op=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceMark {
    /// Which Berth.
    pub owner: Owner,
    /// The stack that it was made for; `None` for a `Project` manifest.
    pub stack: Option<StackName>,
    /// The create that made it.
    pub op: OperationId,
}

impl fmt::Display for PlaceMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = self.stack.as_ref().map_or("+project", StackName::as_str);
        write!(f, "{PREFIX}{}/{whose}/- op={}", self.owner, self.op)
    }
}

/// Reads the mark of a project or environment of this owner.
#[must_use]
pub fn read_place(description: &str, us: &Owner) -> Option<PlaceMark> {
    let mut words = line(description)?.strip_prefix(PREFIX)?.split_ascii_whitespace();
    let mut path = words.next()?.split('/');
    let owner = Owner::new(path.next()?).ok().filter(|o| o == us)?;
    let stack = match path.next()? {
        "+project" => None,
        name => Some(StackName::new(name).ok()?),
    };
    if path.next()? != "-" {
        return None;
    }
    let op = words.find_map(|w| w.strip_prefix("op="))?.into();
    Some(PlaceMark { owner, stack, op })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Mark {
        Mark {
            owner: Owner::new("prod-eu").unwrap(),
            stack: StackName::new("john-dev").unwrap(),
            app: AppName::new("workspace").unwrap(),
            op: "k3j5".into(),
            id: Some("V1StGXR8_Z5jdHi6B-myT".into()),
            hash: Some(Hash(0x12)),
            children: vec!["a".into(), "b".into()],
            pending: vec![Hash(7)],
            quarantined: Some(Hash(9)),
            secrets: [("API_KEY".to_owned(), 3)].into(),
            adopted: true,
        }
    }

    #[test]
    fn marks_read_back() {
        let us = Owner::new("prod-eu").unwrap();
        let mark = full();
        let text = format!("someone's words\n{mark}\nmore");
        assert_eq!(read(&text, &us), MarkSeen::Ours(Box::new(mark.clone())));
        assert_eq!(with_line(Some(&text), "berth/1 x"), "someone's words\nberth/1 x\nmore");
        assert_eq!(with_line(Some("words"), "M"), "words\nM");
        assert_eq!(with_line(None, "M"), "M");
        let op_only =
            Mark { id: None, hash: None, children: vec![], pending: vec![], quarantined: None, ..mark };
        assert_eq!(read(&op_only.to_string(), &us), MarkSeen::Ours(Box::new(op_only)));
    }

    #[test]
    fn what_is_not_ours_is_left() {
        let us = Owner::new("prod-eu").unwrap();
        assert_eq!(read("hello", &us), MarkSeen::None);
        assert!(matches!(read("berth/1 other/a/b op=1", &us), MarkSeen::Foreign(_)));
        assert!(matches!(read("berth/2 prod-eu/a/b op=1", &us), MarkSeen::Foreign(_)));
        assert!(matches!(read("berth/1 prod-eu/a/b", &us), MarkSeen::Foreign(_)));
        assert!(matches!(read("berth/1 prod-eu/a/b op=1 h=zz", &us), MarkSeen::Foreign(_)));
        assert!(matches!(read("berth/1 prod-eu/a op=1", &us), MarkSeen::Foreign(_)));
    }

    #[test]
    fn place_marks_read_back() {
        let us = Owner::new("o").unwrap();
        for stack in [None, Some(StackName::new("s").unwrap())] {
            let mark = PlaceMark { owner: us.clone(), stack, op: "x1".into() };
            assert_eq!(read_place(&format!("words\n{mark}"), &us), Some(mark.clone()));
            assert!(matches!(read(&mark.to_string(), &us), MarkSeen::Foreign(_)));
        }
    }
}
