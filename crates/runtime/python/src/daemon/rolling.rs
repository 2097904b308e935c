//! `rolling=On`: what a process does that goes on serving until its successor serves.
//!
//! It notes on the status page that it wants a successor, and rings ([`super::server::Server::want_successor`]). What it has loaded is listed in memory that the
//! successor reads: that has to load the same before it takes over.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use wsgi_protocol::page::{Wish, version_of_script};
use wsgi_protocol::scripts::{self, Entry, LENGTHS};

use super::status::Status;

/// The most changed scripts that are remembered.
const MOST: usize = 4096;

/// See the module.
pub(super) struct Rolling {
    list: File,
    listed: Mutex<Listed>,
    /// The scripts that a successor was asked for, with the version that they had.
    asked: Mutex<HashMap<Vec<u8>, u64>>,
}

#[derive(Default)]
struct Listed {
    known: HashSet<(Vec<u8>, Vec<u8>)>,
    end: usize,
}

impl Rolling {
    pub(super) fn new(list: OwnedFd) -> Self {
        Self { list: list.into(), listed: Mutex::default(), asked: Mutex::default() }
    }

    /// Lists a script that was loaded. One that does not fit is loaded by the first request, as without a list.
    pub(super) fn note(&self, path: &[u8], group: &[u8]) {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = (path.to_vec(), group.to_vec());
        if listed.known.contains(&known) {
            return;
        }
        let position = listed.end;
        let Some((lengths, bytes)) = (Entry { path, group }).encode(position) else { return };
        let at = |position: usize| u64::try_from(position).unwrap_or(u64::MAX);
        let written = self
            .list
            .write_all_at(&bytes, at(position + LENGTHS))
            .and_then(|()| self.list.write_all_at(&lengths, at(position)));
        if written.is_ok() {
            listed.end += LENGTHS + bytes.len();
            listed.known.insert(known);
        }
    }

    /// Whether a script's new version is one to ask a successor for: not when that was done already, by this process or,
    /// in vain, by another one of the group.
    pub(super) fn is_news(&self, status: &Status, path: &[u8], version: u64) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let same = asked.get(path) == Some(&version);
        if (same && status.wish() != Wish::None) || status.given_up() == version_of_script(path, version) {
            return false;
        }
        if asked.len() >= MOST {
            asked.clear();
        }
        asked.insert(path.to_vec(), version);
        // Not later, so that only one thread says so.
        status.set_wish(Wish::Script);
        true
    }
}

/// What a process's predecessor has loaded.
pub(super) struct Inherited(Vec<u8>);

impl Inherited {
    /// Reads its list.
    pub(super) fn read(list: OwnedFd) -> io::Result<Self> {
        let mut bytes = vec![0; scripts::SIZE];
        File::from(list).read_exact_at(&mut bytes, 0)?;
        Ok(Self(bytes))
    }

    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        scripts::entries(&self.0).collect()
    }
}
