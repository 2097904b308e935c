//! A daemon process group: what a `WSGIDaemonProcess` comes to.

use wsgi_protocol::launch::Timeouts;

use crate::host::{Server, User};

/// A daemon process group as it was defined.
#[derive(Clone, Debug)]
pub(crate) struct DaemonGroup {
    /// Its name.
    pub(crate) name: Vec<u8>,
    /// Where it was defined.
    pub(crate) server: Server<'static>,
    pub(crate) processes: u32,
    /// `processes=` was given, whatever its value: `wsgi.multiprocess`.
    pub(crate) multiprocess: bool,
    /// 0 is a service process.
    pub(crate) threads: u32,
    /// `None` is Apache's user.
    pub(crate) user: Option<User>,
    /// `None` is Apache's group.
    pub(crate) group: Option<u32>,
    /// `None` are the user's groups.
    pub(crate) supplementary_groups: Option<Vec<u32>>,
    pub(crate) umask: Option<u32>,
    pub(crate) chroot: Option<Vec<u8>>,
    pub(crate) home: Option<Vec<u8>>,
    pub(crate) lang: Option<Vec<u8>>,
    pub(crate) locale: Option<Vec<u8>>,
    pub(crate) python_home: Option<Vec<u8>>,
    pub(crate) python_path: Option<Vec<u8>>,
    pub(crate) python_eggs: Option<Vec<u8>>,
    /// `python=`: the engine's version.
    pub(crate) python: Option<String>,
    pub(crate) switch_interval: Option<f64>,
    pub(crate) stack_size: u64,
    pub(crate) maximum_requests: u64,
    /// Milliseconds; `socket` 0 is Apache's `Timeout`.
    pub(crate) timeouts: Timeouts,
    /// Milliseconds.
    pub(crate) connect_timeout: u64,
    /// Milliseconds; 0 is `socket-timeout`.
    pub(crate) response_socket_timeout: u64,
    pub(crate) listen_backlog: u32,
    pub(crate) display_name: Option<Vec<u8>>,
    pub(crate) send_buffer_size: u32,
    pub(crate) receive_buffer_size: u32,
    /// 0 is the default.
    pub(crate) header_buffer_size: u32,
    /// 0 is the default.
    pub(crate) response_buffer_size: u32,
    /// Milliseconds.
    pub(crate) response_flush_delay: u64,
    /// The owner of the socket files; `None` is Apache's user.
    pub(crate) socket_user: Option<User>,
    pub(crate) script_user: Option<Vec<u8>>,
    pub(crate) script_group: Option<Vec<u8>>,
    /// Seconds.
    pub(crate) cpu_time_limit: u64,
    pub(crate) cpu_priority: i32,
    pub(crate) memory_limit: u64,
    pub(crate) virtual_memory_limit: u64,
    pub(crate) server_metrics: bool,
    /// How a process is replaced by its successor; `None` is the default of the group's kind.
    pub(crate) handover: Option<Handover>,
    /// Restarts that the processes decide on wait for the successor.
    pub(crate) rolling: bool,
    /// One process loads the application and is forked into those that serve.
    pub(crate) fork_after_load: bool,
    /// `setenv=`, in order.
    pub(crate) environment: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) environment_file: Option<Vec<u8>>,
}

/// How a process is replaced by its successor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Handover {
    /// The predecessor serves until the successor does.
    #[default]
    Overlap,
    /// The predecessor has ended before the successor starts.
    Sequential,
}

impl DaemonGroup {
    /// A group with the defaults of the table.
    pub(crate) fn new(name: Vec<u8>, server: Server<'static>) -> Self {
        Self {
            name,
            server,
            processes: 1,
            multiprocess: false,
            threads: 15,
            user: None,
            group: None,
            supplementary_groups: None,
            umask: None,
            chroot: None,
            home: None,
            lang: None,
            locale: None,
            python_home: None,
            python_path: None,
            python_eggs: None,
            python: None,
            switch_interval: None,
            stack_size: 0,
            maximum_requests: 0,
            timeouts: Timeouts {
                shutdown: 5_000,
                deadlock: 300_000,
                graceful: 15_000,
                handover: 300_000,
                ..Timeouts::default()
            },
            connect_timeout: 15_000,
            response_socket_timeout: 0,
            listen_backlog: 100,
            display_name: None,
            send_buffer_size: 0,
            receive_buffer_size: 0,
            header_buffer_size: 0,
            response_buffer_size: 0,
            response_flush_delay: 5,
            socket_user: None,
            script_user: None,
            script_group: None,
            cpu_time_limit: 0,
            cpu_priority: 0,
            memory_limit: 0,
            virtual_memory_limit: 0,
            server_metrics: false,
            handover: None,
            rolling: false,
            fork_after_load: false,
            environment: Vec::new(),
            environment_file: None,
        }
    }

    /// How a process is replaced. Two services at once would do their work twice, and nobody waits for one: by default they
    /// run in turn.
    pub(crate) fn handover(&self) -> Handover {
        let default = if self.threads == 0 { Handover::Sequential } else { Handover::Overlap };
        self.handover.unwrap_or(default)
    }

    /// The name as text, for messages.
    pub(crate) fn display(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

#[cfg(test)]
impl DaemonGroup {
    /// A group of no server.
    pub(crate) fn for_tests() -> Self {
        Self::new(b"web".to_vec(), Server::nowhere())
    }
}
