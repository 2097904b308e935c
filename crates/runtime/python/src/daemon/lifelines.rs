//! The descriptors without which a process is deaf. An application can close them by mistake (`os.closerange(3, 200)`):
//! then no request, no signal and no word of the server would reach the process any more, so it exits and is replaced.

use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, RawFd};

use wsgi_protocol::launch::DESCRIPTORS_LOST;

/// A descriptor, and which file it stood for.
#[derive(Clone, Copy)]
struct Lifeline {
    what: &'static str,
    number: RawFd,
    /// Device and number of the file, where they tell one file from another.
    file: Option<(u64, u64)>,
}

/// Device and number of what a descriptor stands for; `None`: it is not open.
fn file_of(number: RawFd) -> Option<(u64, u64)> {
    // SAFETY: a zeroed structure is valid, and writable.
    unsafe {
        let mut data: libc::stat = std::mem::zeroed();
        (libc::fstat(number, &raw mut data) == 0).then_some((data.st_dev, data.st_ino))
    }
}

impl Lifeline {
    fn is_cut(self) -> bool {
        let file = file_of(self.number);
        file.is_none() || file != self.file
    }
}

/// See the module.
pub(super) struct Lifelines {
    lines: Vec<Lifeline>,
    /// Standard error.
    output: Lifeline,
}

impl Lifelines {
    /// Notes descriptors, each with a name for the log.
    pub(super) fn note(descriptors: &[(&'static str, BorrowedFd<'_>)]) -> Self {
        let line = |what, number| Lifeline { what, number, file: file_of(number) };
        let lines = descriptors.iter().map(|(what, descriptor)| line(*what, descriptor.as_raw_fd())).collect();
        Self { lines, output: line("standard error", 2) }
    }

    /// What is not there any more.
    fn cut(&self) -> Vec<&'static str> {
        self.lines.iter().filter(|line| line.is_cut()).map(|line| line.what).collect()
    }

    /// Exits if a descriptor is gone. The reason goes to standard error, which is most likely still there.
    pub(super) fn check(&self, group: &str) {
        let cut = self.cut();
        if !cut.is_empty() {
            self.exit(group, &cut);
        }
    }

    /// Exits because these descriptors are gone.
    pub(super) fn exit(&self, group: &str, cut: &[&str]) -> ! {
        if !self.output.is_cut() {
            let text = format!(
                "WSGI0961: The application has closed descriptors of daemon process '{group}' that it did not open ({}); \
                 the process exits and is replaced.\n",
                cut.join(", ")
            );
            // SAFETY: descriptor 2 is open, and stays it: nothing closes it when the value goes.
            let mut output = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(2) });
            // There is no other place to say so.
            let _ = output.write_all(text.as_bytes());
        }
        // SAFETY: nothing may run any more: what the process would close or write to now may be the application's.
        unsafe { libc::_exit(DESCRIPTORS_LOST) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use super::*;

    #[test]
    fn a_number_that_stands_for_another_file_is_cut() {
        let (one, other) = std::io::pipe().expect("a pipe");
        let lines = Lifelines::note(&[("a pipe", one.as_fd()), ("its end", other.as_fd())]);
        assert!(lines.cut().is_empty());
        let number = one.as_raw_fd();
        let null: OwnedFd = std::fs::File::open("/dev/null").expect("it is there").into();
        // SAFETY: the number is this test's own, and stays taken.
        assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), number) }, number);
        assert_eq!(lines.cut(), ["a pipe"]);
    }
}
