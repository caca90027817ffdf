//! Where in a container's cgroup one more process goes: to its directories, to
//! init's, or to those below them that are asked for. Makes none of them.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::stamp::Owner;
use super::{Cgroup, Directory, Node, dir};
use crate::{Error, ErrorKind};

impl Cgroup {
    /// `asked`: `CONTROLLER[,CONTROLLER]:PATH` for the hierarchy of these, `PATH` for all.
    pub(crate) fn for_one_more(mut self, init: i32, asked: &[String]) -> Result<Cgroup, Error> {
        let below = self.meant(asked)?;
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let there = match below.get(&index) {
                Some(path) => Some(node.below(path)?),
                None => node.below_with(init)?,
            };
            if let Some(there) = there {
                *node = there;
            }
        }
        Ok(self)
    }

    /// The path in each directory for which one is asked.
    fn meant<'a>(&self, asked: &'a [String]) -> Result<BTreeMap<usize, &'a str>, Error> {
        let mut paths = BTreeMap::new();
        for asked in asked {
            let refused = |why: String| {
                let message = format!("invalid cgroup {asked:?}: {why}");
                Err(Error::new(ErrorKind::InvalidConfig, message))
            };
            let (controllers, path) = match asked.split_once(':') {
                Some((controllers, path)) => (Some(controllers), path),
                None => (None, asked.as_str()),
            };
            let all = (0..self.nodes.len()).filter(|_| controllers.is_none());
            let mut indices: Vec<usize> = all.collect();
            for name in controllers.into_iter().flat_map(|names| names.split(',')) {
                let found = |node: &Node| !name.is_empty() && node.place.controls(name);
                let Some(index) = self.nodes.iter().position(found) else {
                    return refused(format!("the container has no {name:?} hierarchy"));
                };
                indices.push(index);
            }
            if indices.is_empty() {
                return refused("the container has no cgroup".to_owned());
            }
            for index in indices {
                if paths.insert(index, path).is_some_and(|other| other != path) {
                    return refused("its hierarchy has a path already".to_owned());
                }
            }
        }
        Ok(paths)
    }
}

impl Node {
    /// One that exists below it.
    fn below(&self, path: &str) -> Result<Node, Error> {
        let path = path.trim_matches('/');
        let place = Directory {
            path: format!("{}/{path}", self.place.path),
            ..self.place.clone()
        };
        let opened = dir::open_beneath(self.dir(), if path.is_empty() { "." } else { path });
        let dir = opened.map_err(|errno| match errno {
            Errno::EXDEV => {
                let message = format!("cgroup {path} is not below the container's own");
                Error::new(ErrorKind::InvalidConfig, message)
            }
            _ => Error::system(format!("cannot open cgroup {}", place.display()), errno),
        })?;
        // An owner is asked for only where something is killed or removed.
        let owner = Owner::Nobody;
        Ok(Node { place, owner, dir })
    }

    /// A cgroup2 directory that has controllers enabled for its children takes no processes itself: then init has
    /// gone below it, as systemd does, and the new one goes there too. cgroups(7)
    fn below_with(&self, init: i32) -> Result<Option<Node>, Error> {
        if !self.place.is_v2() {
            return Ok(None);
        }
        let enabled = dir::read_at(self.dir(), "cgroup.subtree_control").unwrap_or_default();
        if enabled.trim().is_empty() {
            return Ok(None);
        }
        let inits = dir::read_path(&format!("/proc/{init}/cgroup")).unwrap_or_default();
        let inits = inits.lines().find_map(|line| line.strip_prefix("0::/"));
        let own = format!("{}/", self.place.path);
        let Some(below) = inits.filter(|inits| inits.starts_with(&own)) else {
            return Ok(None);
        };
        let place = Directory {
            path: below.to_owned(),
            ..self.place.clone()
        };
        Node::open(&place, "").map_err(|errno| self.error("cannot open", errno))
    }
}
