//! What becomes of an application's result: iteration, lengths, close, files, failures.

use crate::server::{Client, check, file, get, serve};
use wsgi_python::gateway::{Outcome, SendFailure};

fn returning(headers: &str, result: &str) -> String {
    format!(
        "import io\ndef application(environ, start_response):\n    start_response('200 OK', {headers})\n    return {result}\n"
    )
}

// Covers: rule:adapter/complete-in-one-piece
#[test]
fn a_complete_response_goes_out_in_one_piece() {
    for result in ["[b'Hello ', b'World']", "(b'Hello ', b'', b'World')"] {
        let reply = get(&returning("[('Content-Length', '11')]", result));
        assert_eq!((reply.outcome, reply.status, reply.text().as_str()), (Outcome::Complete, 200, "Hello World"));
        assert_eq!(reply.writes, [(11, true)]);
    }
}

// Covers: rule:adapter/complete-in-one-piece
#[test]
fn a_large_list_is_sent_block_by_block() {
    let reply = get(&returning("[]", "[b'x' * 50000, b'y' * 50000]"));
    assert_eq!(reply.writes, [(50000, false), (50000, false)]);
}

// Covers: rule:adapter/empty-blocks-skipped, rule:adapter/blocks-flushed, rule:adapter/late-start-response
#[test]
fn blocks_of_an_iterator_are_flushed_and_empty_ones_skipped() {
    let source = "def application(environ, start_response):\n    yield b''\n    start_response('200 OK', [('A', 'b')])\n    yield b'one'\n    yield b''\n    yield b'two'\n";
    let reply = get(source);
    assert_eq!((reply.outcome, reply.field("A")), (Outcome::Complete, Some("b")));
    assert_eq!(reply.writes, [(3, false), (3, false)]);
}

#[test]
fn an_empty_response_still_has_its_head() {
    for result in ["[]", "()", "iter([])", "[b'', b'']"] {
        let reply = get(&returning("[('A', 'b')]", result));
        assert_eq!((reply.outcome, reply.status, reply.field("A")), (Outcome::Complete, 200, Some("b")), "{result}");
        assert!(reply.body.is_empty());
    }
}

// Covers: rule:adapter/result-iterable, rule:adapter/result-bytes, code:WSGI0174
#[test]
fn results_that_are_no_wsgi_are_500_with_their_texts() {
    let table = [
        ("None", "TypeError: 'NoneType' object is not iterable"),
        ("3", "TypeError: 'int' object is not iterable"),
        ("'text'", "TypeError: response iterable must yield bytes, not str"),
        ("['text']", "TypeError: response iterable must yield bytes, not str"),
        ("b'bytes'", "TypeError: response iterable must yield bytes, not int"),
        ("iter([1])", "TypeError: response iterable must yield bytes, not int"),
    ];
    for (result, text) in table {
        let reply = get(&returning("[]", result));
        assert_eq!((reply.outcome, reply.status), (Outcome::Status(500), 0), "{result}");
        assert!(reply.errors().contains(&text), "{result}: {:?}", reply.errors());
        assert!(reply.errors()[0].starts_with("WSGI0174: [script "), "{:?}", reply.errors());
    }
}

// Covers: rule:adapter/output-before-start-response, rule:adapter/no-start-response
#[test]
fn output_before_start_response_is_500() {
    for source in ["return [b'x']", "return []", "return iter([b'x'])"] {
        let reply = get(&format!("def application(environ, start_response):\n    {source}\n"));
        assert_eq!(reply.outcome, Outcome::Status(500), "{source}");
        let text = "RuntimeError: start_response() must be called before response content is produced";
        assert!(reply.errors().contains(&text), "{:?}", reply.errors());
    }
}

// Covers: rule:adapter/content-length-checked
#[test]
fn an_invalid_content_length_is_found_at_the_first_output() {
    for (value, shown) in [("3x", "'3x'"), ("", "''"), ("-1", "'-1'"), ("+5", "'+5'"), (" 3", "' 3'")] {
        let reply = get(&returning(&format!("[('Content-Length', '{value}')]"), "[b'abc']"));
        assert_eq!(reply.outcome, Outcome::Status(500), "{value}");
        let text = format!("ValueError: invalid Content-Length header value: {shown}");
        assert!(reply.errors().contains(&text.as_str()), "{:?}", reply.errors());
    }
}

// Covers: rule:adapter/excess-cut
#[test]
fn excess_content_is_cut_and_warned_of() {
    for result in ["[b'abcdef']", "iter([b'ab', b'cdef', b'more'])"] {
        let reply = get(&returning("[('Content-Length', '3')]", result));
        assert_eq!((reply.outcome, reply.text().as_str()), (Outcome::Complete, "abc"), "{result}");
        assert!(reply.logged("Content length mismatch, expected 3, response generated 6: "), "{:?}", reply.log);
    }
}

