//! Ports: held from the choice until httpd has ended, and the holder of a busy one named.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, bind, getsockname, setsockopt, socket,
    sockopt,
};

use super::process;

/// How often a free port is looked for that is free on both loopback addresses.
const ATTEMPTS: usize = 64;

/// A port that nobody else gets while this lives.
///
/// Its sockets are bound with `SO_REUSEADDR` and never listen. The system then gives the port to no one who asks for any free
/// port, while httpd, which sets the same option and asks for this very port, can bind it. So there is no moment between the
/// choice of the port and the server's start, or during its restarts, at which another process could take it.
#[derive(Debug)]
pub struct HeldPort {
    port: u16,
    addresses: Vec<IpAddr>,
    _sockets: Vec<OwnedFd>,
}

/// Why a port could not be held.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Somebody listens on it.
    #[error("{address} is in use{}", by(.holders))]
    Busy {
        /// The address asked for.
        address: SocketAddr,
        /// Who listens there, as far as could be found out.
        holders: Vec<Holder>,
    },
    /// A port below 1024 without the right to bind it.
    #[error("{0} needs root (or CAP_NET_BIND_SERVICE): ports below {1} are reserved")]
    Reserved(SocketAddr, u16),
    /// The address is not one of this machine.
    #[error("{0} is not an address of this machine")]
    NotLocal(IpAddr),
    /// No port was free on all addresses.
    #[error("no port is free on the loopback addresses")]
    Exhausted,
    /// Anything else.
    #[error("cannot bind {address}: {cause}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        cause: Errno,
    },
}

fn by(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return " by a process of another user".to_owned();
    }
    format!(" by {}", holders.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "pid {} ({})", self.pid, self.command)
    }
}

impl HeldPort {
    /// Holds a free port on both loopback addresses, or on the IPv4 one where there is no IPv6.
    pub fn loopback() -> Result<Self, PortError> {
        for _ in 0..ATTEMPTS {
            let (first, port) = bind_one(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)?;
            match bind_one(IpAddr::V6(Ipv6Addr::LOCALHOST), port) {
                Ok((second, _)) => {
                    return Ok(Self {
                        port,
                        addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
                        _sockets: vec![first, second],
                    });
                }
                Err(PortError::Busy { .. }) => {}
                Err(_) => return Ok(Self { port, addresses: vec![Ipv4Addr::LOCALHOST.into()], _sockets: vec![first] }),
            }
        }
        Err(PortError::Exhausted)
    }

    /// Holds one given port (0: any free one) on the given addresses. IPv6 addresses are left out where the machine has no IPv6.
    ///
    /// A port on which somebody already listens is refused with the holder's name.
    pub fn claim(addresses: &[IpAddr], port: u16) -> Result<Self, PortError> {
        let mut held = Self { port, addresses: Vec::new(), _sockets: Vec::new() };
        for &address in addresses {
            match bind_one(address, held.port) {
                Ok((socket, bound)) => {
                    // Of port 0 the first address chooses.
                    held.port = bound;
                    held.addresses.push(address);
                    held._sockets.push(socket);
                }
                Err(PortError::NotLocal(_)) if address.is_ipv6() && !held.addresses.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(held)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The addresses on which it is held.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The first address with the port: where a client of this machine connects.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), self.port)
    }
}

fn bind_one(address: IpAddr, port: u16) -> Result<(OwnedFd, u16), PortError> {
    let target = SocketAddr::new(address, port);
    let failed = |cause: Errno| match cause {
        Errno::EADDRINUSE => PortError::Busy { address: target, holders: holders(port) },
        Errno::EACCES => PortError::Reserved(target, first_unreserved_port()),
        Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT => PortError::NotLocal(address),
        cause => PortError::Bind { address: target, cause },
    };
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true).map_err(failed)?;
    match target {
        SocketAddr::V4(target) => bound(&socket, &SockaddrIn::from(target)),
        SocketAddr::V6(target) => {
            setsockopt(&socket, sockopt::Ipv6V6Only, &true).map_err(failed)?;
            bound(&socket, &SockaddrIn6::from(target))
        }
    }
    .map_err(failed)
    .map(|port| (socket, port))
}

fn bound(socket: &OwnedFd, address: &dyn SockaddrLike) -> Result<u16, Errno> {
    use std::os::fd::AsRawFd;
    bind(socket.as_raw_fd(), address)?;
    if let Ok(name) = getsockname::<SockaddrIn>(socket.as_raw_fd()) {
        return Ok(name.port());
    }
    getsockname::<SockaddrIn6>(socket.as_raw_fd()).map(|name| name.port())
}

fn first_unreserved_port() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}

/// The processes that listen on a TCP port of this machine, as far as this user may know.
pub fn holders(port: u16) -> Vec<Holder> {
    let mut inodes = HashSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        if let Ok(text) = fs::read_to_string(table) {
            inodes.extend(text.lines().skip(1).filter_map(|line| listening_inode(line, port)));
        }
    }
    if inodes.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<Holder> = process::all()
        .into_iter()
        .filter(|stat| process::socket_inodes(stat.pid).iter().any(|inode| inodes.contains(inode)))
        .map(|stat| Holder { pid: stat.pid, command: process::command_line(stat.pid).unwrap_or(stat.name) })
        .collect();
    // A server and its workers share the listener: the first pid that is no child of another holder speaks for all.
    let pids: HashSet<u32> = found.iter().map(|holder| holder.pid).collect();
    found.retain(|holder| process::stat(holder.pid).is_none_or(|stat| !pids.contains(&stat.parent)));
    found
}

/// The inode of a line of `/proc/net/tcp` that describes a listener on the port.
fn listening_inode(line: &str, port: u16) -> Option<u64> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let listens = state == "0A" && u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()? == port;
    listens.then(|| inode.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_held_port_is_given_to_nobody_who_asks_for_any_and_refuses_connections() {
        let held: Vec<HeldPort> = (0..200).map(|_| HeldPort::loopback().unwrap()).collect();
        let ports: HashSet<u16> = held.iter().map(HeldPort::port).collect();
        assert_eq!(ports.len(), held.len());
        for _ in 0..500 {
            let other = TcpListener::bind("127.0.0.1:0").unwrap();
            assert!(!ports.contains(&other.local_addr().unwrap().port()));
        }
        assert_eq!(
            std::net::TcpStream::connect(held[0].address()).unwrap_err().kind(),
            std::io::ErrorKind::ConnectionRefused
        );
    }

    #[test]
    fn a_server_that_reuses_addresses_can_listen_on_the_held_port() {
        let held = HeldPort::loopback().unwrap();
        // The standard library's listeners set SO_REUSEADDR, as httpd does.
        let listener = TcpListener::bind(held.address()).unwrap();
        drop(listener);
        TcpListener::bind(held.address()).unwrap();
    }

    #[test]
    fn the_holder_of_a_busy_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = HeldPort::claim(&[Ipv4Addr::LOCALHOST.into()], port).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("127.0.0.1:{port} is in use by pid {} (", std::process::id())), "{text}");
    }

    #[test]
    fn reads_the_table_of_sockets() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 123456 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listening_inode(line, 8080), Some(123_456));
        assert_eq!(listening_inode(line, 8081), None);
        assert_eq!(listening_inode(&line.replace(" 0A ", " 01 "), 8080), None);
    }
}
