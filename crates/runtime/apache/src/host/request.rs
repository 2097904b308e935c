//! `request_rec`.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use wsgi_protocol::script_file::ScriptFile;

use crate::host::server::{module_config, set_module_config};
use crate::host::{Connection, HandlerSetting, Pool, Server, Table};
use crate::sys;

/// # Safety
/// `pointer` is null or a C string that lives for `'r`.
pub(crate) unsafe fn text<'r>(pointer: *const c_char) -> Option<&'r CStr> {
    // SAFETY: the caller promises it.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
}

/// What the directory walk found at the request's file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// A file or something else.
    Other,
}

/// The request that Apache processes.
#[derive(Clone, Copy)]
pub(crate) struct Request<'r> {
    raw: NonNull<sys::request_rec>,
    lives: PhantomData<&'r sys::request_rec>,
}

impl<'r> Request<'r> {
    /// # Safety
    /// `raw` is a request that lives for `'r`, and this thread alone uses it during that time.
    pub(crate) unsafe fn from_raw(raw: *mut sys::request_rec) -> Self {
        Self { raw: NonNull::new(raw).expect("Apache passes a request"), lives: PhantomData }
    }

    pub(crate) fn raw(self) -> *mut sys::request_rec {
        self.raw.as_ptr()
    }

    /// A snapshot view: held only while a field is read, as the setters below and Apache change fields in between.
    fn get(&self) -> &sys::request_rec {
        // SAFETY: `from_raw` promises a live request.
        unsafe { self.raw.as_ref() }
    }

