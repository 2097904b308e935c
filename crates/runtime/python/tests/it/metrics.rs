//! What is measured: the keys of events, `request_metrics()` and `process_metrics()`, against those that C mod_wsgi
//! 6.1.1 was seen to give.

use crate::process::passed;
use crate::server::{Client, check, evaluating, file, request, serve};
use wsgi_python::gateway::Outcome;

/// A phase's four keys.
fn phase(name: &str) -> [String; 4] {
    [name.to_owned(), format!("{name}_min_us"), format!("{name}_max_us"), format!("{name}_buckets")]
}

const PHASES: [&str; 8] = [
    "server_time",
    "queue_time",
    "daemon_time",
    "application_time",
    "request_time",
    "gil_wait_time",
    "input_read_time",
    "output_write_time",
];

const OTHERS: &str = "pid start_time stop_time sample_period cpu_user_utilization cpu_user_time \
                      cpu_system_utilization cpu_system_time cpu_utilization cpu_time memory_max_rss memory_rss \
                      request_threads_maximum request_threads_started request_threads_active capacity_utilization \
                      request_count request_throughput status_1xx status_2xx status_3xx status_4xx status_5xx \
                      input_bytes input_reads output_bytes output_writes request_threads_completed \
                      request_threads_buckets request_threads_busy_time request_threads_cpu_time \
                      request_threads_current_elapsed request_threads_max_duration gil_wait_count";

const PROCESS: &str = "['active_requests', 'cpu_system_time', 'cpu_time', 'cpu_user_time', 'current_time', \
                       'memory_max_rss', 'memory_rss', 'pid', 'request_busy_time', 'request_count', \
                       'request_threads', 'restart_time', 'running_time', 'threads']";

