//! What a group holds from one generation of the configuration to the next: its sockets, its status page, its ways to
//! the log. Made here, kept where the group stays, given up where it does not.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use wsgi_protocol::frame::Secret;
use wsgi_protocol::launch::LEAVE;
use wsgi_protocol::loader::Order;
use wsgi_protocol::page::Layout;

use super::group::{Plan, pipe};
use super::log_writer;
use super::orders;
use super::parent_log;
use super::retained::{SavedGroup, SavedListener, SavedLoader, SavedProcess, SavedSlot};
use super::sockets::{self, ListenError};
use super::status_page::StatusPage;
use crate::codes;

/// Why a group has no sockets, page or log.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("Daemon group will not start ({0}).")]
    Io(#[from] io::Error),
}

impl PrepareError {
    pub(super) fn code(&self) -> &'static codes::Code {
        match self {
            Self::Listen(error) => error.code(),
            Self::Io(_) => &codes::DAEMON_FAILED,
        }
    }
}

/// Makes what a group needs, keeping what an earlier generation left.
pub(super) fn prepare(plan: &Plan, kept: &mut SavedGroup, era: u32) -> Result<Arc<StatusPage>, PrepareError> {
    if kept.name.is_empty() {
        kept.secret = new_secret()?;
        kept.name.clone_from(&plan.name);
        let (writing, reading) = log_writer::packet_pair()?;
        kept.log = (writing.into_raw_fd(), reading.into_raw_fd());
        let (reading, writing) = pipe()?;
        kept.output = (writing, reading);
    }
    let layout = (plan.layout.processes(), plan.layout.threads(), plan.layout.children());
    let same = kept.page >= 0 && kept.layout == layout && !kept.has_full_slot();
    // One that another version of the module left may be laid out in another way.
    let usable = same.then(|| StatusPage::map(kept.page, plan.layout).ok().filter(StatusPage::is_current)).flatten();
    let page = match usable {
        Some(page) => page,
        None => {
            let (descriptor, page) = StatusPage::make(plan.layout)?;
            note_served(kept);
            close(kept.page);
            kept.page = descriptor.into_raw_fd();
            kept.pages += 1;
            kept.layout = layout;
            page
        }
    };
    let same_sockets = kept.sockets == plan.sockets;
    let wanted = plan.processes as usize;
    while kept.slots.len() > wanted {
        if let Some(slot) = kept.slots.pop() {
            discard(slot.listener);
            dismiss(slot.process, kept.slots.len(), kept);
        }
    }
    kept.slots.resize_with(wanted, SavedSlot::default);
    let listen = |listener: &mut SavedListener, which: &str| -> Result<(), ListenError> {
        let made = !listener.path.is_empty();
        if made && same_sockets {
            let old = Path::new(OsStr::from_bytes(&listener.path));
            if sockets::file(old).is_ok_and(|file| file == listener.file) {
                return Ok(());
            }
            parent_log::server(
                plan.server,
                &codes::SOCKET_GONE,
                format_args!("Unix domain socket '{}' has been removed; it is made anew.", old.display()),
            );
        }
        // The sockets of another version's processes stay where they are until those have ended.
        let which = if era == 0 { which.to_owned() } else { format!("{which}.{era}") };
        let path = sockets::path(&plan.sockets.prefix, std::process::id(), &plan.name, &which);
        let ours = listener.path == path.as_os_str().as_bytes();
        discard(std::mem::take(listener));
        let backlog = i32::try_from(plan.sockets.backlog).unwrap_or(i32::MAX);
        let socket = sockets::listen(&path, backlog, plan.sockets.owner, || {
            if !ours {
                parent_log::server(
                    plan.server,
                    &codes::STALE_SOCKET,
                    format_args!("Removing stale unix domain socket '{}'.", path.display()),
                );
            }
        })?;
        let file = sockets::file(&path).map_err(|error| ListenError::Bind(path.clone(), error))?;
        let path = path.into_os_string().into_vec();
        *listener = SavedListener { descriptor: socket.into_raw_fd(), path, file };
        Ok(())
    };
    for (number, slot) in kept.slots.iter_mut().enumerate() {
        listen(&mut slot.listener, &number.to_string())?;
    }
    if wanted > 1 {
        listen(kept.overflow.get_or_insert_default(), "any")?;
    } else if let Some(overflow) = kept.overflow.take() {
        discard(overflow);
    }
    kept.sockets = plan.sockets.clone();
    Ok(Arc::new(page))
}

fn new_secret() -> io::Result<Secret> {
    let mut secret = Secret::default();
    // SAFETY: room for as many bytes as it says.
    let count = unsafe { libc::getrandom(secret.as_mut_ptr().cast(), secret.len(), 0) };
    if usize::try_from(count) == Ok(secret.len()) { Ok(secret) } else { Err(io::Error::last_os_error()) }
}