// Covers: rule:adapter/short-visible
#[test]
fn short_content_is_warned_of_and_visible() {
    for result in ["[b'abcdef']", "iter([b'abc', b'def'])"] {
        let reply = get(&returning("[('Content-Length', '30')]", result));
        assert_eq!((reply.outcome, reply.text().as_str()), (Outcome::Truncated, "abcdef"), "{result}");
        assert!(reply.logged("Content length mismatch, expected 30, response generated 6: "), "{:?}", reply.log);
        assert_eq!(reply.log[0].level, 4);
    }
}

// Covers: rule:adapter/no-body-statuses
#[test]
fn responses_without_a_body_may_declare_a_length() {
    let head = Client { method: "HEAD", ..Client::default() };
    let reply = serve(&returning("[('Content-Length', '30')]", "[]"), head);
    assert_eq!((reply.outcome, reply.log.len()), (Outcome::Complete, 0));
    let source = "def application(e, s):\n    s('304 Not Modified', [('Content-Length', '30')])\n    return []\n";
    let reply = get(source);
    assert_eq!((reply.outcome, reply.log.len()), (Outcome::Complete, 0));
}

// Covers: rule:adapter/exception-before-headers, rule:logs/exception-header, rule:logs/exception-traceback,
// rule:logs/exception-old-phrase, code:WSGI0174
#[test]
fn an_exception_before_the_headers_is_500_with_frames() {
    let reply = get(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    raise ValueError('boom')\n",
    );
    assert_eq!((reply.outcome, reply.status), (Outcome::Status(500), 0));
    let errors = reply.errors();
    assert!(errors[0].starts_with("WSGI0174: [script "), "{errors:?}");
    assert!(errors[0].contains("] ValueError exception raised processing WSGI script '"), "{errors:?}");
    assert!(
        errors[0].contains("' for main interpreter in embedded mode. (Exception occurred processing WSGI script '")
    );
    assert_eq!(errors[1], "Traceback (most recent call last):");
    assert!(errors[2].ends_with("app.wsgi\", line 3, in application"), "{errors:?}");
    assert_eq!(errors.last(), Some(&"ValueError: boom"));
}

// Covers: rule:logs/exception-chained, rule:logs/exception-traceback
#[test]
fn a_chained_exception_shows_both_and_no_blank_lines() {
    let reply = get(
        "def application(environ, start_response):\n    try:\n        {}['inner']\n    except KeyError as error:\n        \
         raise ValueError('two\\n\\nlines') from error\n",
    );
    let errors = reply.errors();
    assert!(errors.contains(&"KeyError: 'inner'") && errors.contains(&"ValueError: two") && errors.contains(&"lines"));
    assert!(errors.contains(&"The above exception was the direct cause of the following exception:"));
    assert!(errors.iter().all(|line| !line.trim().is_empty()));
}

// Covers: rule:adapter/exception-after-headers
#[test]
fn an_exception_after_the_headers_truncates() {
    let reply = get(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    yield b'abc'\n    raise ValueError('mid')\n",
    );
    assert_eq!((reply.outcome, reply.text().as_str()), (Outcome::Truncated, "abc"));
    assert!(reply.errors().contains(&"ValueError: mid"));
}

// Covers: rule:adapter/system-exit-ignored, rule:logs/system-exit-code, code:WSGI0175
#[test]
fn system_exit_is_ignored_with_its_own_code() {
    let reply = get("import sys\ndef application(environ, start_response):\n    sys.exit(3)\n");
    assert_eq!(reply.outcome, Outcome::Status(500));
    let errors = reply.errors();
    assert!(errors[0].starts_with("WSGI0175: [script "), "{errors:?}");
    assert!(errors[0].contains("SystemExit exception raised by WSGI script '"), "{errors:?}");
    assert!(errors[0].ends_with("for main interpreter in embedded mode; ignored."), "{errors:?}");
    assert_eq!(errors.last(), Some(&"SystemExit: 3"));
}

const CLOSING: &str = "calls = []\nclass Result:\n    def __init__(self, blocks):\n        self.blocks = iter(blocks)\n    \
                       def __iter__(self):\n        return self\n    def __next__(self):\n        block = next(self.blocks)\n        \
                       if isinstance(block, Exception):\n            raise block\n        return block\n    def close(self):\n        \
                       print('closed')\n";

