//! One daemon process; see [`wsgi_python::daemon`].

use std::process::ExitCode;

fn main() -> ExitCode {
    wsgi_python::daemon::main()
}