// Covers: api:mod_wsgi.start_recording_metrics, api:mod_wsgi.request_metrics, api:mod_wsgi.process_metrics,
// rule:api/recording-needed, rule:api/recording-idempotent, rule:api/process-metrics-values,
// rule:api/request-metrics-window, rule:api/request-metrics-volume, rule:api/request-metrics-phases,
// rule:api/request-metrics-capacity, rule:api/histogram-buckets, metric:request_metrics/pid,
// metric:request_metrics/start_time, metric:request_metrics/stop_time, metric:request_metrics/sample_period,
// metric:request_metrics/request_count, metric:request_metrics/request_throughput, metric:request_metrics/status_1xx,
// metric:request_metrics/status_2xx, metric:request_metrics/status_3xx, metric:request_metrics/status_4xx,
// metric:request_metrics/status_5xx, metric:request_metrics/input_bytes, metric:request_metrics/input_reads,
// metric:request_metrics/output_bytes, metric:request_metrics/output_writes,
// metric:request_metrics/request_threads_maximum, metric:request_metrics/request_threads_started,
// metric:request_metrics/request_threads_active, metric:request_metrics/capacity_utilization,
// metric:request_metrics/request_threads_completed, metric:request_metrics/request_threads_buckets,
// metric:request_metrics/request_threads_busy_time, metric:request_metrics/request_threads_cpu_time,
// metric:request_metrics/request_threads_current_elapsed, metric:request_metrics/request_threads_max_duration,
// metric:request_metrics/server_time, metric:request_metrics/queue_time, metric:request_metrics/daemon_time,
// metric:request_metrics/application_time, metric:request_metrics/request_time, metric:request_metrics/gil_wait_time,
// metric:request_metrics/input_read_time, metric:request_metrics/output_write_time,
// metric:request_metrics/gil_wait_count, metric:request_metrics/phase_min_us, metric:request_metrics/phase_max_us,
// metric:request_metrics/phase_buckets, metric:request_metrics/cpu_user_utilization,
// metric:request_metrics/cpu_system_utilization, metric:request_metrics/cpu_utilization,
// metric:request_metrics/cpu_user_time, metric:request_metrics/cpu_system_time, metric:request_metrics/cpu_time,
// metric:request_metrics/memory_rss, metric:request_metrics/memory_max_rss, metric:process_metrics/pid,
// metric:process_metrics/request_busy_time, metric:process_metrics/request_count,
// metric:process_metrics/memory_max_rss, metric:process_metrics/memory_rss, metric:process_metrics/cpu_user_time,
// metric:process_metrics/cpu_system_time, metric:process_metrics/cpu_time, metric:process_metrics/restart_time,
// metric:process_metrics/current_time, metric:process_metrics/running_time, metric:process_metrics/request_threads,
// metric:process_metrics/active_requests, metric:process_metrics/threads
#[test]
fn metrics_are_recorded_once_somebody_asks() {
    passed("metrics::recorded_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn recorded_inside() {
    let first = [
        ("mod_wsgi.request_metrics(), mod_wsgi.process_metrics()", "(None, None)"),
        // The request's time before that is in no window.
        (
            "time.sleep(0.015), mod_wsgi.start_recording_metrics(), mod_wsgi.start_recording_metrics()",
            "(None, None, None)",
        ),
        ("mod_wsgi.request_metrics(1)", "TypeError: request_metrics() takes no arguments (1 given)"),
    ];
    check("import mod_wsgi, time", Client::default(), &first);
    let source = "import time\ndef application(e, s):\n    if e['PATH_INFO'] == '/': time.sleep(0.02)\n    \
                  body = e['wsgi.input'].read()\n    s('404 Not Found', [])\n    return iter([b'abc', b'de'])\n";
    serve(source, Client::post(&[b"1234", b"56"]));
    assert_eq!(serve("def application(e, s): raise ValueError", Client::default()).outcome, Outcome::Status(500));
    assert_eq!(serve("def application(e, s): return []", Client::default()).outcome, Outcome::Status(500));
    let mut keys: Vec<String> = OTHERS.split_whitespace().map(str::to_owned).collect();
    keys.extend(PHASES.iter().flat_map(|name| phase(name)));
    keys.sort_unstable();
    let keys: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
    let keys = format!("[{}]", keys.join(", "));
    let table = [
        ("sorted(m)", keys.as_str()),
        // The one that began to record, the 404 and both 500s.
        ("m['request_count'], [m['status_%dxx' % n] for n in range(1, 6)]", "(4, [0, 1, 0, 1, 2])"),
        ("m['input_bytes'], m['input_reads'], m['output_writes']", "(6, 2, 3)"),
        ("m['output_bytes'] > 5, m['gil_wait_count'] >= 6", "(True, True)"),
        ("m['pid'] == os.getpid(), m['start_time'] < m['stop_time'] <= time.time()", "(True, True)"),
        (
            "m['queue_time'], m['daemon_time'], m['queue_time_min_us'], sum(m['queue_time_buckets'])",
            "(None, None, None, 0)",
        ),
        ("{type(m[p]) for p in phases}", "{<class 'float'>}"),
        ("{sum(m[p + '_buckets']) for p in phases}, {len(m[p + '_buckets']) for p in phases}", "({4}, {65})"),
        ("[0 <= m[p + '_min_us'] <= m[p] * 1e6 + 1 <= m[p + '_max_us'] + 2 for p in phases].count(True)", "6"),
        (
            "20_000 <= m['application_time_max_us'] <= (p['current_time'] - p['restart_time']) * 1e6 and \
          max(range(65), key=lambda n: n * (m['application_time_buckets'][n] > 0)) >= 17",
            "True",
        ),
        ("abs(m['request_time'] - m['server_time'] - m['application_time']) < 1e-5", "True"),
        ("m['request_threads_maximum'], m['request_threads_started'], m['request_threads_active']", "(25, 1, 1)"),
        (
            "m['request_threads_completed'] == [4] + 24 * [0], m['request_threads_buckets'] == \
          m['request_threads_completed']",
            "(True, True)",
        ),
        (
            "[len(m['request_threads_' + n]) for n in ('busy_time', 'cpu_time', 'current_elapsed', 'max_duration')]",
            "[25, 25, 25, 25]",
        ),
        ("m['request_threads_max_duration'][0] >= 0.02, m['request_threads_current_elapsed'][0] > 0", "(True, True)"),
        ("0 < m['capacity_utilization'] <= 1 / 25 + 1e-9, m['cpu_time'] == m['cpu_utilization']", "(True, True)"),
        ("m['request_throughput'] == 4 / m['sample_period']", "True"),
        ("abs(m['cpu_utilization'] - m['cpu_user_utilization'] - m['cpu_system_utilization']) < 1e-9", "True"),
        ("m['memory_rss'] > 1 << 20, m['memory_max_rss'] > 1 << 20", "(True, True)"),
        (
            "(lambda n: (n['request_count'], n['request_time'], n['request_time_min_us'], \
          n['start_time'] == m['stop_time']))(mod_wsgi.request_metrics())",
            "(0, 0.0, None, True)",
        ),
        ("sorted(p)", PROCESS),
        ("p['pid'] == os.getpid(), p['request_count'], p['active_requests'], p['request_threads']", "(True, 4, 1, 1)"),
        ("p['threads']", "[{'thread_id': 1, 'request_count': 5}]"),
        (
            "p['restart_time'] < p['current_time'] and p['running_time'] == int(p['current_time'] - p['restart_time'])",
            "True",
        ),
        ("0.02 < p['request_busy_time'] < 60, p['cpu_time'] >= m['cpu_time'] * 0", "(True, True)"),
        ("abs(p['cpu_time'] - p['cpu_user_time'] - p['cpu_system_time']) < 1e-9", "True"),
    ];
    let prelude = "import mod_wsgi, os, time\nphases = ['server_time', 'application_time', 'request_time', \
                   'gil_wait_time', 'input_read_time', 'output_write_time']\nm = mod_wsgi.request_metrics()\n\
                   p = mod_wsgi.process_metrics()\n";
    check(prelude, Client::default(), &table);
}

// Covers: api:mod_wsgi.request_metrics
#[test]
fn a_request_that_goes_on_is_seen_in_every_window() {
    passed("metrics::windows_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn windows_inside() {
    check(
        "import mod_wsgi, time\nmod_wsgi.start_recording_metrics()\ndef window():\n    time.sleep(0.05)\n    m = \
         mod_wsgi.request_metrics()\n    return (m['request_count'], m['request_threads_busy_time'][0] >= 0.05, \
         m['request_threads_current_elapsed'][0] >= 0.05, m['capacity_utilization'] > 0.03)\n",
        Client::default(),
        &[("True", "True")],
    );
    let source = evaluating(
        "import mod_wsgi, time\ndef window():\n    time.sleep(0.05)\n    m = mod_wsgi.request_metrics()\n    return \
         (m['request_count'], m['request_threads_busy_time'][0] >= 0.05, m['request_threads_current_elapsed'][0])\n",
        &["window()[:2]", "window()[:2]", "window()[2] > 0.14"],
    );
    let reply = serve(&source, Client::default());
    assert_eq!(reply.text(), "(1, True)\n(0, True)\nTrue");
}

/// A subscriber that keeps everything, and a page that shows it.
const SEEN: &str = "import mod_wsgi, time\nseen = []\n@mod_wsgi.subscribe_events\ndef on(name, **event):\n    \
                    seen.append((name, event))\ndef application(e, s):\n    q = e['QUERY_STRING']\n    if q == 'burn':\n        \
                    end = time.thread_time() + 0.02\n        while time.thread_time() < end: pass\n    if q == 'early': \
                    mod_wsgi.event_callbacks.clear()\n    body = e['wsgi.input'].read()\n    s('203 X', [])\n    if q.startswith('!'):\n        \
                    r = eval(q[1:])\n        seen.clear()\n        return [repr(r).encode()]\n    return iter([b'one', \
                    b'two'])\n";

fn query(text: &str, client: Client) -> Client {
    Client { entries: vec![("QUERY_STRING".to_owned(), Some(text.as_bytes().to_vec()))], group: "measured", ..client }
}

// Covers: event:request_started, event:request_finished, api:mod_wsgi.subscribe_events
#[test]
fn events_carry_what_was_measured() {
    let script = file("measured.wsgi", SEEN.as_bytes());
    let ask = |text: &str| request(&script, query(&format!("!{text}"), Client::default())).text();
    request(&script, query("burn", Client::post(&[b"12345", b"678"])));
    let keys = ask("[sorted(e) for n, e in seen if n in ('request_started', 'request_finished')]");
    let expected = "[['application_object', 'application_start', 'callable_object', 'daemon_connects', \
                    'daemon_restarts', 'daemon_start', 'queue_start', 'request_data', 'request_environ', 'request_id', \
                    'request_start', 'server_pid', 'thread_id'], ['application_finish', 'application_time', \
                    'cpu_system_time', 'cpu_time', 'cpu_user_time', 'daemon_start', 'gil_wait_count', 'gil_wait_time', \
                    'input_length', 'input_reads', 'input_time', 'output_length', 'output_time', 'output_writes', \
                    'queue_start', 'request_data', 'request_id', 'request_start', 'server_pid', 'status', 'thread_id']";
    assert!(keys.starts_with(expected), "{keys}");
    request(&script, query("burn", Client::post(&[b"12345", b"678"])));
    let table = [
        (
            "[n for n, e in seen[1:]]",
            "['request_started', 'response_started', 'request_finished', 'request_started', 'response_started']",
        ),
        (
            "[(e['daemon_connects'], e['daemon_restarts'], e['queue_start'], e['daemon_start']) for n, e in seen \
          if n == 'request_started']",
            "[(0, 0, 0.0, 0.0), (0, 0, 0.0, 0.0)]",
        ),
    ];
    for (expression, expected) in table {
        assert_eq!(ask(expression), expected, "{expression}");
        request(&script, query("burn", Client::post(&[b"12345", b"678"])));
    }
    let finished = "(lambda e: (e['status'], e['input_length'], e['input_reads'], e['output_length'], \
                    e['output_writes'], e['cpu_time'] >= 0.02, e['application_time'] >= e['cpu_time'] * 0.5, \
                    e['gil_wait_count'] >= 5, 0 <= e['gil_wait_time'] < 10, 0 <= e['input_time'] < 10, \
                    0 <= e['output_time'] < 10, e['application_finish'] > e['request_start'], \
                    abs(e['cpu_time'] - e['cpu_user_time'] - e['cpu_system_time']) < 1e-9))(seen[3][1])";
    assert_eq!(ask(finished), "(203, 8, 2, 6, 2, True, True, True, True, True, True, True, True)");
}

// Covers: event:request_finished
#[test]
fn a_complete_response_is_out_when_it_has_finished() {
    let script = file("finish.wsgi", SEEN.as_bytes());
    request(&script, query("!1", Client::default()));
    let text = request(
        &script,
        query(
            "![(e['output_writes'], e['output_length'], e['status']) for n, e in seen if n == 'request_finished']",
            Client::default(),
        ),
    );
    assert_eq!(text.text(), "[(1, 1, 203)]");
    assert!(text.writes == [(text.body.len(), true)], "{:?}", text.writes);
}

// Covers: api:mod_wsgi.event_callbacks, api:mod_wsgi.subscribe_events
#[test]
fn the_lists_belong_to_the_application() {
    let script = file(
        "lists.wsgi",
        b"import mod_wsgi\nseen = []\ndef on(name, **event): seen.append(name)\ndef application(e, s):\n    r = eval(e['QUERY_STRING'])\n    \
          s('200 OK', [])\n    return [repr((r, seen)).encode()]\n",
    );
    let ask = |text: &str| {
        let entries = vec![("QUERY_STRING".to_owned(), Some(text.as_bytes().to_vec()))];
        request(&script, Client { entries, group: "lists", ..Client::default() }).text()
    };
    // Appended by hand: heard from the next thing that happens.
    assert_eq!(ask("mod_wsgi.event_callbacks.append(on)"), "(None, ['response_started'])");
    assert_eq!(ask("seen.clear()"), "(None, ['response_started'])");
    assert_eq!(
        ask("mod_wsgi.event_callbacks.clear()"),
        "(None, ['response_started', 'request_finished', 'request_started'])"
    );
    assert_eq!(ask("seen.clear()"), "(None, [])");
    // Another list in its place counts from the next subscription on.
    assert_eq!(
        ask("(setattr(mod_wsgi, 'event_callbacks', []), mod_wsgi.subscribe_events(on) is on)"),
        "((None, True), ['response_started'])"
    );
    assert_eq!(ask("seen.clear()"), "(None, ['response_started'])");
    for (value, expected) in [
        ("setattr(mod_wsgi, 'event_callbacks', 3)", "Failed to register event subscriber"),
        ("delattr(mod_wsgi, 'event_callbacks')", "mod_wsgi event_callbacks not initialised"),
    ] {
        let source = format!(
            "import mod_wsgi\n{value}\ndef application(e, s):\n    try: mod_wsgi.subscribe_events(1)\n    except \
             RuntimeError as error: text = str(error)\n    s('200 OK', [])\n    return [text.encode()]\n"
        );
        let reply = serve(&source, Client::group("spoilt"));
        assert_eq!(reply.text(), expected);
    }
}

// Covers: api:mod_wsgi.active_requests
#[test]
fn a_request_that_was_looked_at_is_gone_when_it_has_ended() {
    let script = file(
        "active.wsgi",
        b"import mod_wsgi\ndef application(e, s):\n    d = mod_wsgi.active_requests\n    same = list(d.values())[0] is \
          mod_wsgi.request_data()\n    s('200 OK', [])\n    return [repr((list(d), same)).encode()]\n",
    );
    for number in ["first", "second"] {
        let entries = vec![("mod_wsgi.request_id".to_owned(), Some(number.as_bytes().to_vec()))];
        let reply = request(&script, Client { entries, group: "looked", ..Client::default() });
        assert_eq!(reply.text(), format!("(['{number}'], True)"));
    }
}

/// In the main interpreter, as tracemalloc of some versions loads in no other. Allocates nothing itself between `reset_peak` at the end of a request and the look at the beginning of the next.
const PEAK: &str = "import mod_wsgi, tracemalloc\ntracemalloc.start()\ndef on(name, **event): pass\ndef application(e, s):\n    \
                    current, peak = tracemalloc.get_traced_memory()\n    if e['QUERY_STRING'] == 'on': \
                    mod_wsgi.subscribe_events(on)\n    s('200 OK', [])\n    body = [str(peak - current).encode()]\n    \
                    tracemalloc.reset_peak()\n    return body\n";

// Covers: rule:api/free-when-unsubscribed
#[test]
fn without_subscribers_no_event_is_built() {
    let script = file("peak.wsgi", PEAK.as_bytes());
    let peak = |query: &str| -> i64 {
        let entries = vec![("QUERY_STRING".to_owned(), Some(query.as_bytes().to_vec()))];
        let reply = request(&script, Client { entries, group: "", ..Client::default() });
        reply.text().parse().expect("a number of bytes")
    };
    for _ in 0..5 {
        peak("");
    }
    let (without, _) = (peak(""), peak("on"));
    peak("");
    let with = peak("");
    assert!(with - without >= 500, "{with} bytes with a subscriber, {without} without");
}