// Covers: rule:adapter/close-once, rule:adapter/client-gone-iterating
#[test]
fn close_is_called_once_whatever_happens() {
    let closing = |blocks: &str| {
        format!(
            "{CLOSING}def application(environ, start_response):\n    start_response('200 OK', [])\n    return Result({blocks})\n"
        )
    };
    let closed = |reply: &crate::server::Reply| reply.log.iter().filter(|line| line.text.ends_with("] closed")).count();
    for (blocks, outcome) in [
        ("[b'a', b'b']", Outcome::Complete),
        ("[]", Outcome::Complete),
        ("[b'a', ValueError()]", Outcome::Truncated),
        ("[ValueError()]", Outcome::Status(500)),
        ("[1]", Outcome::Status(500)),
    ] {
        let reply = get(&closing(blocks));
        assert_eq!((reply.outcome, closed(&reply)), (outcome, 1), "{blocks}: {:#?}", reply.log);
    }
    let gone = Client { send_failure: Some((1, SendFailure::ClientGone)), ..Client::default() };
    let reply = serve(&closing("[b'a', b'b', b'c', b'd']"), gone);
    assert_eq!((closed(&reply), reply.text().as_str()), (1, "a"));
    assert_eq!(reply.errors().len(), 1, "only the line that close() printed: {:?}", reply.errors());
}

// Covers: rule:adapter/close-fails, rule:adapter/close-lookup-fails, code:WSGI0194
#[test]
fn a_failing_close_is_logged_and_changes_nothing() {
    let reply = get(
        "class C:\n    def __iter__(self): return iter([b'x'])\n    def close(self): raise ValueError('in close')\n\
         def application(environ, start_response):\n    start_response('200 OK', [])\n    return C()\n",
    );
    assert_eq!((reply.outcome, reply.text().as_str()), (Outcome::Complete, "x"));
    assert!(reply.errors()[0].starts_with("WSGI0174: ") && reply.errors().contains(&"ValueError: in close"));
    let reply = get(
        "class C:\n    def __iter__(self): return iter([b'x'])\n    @property\n    def close(self): raise ValueError('getting')\n\
         def application(environ, start_response):\n    start_response('200 OK', [])\n    return C()\n",
    );
    assert_eq!((reply.outcome, reply.text().as_str()), (Outcome::Complete, "x"));
    assert!(
        reply.errors()[0]
            .contains("WSGI0194: Lookup of 'close' attribute on WSGI response iterable raised an exception.")
    );
    assert!(reply.errors().contains(&"ValueError: getting"));
}

// Covers: rule:adapter/file-wrapper-constructor, rule:adapter/file-wrapper-attributes,
// rule:adapter/file-wrapper-read-bytes, rule:adapter/file-wrapper-close, api:mod_wsgi.FileWrapper,
// environ:wsgi.file_wrapper
#[test]
fn file_wrapper_is_the_references_class() {
    let prelude = "import mod_wsgi\nFW = mod_wsgi.FileWrapper\nclass Sub(FW):\n    def __init__(self, f, extra):\n        \
                   super().__init__(f)\n        self.extra = extra\ndef closed():\n    f = FW(io.BytesIO(b'abc')); f.close(); f.close(); return f\n\
                   def assign(f, **k):\n    for name, value in k.items(): setattr(f, name, value)\n";
    check(
        prelude,
        Client::default(),
        &[
            ("environ['wsgi.file_wrapper'] is FW", "True"),
            ("FW.__mro__", "(<class 'mod_wsgi.FileWrapper'>, <class 'object'>)"),
            ("FW()", "TypeError: FileWrapper() missing required argument 'filelike' (pos 1)"),
            ("FW(1, 2, 3)", "TypeError: FileWrapper() takes at most 2 arguments (3 given)"),
            ("FW(1, 'x')", "TypeError: 'str' object cannot be interpreted as an integer"),
            ("FW(1, -1)", "ValueError: blksize must not be negative"),
            ("FW(1).blksize", "8192"),
            ("FW(1, 7).filelike", "1"),
            ("FW(filelike=1, blksize=2).blksize", "2"),
            ("list(FW(io.BytesIO(b'abc'), 2))", "[b'ab', b'c']"),
            ("list(FW(io.StringIO('abc'), 2))", "TypeError: file wrapper read() must return bytes, not str"),
            ("next(FW(1))", "AttributeError: 'int' object has no attribute 'read'"),
            ("next(closed())", "ValueError: I/O operation on closed file"),
            ("closed().filelike", "ValueError: I/O operation on closed file"),
            ("FW(1).close()", "None"),
            ("Sub(io.BytesIO(b'x'), 5).extra", "5"),
            (
                "assign(FW(1), filelike=3)",
                "AttributeError: attribute 'filelike' of 'mod_wsgi.FileWrapper' objects is not writable",
            ),
        ],
    );
}