/// The configuration has no such group any more.
pub(super) fn retire(group: &mut SavedGroup) {
    for (number, slot) in std::mem::take(&mut group.slots).into_iter().enumerate() {
        discard(slot.listener);
        dismiss(slot.process, number, group);
    }
    group.loaders.iter_mut().for_each(retire_loader);
    if let Some(overflow) = group.overflow.take() {
        discard(overflow);
    }
    close(group.page);
    group.page = -1;
    if !is_inhabited(group) {
        close_channels(group);
    }
}

/// Whether a process of the group is left.
pub(super) fn is_inhabited(group: &SavedGroup) -> bool {
    !group.former.is_empty() || !group.loaders.is_empty()
}

/// Closes a group's ways to the log.
pub(super) fn close_channels(group: &mut SavedGroup) {
    for descriptor in [group.log.0, group.log.1, group.output.0, group.output.1] {
        close(descriptor);
    }
    (group.log, group.output) = ((-1, -1), (-1, -1));
}

fn discard(listener: SavedListener) {
    if !listener.path.is_empty() {
        close(listener.descriptor);
        unlink(&listener);
    }
}

/// Removes a listener's socket file.
pub(super) fn unlink(listener: &SavedListener) {
    // It may be gone already.
    let _ = std::fs::remove_file(OsStr::from_bytes(&listener.path));
}

/// Closes a descriptor, if it is one.
pub(super) fn close(descriptor: RawFd) {
    if descriptor >= 0 {
        // SAFETY: a descriptor of ours that nothing refers to any more.
        unsafe { libc::close(descriptor) };
    }
}

/// Closes what the server kept of a process that has ended.
pub(super) fn release(process: SavedProcess) {
    close(process.control);
    close(process.scripts);
}

/// Asks the processes of a slot to finish what they have and end.
fn dismiss(process: Option<SavedProcess>, slot: usize, group: &mut SavedGroup) {
    match process {
        // Should it be forked all the same, it finds that nobody wants it.
        Some(process) if process.is_ordered() => release(process),
        process => group.former.extend(process),
    }
    for process in group.former.iter_mut().filter(|process| process.slot() == slot) {
        if process.ask_to_leave().is_some() {
            send_leave(process);
        }
    }
}

/// Asks a process to finish what it has and end.
pub(super) fn send_leave(process: &SavedProcess) {
    write_leave(process.control);
}

/// The same, by its control pipe.
pub(super) fn write_leave(control: RawFd) {
    // SAFETY: writes one byte from one; a process that has ended needs no telling.
    unsafe { libc::write(control, [LEAVE].as_ptr().cast(), 1) };
}

/// Keeps of a page that is given up which processes had begun to serve.
fn note_served(kept: &mut SavedGroup) {
    let (processes, threads, children) = kept.layout;
    let map = |layout| StatusPage::map(kept.page, layout).ok().filter(StatusPage::is_current);
    let page = Layout::new(processes, threads, children).and_then(map);
    let present = kept.pages;
    for process in kept.processes_mut().filter(|process| process.page == present) {
        // Where nothing can be read it is taken for one that nobody may do without.
        process.served = page.as_ref().is_none_or(|page| page.has_started(process.place));
    }
}

/// Has a loader fork no more, and end after its last process.
pub(super) fn retire_loader(loader: &mut SavedLoader) {
    if !loader.retired {
        // One that has ended, or does not read, needs no telling: it forks nothing that anybody wants.
        let _ = orders::send(loader.socket, Order::Retire, &[]);
        loader.retired = true;
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::atomic::Ordering;

    use wsgi_protocol::page::State;

    use super::super::status_page::PLACES;
    use super::*;

    #[test]
    fn a_page_that_is_given_up_leaves_behind_who_had_served() {
        let layout = Layout::new(2 * PLACES, 1, 1).expect("small");
        let (descriptor, page) = StatusPage::make(layout).expect("memory");
        for (place, state) in [(0, State::Starting), (PLACES, State::Ready)] {
            page.page().process(place).expect("is there").state.store(state as u32, Ordering::Relaxed);
        }
        let slot = |place| SavedSlot { process: Some(SavedProcess::at(place, 0)), ..SavedSlot::default() };
        let mut group = SavedGroup {
            page: descriptor.as_raw_fd(),
            layout: (layout.processes(), layout.threads(), layout.children()),
            slots: vec![slot(0), slot(PLACES)],
            former: vec![SavedProcess::at(PLACES, 7)],
            ..SavedGroup::default()
        };
        note_served(&mut group);
        let served: Vec<bool> = group.processes().map(|process| process.served).collect();
        assert_eq!(served, [false, true, false], "the last one is not of this page");
    }

    #[test]
    fn a_group_that_could_not_be_made_closes_nothing() {
        retire(&mut SavedGroup::default());
        for number in 0..3 {
            // SAFETY: no pointers.
            assert!(unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0, "{number} was closed");
        }
    }
}
