//! Makes bindings of the installed Apache's headers: the layout of its structures differs between 2.4 releases, so
//! shipped bindings would be wrong. `APXS` and `APR_CONFIG` name other tools than the ones on the path.

use std::path::PathBuf;
use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "a build script is where its environment is read")]
fn variable(name: &str, fallback: &str) -> String {
    println!("cargo::rerun-if-env-changed={name}");
    std::env::var(name).unwrap_or_else(|_| fallback.to_owned())
}

#[expect(clippy::disallowed_methods, reason = "the build facts come from these two tools")]
fn ask(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Ok(output) => panic!("{program} {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("{program} cannot be run ({error}); install Apache's development files (apache2-dev)"),
    }
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=wrapper.h");
    let apxs = variable("APXS", "apxs");
    let apr_config = variable("APR_CONFIG", "apr-1-config");
    let headers = ask(&apxs, &["-q", "INCLUDEDIR"]);
    println!("cargo::rerun-if-changed={headers}/ap_release.h");
    println!("cargo::rustc-env=HTTPD={}/{}", ask(&apxs, &["-q", "SBINDIR"]), ask(&apxs, &["-q", "PROGNAME"]));
    println!("cargo::rustc-env=HTTPD_MODULES={}", ask(&apxs, &["-q", "LIBEXECDIR"]));
    let flags = ask(&apr_config, &["--includes", "--cppflags"]);

    let bindings = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_arg(format!("-I{headers}"))
        .clang_args(flags.split_whitespace())
        .allowlist_function("ap_.*|apr_.*|unixd_.*")
        .allowlist_type("(ap|apr|core|authn|authz)_.*|module|command_rec|cmd_parms|request_rec|server_rec|conn_rec|cmd_how")
        .allowlist_var("ap_.*|apr_.*|AP_.*|APR_.*|APLOG_.*|HTTP_.*|MODULE_MAGIC.*|OK|DECLINED|ENABLE_.*|core_module|DONE|M_.*|OPT_.*|OR_.*|RSRC_CONF|ACCESS_CONF|EXEC_ON_READ|REQUEST_.*|REPLACE_ALLOW|GLOBAL_ONLY|REMOTE_HOST|SATISFY_.*|AUTH_.*|AUTHZ_.*|NOT_IN_.*")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .derive_debug(false)
        .layout_tests(true)
        .generate_comments(false)
        .generate()
        .expect("Apache's headers are understood");
    // Bit fields became whole fields in the course of 2.4.
    println!("cargo::rustc-check-cfg=cfg(connection_has_bit_fields)");
    let text = bindings.to_string();
    if text.contains("pub fn aborted(&self)") {
        println!("cargo::rustc-cfg=connection_has_bit_fields");
    }
    let out = PathBuf::from(variable("OUT_DIR", "."));
    bindings.write_to_file(out.join("bindings.rs")).expect("OUT_DIR is writable");
    std::fs::write(out.join("stand_ins.rs"), stand_ins(&text)).expect("OUT_DIR is writable");
}

/// Apache's functions are found when it loads the module. A test program is not loaded by Apache: there, each function
/// is one that ends the program, and each variable is zeros.
fn stand_ins(bindings: &str) -> String {
    let mut text = String::new();
    for line in bindings.lines().map(str::trim) {
        let name = |rest: &str| rest.split(['(', ':']).next().unwrap_or_default().trim().to_owned();
        if let Some(rest) = line.strip_prefix("pub fn ")
            && (rest.starts_with("ap_") || rest.starts_with("apr_"))
        {
            let name = name(rest);
            text += &format!("#[unsafe(no_mangle)] extern \"C\" fn {name}() {{ absent(\"{name}\") }}\n");
        }
        if let Some(rest) = line.strip_prefix("pub static mut ").or_else(|| line.strip_prefix("pub static "))
            && !rest.starts_with("_")
        {
            let name = name(rest);
            text += &format!("#[unsafe(no_mangle)] static {name}: [u64; 64] = [0; 64];\n");
        }
    }
    text
}