// Covers: rule:adapter/file-wrapper-fast-path, rule:adapter/file-wrapper-length
#[test]
fn a_wrapped_regular_file_is_sent_from_where_it_stands() {
    let data = file("data.bin", b"0123456789");
    let source = |headers: &str, before: &str| {
        format!(
            "def application(environ, start_response):\n    f = open({data:?}, 'rb')\n    {before}\n    start_response('200 OK', {headers})\n    \
             return environ['wsgi.file_wrapper'](f)\n"
        )
    };
    let reply = get(&source("[]", "f.seek(4)"));
    assert_eq!((reply.outcome, reply.files, reply.text().as_str()), (Outcome::Complete, 1, "456789"));
    assert_eq!(reply.field("Content-Length"), Some("6"));
    let reply = get(&source("[('Content-Length', '3')]", "pass"));
    assert_eq!((reply.files, reply.text().as_str()), (1, "012"));
    let reply = get(&source("[('Content-Length', '30')]", "pass"));
    assert_eq!((reply.outcome, reply.files, reply.text().as_str()), (Outcome::Truncated, 1, "0123456789"));
}

// Covers: rule:adapter/file-wrapper-own-descriptor
#[test]
fn a_wrapped_file_that_is_closed_meanwhile_is_not_taken_for_another() {
    let (meant, other) = (file("meant.bin", b"meant"), file("other.bin", b"other"));
    // Its number belongs to another file before the first byte is sent, as when another thread closes and opens.
    let source = format!(
        "import os\nclass F:\n    def __init__(self): self.number = os.open({meant:?}, os.O_RDONLY)\n    def fileno(self): return \
         self.number\n    def tell(self):\n        os.dup2(os.open({other:?}, os.O_RDONLY), self.number)\n        return 0\n    def read(self, \
         size): return b''\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return \
         environ['wsgi.file_wrapper'](F())\n"
    );
    let reply = get(&source);
    assert_eq!((reply.outcome, reply.files, reply.text().as_str()), (Outcome::Complete, 1, "meant"));
}

// Covers: rule:adapter/file-wrapper-others-iterated, rule:adapter/file-wrapper-close
#[test]
fn other_wrapped_objects_are_iterated_and_closed() {
    let reply = get(
        "import io\nclass F(io.BytesIO):\n    def close(self):\n        print('closed')\ndef application(environ, start_response):\n    \
         start_response('200 OK', [])\n    return environ['wsgi.file_wrapper'](F(b'abcdef'), 4)\n",
    );
    assert_eq!((reply.files, reply.text().as_str()), (0, "abcdef"));
    assert_eq!(reply.writes, [(4, false), (2, false)]);
    assert!(reply.logged("] closed"));
}

// Covers: rule:adapter/file-wrapper-others-iterated
#[test]
fn a_file_is_not_sent_behind_written_output_or_without_start_response() {
    let data = file("data.bin", b"0123456789");
    let reply = get(&format!(
        "def application(environ, start_response):\n    start_response('200 OK', [])(b'x')\n    return environ['wsgi.file_wrapper'](open({data:?}, 'rb'))\n"
    ));
    assert_eq!((reply.files, reply.text().as_str()), (0, "x0123456789"));
    let reply = get(&format!(
        "def application(environ, start_response):\n    return environ['wsgi.file_wrapper'](open({data:?}, 'rb'))\n"
    ));
    assert_eq!(reply.outcome, Outcome::Status(500));
}

// Covers: rule:adapter/file-wrapper-offset-restored
#[test]
fn the_position_of_a_sent_file_is_what_it_was() {
    let data = file("data.bin", b"0123456789");
    let script = file(
        "position.wsgi",
        format!(
            "import os\nkept = []\ndef application(environ, start_response):\n    if kept:\n        start_response('200 OK', [])\n        \
             return [b'%d' % os.lseek(kept[0], 0, os.SEEK_CUR)]\n    f = open({data:?}, 'rb', buffering=0)\n    f.seek(4)\n    \
             kept.append(os.dup(f.fileno()))\n    start_response('200 OK', [])\n    return environ['wsgi.file_wrapper'](f)\n"
        )
        .as_bytes(),
    );
    let sent = crate::server::request(&script, Client::default());
    assert_eq!((sent.files, sent.text().as_str()), (1, "456789"));
    assert_eq!(crate::server::request(&script, Client::default()).text(), "4");
}