    /// # Safety
    /// `pointer` is null or a text in the request's or its connection's pool.
    unsafe fn text(self, pointer: *const c_char) -> Option<&'r CStr> {
        // SAFETY: those pools live for 'r.
        unsafe { text(pointer) }
    }

    /// The request's pool.
    pub(crate) fn pool(self) -> Pool<'r> {
        // SAFETY: the request lives in its pool.
        unsafe { Pool::from_raw(self.get().pool) }
    }

    /// The client's connection.
    pub(crate) fn connection(self) -> Connection<'r> {
        // SAFETY: a connection outlives its requests.
        unsafe { Connection::from_raw(self.get().connection) }
    }

    /// The virtual host.
    pub(crate) fn server(self) -> Server<'r> {
        // SAFETY: servers live as long as the configuration.
        unsafe { Server::from_raw(self.get().server) }
    }

    /// The request that this one was redirected from internally.
    pub(crate) fn previous(self) -> Option<Request<'r>> {
        NonNull::new(self.get().prev).map(|raw| Self { raw, lives: PhantomData })
    }

    /// The handler that was chosen for the request.
    pub(crate) fn handler(self) -> Option<&'r CStr> {
        // SAFETY: a text of the configuration or the pool.
        unsafe { self.text(self.get().handler) }
    }

    /// The method as it was received.
    pub(crate) fn method(self) -> &'r CStr {
        // SAFETY: a text in the pool.
        unsafe { self.text(self.get().method) }.unwrap_or_default()
    }

    /// Whether it is a HEAD request.
    pub(crate) fn is_head(self) -> bool {
        self.get().header_only != 0
    }

    /// Whether the response, whose head is out, has a body that only the end of the connection ends.
    pub(crate) fn ends_with_connection(self) -> bool {
        !self.is_head() && self.get().chunked == 0 && self.headers_out().get(c"Content-Length").is_none()
    }

    /// Whether it is a GET or HEAD request.
    pub(crate) fn is_get(self) -> bool {
        self.get().method_number.cast_unsigned() == sys::M_GET
    }

    /// What the `Allow` field of a refusal says: GET, and with it HEAD.
    pub(crate) fn allow_only_get(self) {
        let (replace, end) = (sys::REPLACE_ALLOW.cast_signed(), -1);
        // SAFETY: the request is this thread's own; the list of methods ends as it has to.
        unsafe { sys::ap_allow_standard_methods(self.raw(), replace, sys::M_GET.cast_signed(), end) };
    }

    /// Writes body bytes of a response whose head is set. A client that has gone shows elsewhere.
    pub(crate) fn write(self, bytes: &[u8]) {
        for part in bytes.chunks(1 << 20) {
            let length = i32::try_from(part.len()).unwrap_or(0);
            // SAFETY: the request is alive; as many bytes as it says.
            unsafe { sys::ap_rwrite(part.as_ptr().cast(), length, self.raw()) };
        }
    }

    /// Whether the method promises to change nothing.
    pub(crate) fn has_safe_method(self) -> bool {
        const SAFE: [u32; 3] = [sys::M_GET, sys::M_OPTIONS, sys::M_TRACE];
        SAFE.contains(&self.get().method_number.cast_unsigned())
    }

    /// The request line.
    pub(crate) fn request_line(self) -> Option<&'r CStr> {
        // SAFETY: a text in the pool.
        unsafe { self.text(self.get().the_request) }
    }

    /// The protocol, such as `HTTP/1.1`.
    pub(crate) fn protocol(self) -> Option<&'r CStr> {
        // SAFETY: a text in the pool.
        unsafe { self.text(self.get().protocol) }
    }

    /// The decoded path.
    pub(crate) fn uri(self) -> &'r CStr {
        // SAFETY: a text in the pool.
        unsafe { self.text(self.get().uri) }.unwrap_or_default()
    }

    /// The query string.
    pub(crate) fn query(self) -> Option<&'r CStr> {
        // SAFETY: a text in the pool.
        unsafe { self.text(self.get().args) }
    }

    /// The path on disk.
    pub(crate) fn filename(self) -> Option<&'r CStr> {
        // SAFETY: a text in the pool.
        unsafe { self.text(self.get().filename) }
    }

    /// What follows the file in the path.
    pub(crate) fn path_info(self) -> Option<&'r CStr> {
        // SAFETY: a text in the pool.
        unsafe { self.text(self.get().path_info) }
    }

    /// What is at the path on disk.
    pub(crate) fn file_kind(self) -> FileKind {
        match self.get().finfo.filetype {
            sys::APR_NOFILE => FileKind::Missing,
            sys::APR_DIR => FileKind::Directory,
            _ => FileKind::Other,
        }
    }

    /// The [`ScriptFile::version`] of the file.
    pub(crate) fn file_version(self) -> u64 {
        let file = &self.get().finfo;
        if file.filetype == sys::APR_NOFILE {
            return ScriptFile::UNKNOWN;
        }
        let known = ScriptFile {
            device: file.device,
            inode: file.inode,
            size: file.size.cast_unsigned(),
            modified: file.mtime,
            changed: file.ctime,
        };
        known.version()
    }

    /// When the request began, in microseconds since the epoch.
    pub(crate) fn started(self) -> i64 {
        self.get().request_time
    }

    /// The authenticated user.
    pub(crate) fn user(self) -> Option<&'r CStr> {
        // SAFETY: a text in the pool.
        unsafe { self.text(self.get().user) }
    }

    /// Sets the authenticated user.
    pub(crate) fn set_user(self, user: &'r CStr) {
        // SAFETY: the request is this thread's own; the text lives as long as it.
        unsafe { (*self.raw()).user = user.as_ptr().cast_mut() }
    }

    /// Whether one of access and authentication is enough (`Satisfy Any`).
    pub(crate) fn is_satisfied_by_any(self) -> bool {
        // SAFETY: the request is alive.
        unsafe { sys::ap_satisfies(self.raw()) == sys::SATISFY_ANY.cast_signed() }
    }

    /// Whether some rule asks for a user.
    pub(crate) fn needs_authentication(self) -> bool {
        // SAFETY: the request is alive.
        unsafe { sys::ap_some_auth_required(self.raw()) != 0 }
    }

    /// The client's host name, when `HostnameLookups` finds one.
    pub(crate) fn remote_host(self) -> Option<&'r CStr> {
        // SAFETY: the request is alive; the result is null or a text in its or its connection's pool.
        unsafe {
            let kind = sys::REMOTE_HOST.cast_signed();
            self.text(sys::ap_get_useragent_host(self.raw(), kind, std::ptr::null_mut()))
        }
    }

    /// `ServerSignature`, empty when it is off.
    pub(crate) fn server_signature(self) -> Option<&'r CStr> {
        // SAFETY: the request is alive; the result is a constant or a text in its pool.
        unsafe { self.text(sys::ap_psignature(c"".as_ptr(), self.raw())) }
    }

    /// A variable of mod_ssl.
    pub(crate) fn ssl_variable(self, name: &CStr) -> Option<&'r CStr> {
        // SAFETY: request, connection and server are alive; the result is null or a text that lives as long as the
        // request's pool.
        unsafe {
            let request = self.raw();
            let (server, connection) = ((*request).server, (*request).connection);
            self.text(sys::ap_ssl_var_lookup(self.pool().raw(), server, connection, request, name.as_ptr()))
        }
    }

    /// How the user was authenticated.
    pub(crate) fn auth_type(self) -> Option<&'r CStr> {
        // SAFETY: a text in the pool.
        unsafe { self.text(self.get().ap_auth_type) }
    }

    /// The client's address, after mod_remoteip.
    pub(crate) fn client_ip(self) -> Option<&'r CStr> {
        // SAFETY: a text in the connection's or request's pool.
        unsafe { self.text(self.get().useragent_ip) }
    }

    /// The client's port.
    pub(crate) fn client_port(self) -> u16 {
        // SAFETY: null or an address in the connection's or request's pool.
        unsafe { self.get().useragent_addr.as_ref() }.map_or(0, |address| address.port)
    }

    /// The host that the client named.
    pub(crate) fn hostname(self) -> Option<&'r CStr> {
        // SAFETY: null or a text in the pool.
        unsafe { self.text(self.get().hostname) }
    }

    /// The canonical server name, as `UseCanonicalName` says, with brackets around an IPv6 address.
    pub(crate) fn server_name(self) -> Option<&'r CStr> {
        // SAFETY: the request is alive; the result is in its pool or the configuration.
        unsafe { self.text(sys::ap_get_server_name_for_url(self.raw())) }
    }

    /// Whether the effective port is one that the configuration names, or the scheme's own: not the client's choice.
    pub(crate) fn has_own_port(self) -> bool {
        let port = self.server_port();
        [80, 443, self.server().port(), self.connection().local_port()].contains(&port)
    }

    /// The canonical port.
    pub(crate) fn server_port(self) -> u16 {
        // SAFETY: the request is alive.
        unsafe { sys::ap_get_server_port(self.raw()) }
    }

    /// `http` or `https`.
    pub(crate) fn scheme(self) -> Option<&'r CStr> {
        // SAFETY: the request is alive; the result is a constant.
        unsafe { self.text(sys::ap_run_http_scheme(self.raw())) }
    }

    /// The document root that applies.
    pub(crate) fn document_root(self) -> Option<&'r CStr> {
        // SAFETY: the request is alive; the result is in its pool or the configuration.
        unsafe { self.text(sys::ap_document_root(self.raw())) }
    }

    /// The URL prefix of the present context.
    pub(crate) fn context_prefix(self) -> Option<&'r CStr> {
        // SAFETY: as above.
        unsafe { self.text(sys::ap_context_prefix(self.raw())) }
    }

    /// The directory that the context's prefix stands for.
    pub(crate) fn context_document_root(self) -> Option<&'r CStr> {
        // SAFETY: as above.
        unsafe { self.text(sys::ap_context_document_root(self.raw())) }
    }

    /// The server's banner.
    pub(crate) fn server_banner(self) -> Option<&'r CStr> {
        // SAFETY: the result lives as long as the configuration.
        unsafe { self.text(sys::ap_get_server_banner()) }
    }

    /// Where `path_info` begins in the path.
    pub(crate) fn path_info_start(self, path_info: &CStr) -> usize {
        // SAFETY: both are C strings.
        let start = unsafe { sys::ap_find_path_info(self.uri().as_ptr(), path_info.as_ptr()) };
        usize::try_from(start).unwrap_or(0)
    }

    /// Escapes text for HTML.
    pub(crate) fn escape_html(self, plain: &CStr) -> &'r CStr {
        // SAFETY: the pool is alive; the result is in it.
        unsafe { self.text(sys::ap_escape_html2(self.get().pool, plain.as_ptr(), 0)) }.unwrap_or_default()
    }

    /// Apache's log id of the request, made when there is none yet.
    pub(crate) fn log_id(self) -> Option<&'r CStr> {
        if self.get().log_id.is_null() {
            // SAFETY: request and connection are alive; the id is made in the request's pool.
            unsafe {
                let place = &raw mut (*self.raw()).log_id;
                sys::ap_run_generate_log_id(self.get().connection, self.raw(), place);
            }
        }
        // SAFETY: null or a text in the pool.
        unsafe { self.text(self.get().log_id) }
    }

    /// The status of the response.
    pub(crate) fn status(self) -> i32 {
        self.get().status
    }

    /// Whether another request includes this one's response in its own.
    pub(crate) fn is_subrequest(self) -> bool {
        !self.get().main.is_null()
    }

    /// Request headers.
    pub(crate) fn headers_in(self) -> Table<'r> {
        self.table(self.get().headers_in)
    }

    /// Response headers of a success.
    pub(crate) fn headers_out(self) -> Table<'r> {
        self.table(self.get().headers_out)
    }

    /// Response headers that are kept when an error page is sent.
    pub(crate) fn error_headers_out(self) -> Table<'r> {
        self.table(self.get().err_headers_out)
    }

    /// Variables for programs that serve the request (`SetEnv` and the like).
    pub(crate) fn variables(self) -> Table<'r> {
        self.table(self.get().subprocess_env)
    }

    /// Notes from module to module.
    pub(crate) fn notes(self) -> Table<'r> {
        self.table(self.get().notes)
    }

    fn table(self, raw: *mut sys::apr_table_t) -> Table<'r> {
        // SAFETY: Apache makes all tables of a request before any module sees it.
        unsafe { Table::from_raw(raw) }.unwrap_or_else(|| Table::new(self.pool(), 4))
    }

    /// Whether an option such as `ExecCGI` is on here.
    pub(crate) fn allows(self, option: u32) -> bool {
        // SAFETY: the request is alive.
        let options = unsafe { sys::ap_allow_options(self.raw()) };
        options.cast_unsigned() & option != 0
    }

    /// `AcceptPathInfo Off`.
    pub(crate) fn rejects_path_info(self) -> bool {
        self.get().used_path_info == sys::AP_REQ_REJECT_PATH_INFO.cast_signed()
    }

    /// `LimitRequestBody`; 0 is no limit.
    pub(crate) fn body_limit(self) -> u64 {
        // SAFETY: the request is alive.
        let limit = unsafe { sys::ap_get_limit_req_body(self.raw()) };
        u64::try_from(limit).unwrap_or(0)
    }

    fn core(&self) -> Option<&sys::core_dir_config> {
        // SAFETY: the core keeps its directory configuration at its module's index; the record is the core's own.
        unsafe {
            let index = sys::core_module.module_index;
            module_config(self.get().per_dir_config, index).cast::<sys::core_dir_config>().as_ref()
        }
    }

    /// The `SetHandler` that applies.
    pub(crate) fn handler_setting(self) -> Option<HandlerSetting> {
        self.core().and_then(HandlerSetting::of)
    }

    /// What it says for this request.
    pub(crate) fn set_handler(self) -> Option<&'r CStr> {
        let (handler, expression) = self.core().map(|core| (core.handler, core.expr_handler))?;
        if expression.is_null() {
            // SAFETY: null or a text of the configuration.
            return unsafe { self.text(handler) };
        }
        let mut error = std::ptr::null();
        // SAFETY: the request and the expression are alive; the result is null or a text in the request's pool.
        unsafe { self.text(sys::ap_expr_str_exec(self.raw(), expression, &raw mut error)) }
    }

    /// `CGIPassAuth On`.
    pub(crate) fn passes_authorization(self) -> bool {
        self.core().is_some_and(|core| core.cgi_pass_auth() == sys::AP_CGI_PASS_AUTH_ON)
    }

    /// `CGIVar REQUEST_URI current-uri`.
    pub(crate) fn wants_current_uri(self) -> bool {
        let Some(rules) = self.core().map(|core| core.cgi_var_rules).filter(|rules| !rules.is_null()) else {
            return false;
        };
        // SAFETY: the rules are a hash of texts, made with the configuration.
        let rule = unsafe {
            let length = isize::try_from(c"REQUEST_URI".count_bytes()).unwrap_or(0);
            text(sys::apr_hash_get(rules, c"REQUEST_URI".as_ptr().cast(), length).cast())
        };
        rule == Some(c"current-uri")
    }

    /// `EnableMMAP Off`.
    pub(crate) fn forbids_mmap(self) -> bool {
        self.core().is_some_and(|core| core.enable_mmap() == sys::ENABLE_MMAP_OFF)
    }

    /// Whether a filter that changes content stands first in the output chain.
    pub(crate) fn has_content_filter(self) -> bool {
        // SAFETY: the chain is null or holds live filters.
        unsafe {
            let filter = self.get().output_filters;
            !filter.is_null() && (*(*filter).frec).ftype < sys::AP_FTYPE_PROTOCOL
        }
    }

    /// Whether a filter changes the request's body, so that its length is another than the headers say.
    pub(crate) fn has_body_filter(self) -> bool {
        // SAFETY: the chain is null or holds live filters.
        unsafe {
            let filter = self.get().input_filters;
            !filter.is_null() && (*(*filter).frec).ftype < sys::AP_FTYPE_PROTOCOL
        }
    }

    /// What a module keeps for the request's directory.
    pub(crate) fn directory_config(self, index: i32) -> *mut c_void {
        module_config(self.get().per_dir_config, index)
    }

    /// What a module keeps for this request.
    pub(crate) fn state(self, index: i32) -> *mut c_void {
        module_config(self.get().request_config, index)
    }

    /// Keeps a pointer of a module with this request.
    pub(crate) fn set_state(self, index: i32, value: *mut c_void) {
        // SAFETY: the request is alive, this thread's own, and the index is a module's number.
        unsafe { set_module_config(self.get().request_config, index, value) }
    }

    /// The highest level number that a module logs for this request.
    pub(crate) fn log_level(self, module: i32) -> i32 {
        // SAFETY: the request is alive.
        unsafe { sys::ap_get_request_module_loglevel(self.raw(), module) }
    }

    /// Maps the request to a path on disk and a handler.
    pub(crate) fn map_to(self, filename: &'r CStr, handler: &'static CStr) {
        // SAFETY: the request is this thread's own. The handler's text is copied, as the module's memory may go first.
        unsafe {
            let request = self.raw();
            (*request).filename = filename.as_ptr().cast_mut();
            (*request).handler = self.pool().text(handler.to_bytes()).as_ptr();
        }
    }

    /// Maps the request to a regular file, with what follows it in the path, and a handler. `false`, and nothing is
    /// changed, when there is no such file. Apache's walk over the directories then finds the file looked at already.
    pub(crate) fn map_to_file(self, file: &'r CStr, path_info: &'r CStr, handler: &'static CStr) -> bool {
        // SAFETY: a C string; `found` is written when the call succeeds.
        let found = unsafe {
            let mut found: sys::apr_finfo_t = std::mem::zeroed();
            let wanted = sys::APR_FINFO_MIN.cast_signed();
            let status = sys::apr_stat(&raw mut found, file.as_ptr(), wanted, self.pool().raw());
            if status != 0 || found.filetype != sys::APR_REG {
                return false;
            }
            found
        };
        self.map_to(file, handler);
        // SAFETY: the request is this thread's own; the text lives as long as it.
        unsafe {
            let request = self.raw();
            (*request).finfo = found;
            (*request).path_info = path_info.as_ptr().cast_mut();
        }
        true
    }

    /// Whether the end of a response has gone to the output filters.
    pub(crate) fn is_answered(self) -> bool {
        // SAFETY: the request is alive.
        unsafe { (*self.raw()).eos_sent != 0 }
    }

    /// Keeps caches of this server from storing the response, also that of the request that this one is a part of.
    pub(crate) fn forbid_caching(self) {
        // SAFETY: the request is this thread's own, and so is the one that it is a part of.
        unsafe {
            (*self.raw()).no_cache = 1;
            if let Some(main) = (*self.raw()).main.as_mut() {
                main.no_cache = 1;
            }
        }
    }

    /// Sets status and status line.
    pub(crate) fn set_status(self, status: u16, line: &'r CStr) {
        // SAFETY: the request is this thread's own; the line lives as long as it.
        unsafe {
            let request = self.raw();
            (*request).status = i32::from(status);
            (*request).status_line = line.as_ptr();
        }
    }

    /// Sets the type of the response.
    pub(crate) fn set_content_type(self, value: &'r CStr) {
        // SAFETY: the request is alive, and the value lives as long as it.
        unsafe { sys::ap_set_content_type(self.raw(), value.as_ptr()) }
    }

    /// Sets the length of the response.
    pub(crate) fn set_content_length(self, length: i64) {
        // SAFETY: the request is alive.
        unsafe { sys::ap_set_content_length(self.raw(), length) }
    }

    /// Serves another location of this server in this request's place, as GET.
    pub(crate) fn redirect_internally(self, location: &'r CStr) {
        // SAFETY: the request is this thread's own; method and header are reset as Apache's CGI handlers do, so that
        // the body that was read is not expected again.
        unsafe {
            let request = self.raw();
            (*request).method = self.pool().text(b"GET").as_ptr();
            (*request).method_number = sys::M_GET.cast_signed();
            self.headers_in().unset(c"Content-Length");
            sys::ap_internal_redirect_handler(location.as_ptr(), request);
        }
    }
}
