//! The original with the selected changes in it, as the rules about links and git directories look at it.

use super::manifest::{Kind, Manifest};
use super::scan::{Change, Node};
use policy::Tree;
use std::collections::HashMap;

pub(super) struct View<'a> {
    manifest: &'a Manifest,
    selected: HashMap<&'a [u8], &'a Node>,
}

impl<'a> View<'a> {
    pub(super) fn new(manifest: &'a Manifest, selected: &[&'a Change]) -> View<'a> {
        let selected = selected.iter().map(|change| (change.path.as_slice(), &change.now)).collect();
        View { manifest, selected }
    }
}

impl Tree for View<'_> {
    fn link(&self, path: &[u8]) -> Option<Vec<u8>> {
        match self.selected.get(path) {
            Some(Node::Link { target }) => Some(target.clone()),
            Some(_) => None,
            None => match self.manifest.entries.get(path).map(|entry| &entry.kind) {
                Some(Kind::Link { target }) => Some(target.clone()),
                _ => None,
            },
        }
    }

    fn has(&self, path: &[u8]) -> bool {
        match self.selected.get(path) {
            Some(now) => **now != Node::Gone,
            None => self.manifest.entries.contains_key(path),
        }
    }
}
