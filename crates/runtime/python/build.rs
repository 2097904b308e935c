//! Tells the compiler which Python it builds for, and the linker where that Python's library is at run time.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    let python = pyo3_build_config::get();
    // A libpython outside the loader's own path (an own build, a version manager's) has to be found without
    // LD_LIBRARY_PATH, which neither Apache nor a daemon has.
    if let Some(folder) = python.lib_dir()
        && !["/usr/lib", "/lib"].iter().any(|known| folder.starts_with(known))
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
    // As the engine's files and Python's own folders are named: a build without a lock has a `t`.
    let flavour = if python.is_free_threaded() { "t" } else { "" };
    println!("cargo:rustc-env=ENGINE_PYTHON_VERSION={}{flavour}", python.version());
    // `sys.executable` where no home is configured: the Python of this engine, not the environment it was built in.
    let executable = python.executable().and_then(|path| std::fs::canonicalize(path).ok());
    let executable = executable.map(|path| path.display().to_string()).unwrap_or_default();
    println!("cargo:rustc-env=ENGINE_PYTHON_EXECUTABLE={executable}");
    println!("cargo:rustc-env=ENGINE_TEST_PYTHON={}{flavour}", python.version());
}
