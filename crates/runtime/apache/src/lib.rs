//! The Apache module: a drop-in for mod_wsgi 6.1 that knows Apache and no Python.
//!
//! Three rings: [`sys`] (bindgen's output), [`host`] (safe newtypes over one host type each), and safe code. Everything
//! that Apache calls goes through [`hooks`] or [`directives`], behind the panic wall of [`guard`].
//!
//! | module | job |
//! |---|---|
//! | [`module`] | the exported module record, creation and merging of configurations |
//! | [`hooks`] | the table of hooks |
//! | [`directives`] | the table of directives and of the options of `WSGIDaemonProcess` |
//! | [`config`] | what the directives set, per directory, per server, and for a whole configuration |
//! | [`engines`] | which Python engines lie beside the module, and which one is to be used |
//! | [`mapping`] | from the URL to a script |
//! | [`dispatch`] | the checks before a script runs, and the choice of process, interpreter and callable |
//! | [`ownership`] | whom scripts must belong to (`script-user=`, `script-group=`) |
//! | [`scripts`] | scripts that decide on a request, and handler scripts |
//! | [`environ`] | from the request to environ entries, the same for both modes |
//! | [`body`], [`response`] | the request's body in, the response out, the same for both modes |
//! | [`embedded`] | embedded mode: the engine in the Apache child |
//! | [`daemon`] | daemon mode: the processes, and the way to them |
//! | [`observe`] | metrics and the section on the status page |

mod body;
mod codes;
mod config;
mod daemon;
mod directives;
mod dispatch;
mod embedded;
mod engines;
mod environ;
mod guard;
mod hooks;
mod host;
mod interpreter_options;
mod launch_python;
mod mapping;
mod module;
mod observe;
mod ownership;
mod proxies;
mod response;
mod scripts;
mod sys;
mod tokens;

#[cfg(test)]
mod stand_ins {
    //! Apache's functions and variables for test programs, which are not loaded by Apache.
    #![expect(clippy::print_stderr, reason = "a test program's only way to say why it ends")]

    fn absent(name: &str) -> ! {
        eprintln!("a test called Apache's {name}");
        std::process::abort()
    }

    include!(concat!(env!("OUT_DIR"), "/stand_ins.rs"));
}
