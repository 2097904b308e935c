use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1000;

fn timers(change: impl FnOnce(&mut Settings)) -> Timers {
    let timeouts =
        Timeouts { shutdown: 5 * SECOND, graceful: 15 * SECOND, handover: 300 * SECOND, ..Timeouts::default() };
    let mut settings =
        Settings { group: "web".into(), threads: 1, maximum_requests: 0, timeouts, ..Settings::default() };
    change(&mut settings);
    Timers::new(settings, 0)
}

fn busy(starts: &[u64]) -> Observation {
    Observation { active: starts.iter().map(|start| Some(*start)).collect(), used: true, ..Observation::default() }
}

fn idle() -> Observation {
    Observation { active: vec![None], used: true, ..Observation::default() }
}

/// The texts, and the reason when it stops.
fn outcome(steps: &[Step]) -> (Vec<&str>, Option<Reason>) {
    let texts = steps.iter().filter_map(|step| if let Step::Log(text) = step { Some(text.as_str()) } else { None });
    let reason = steps.iter().find_map(|step| if let Step::Stop { reason, .. } = step { Some(*reason) } else { None });
    (texts.collect(), reason)
}

#[test]
fn nothing_is_due_without_timeouts() {
    let mut timers = timers(|_| {});
    assert_eq!(timers.tick(1_000_000, &busy(&[0])), []);
    assert_eq!(timers.next(1_000_000, &busy(&[0])), None);
}

// Covers: rule:daemon/sigterm, rule:daemon/shutdown-timeout
#[test]
fn a_termination_stops_once_and_bounds_the_end() {
    let mut timers = timers(|_| {});
    let steps = timers.notice(7, Notice::Terminate, &busy(&[0]));
    assert_eq!(outcome(&steps), (vec!["Shutdown requested for daemon process 'web'."], Some(Reason::ShutdownSignal)));
    assert!(steps.contains(&Step::Stop { reason: Reason::ShutdownSignal, abort_after: Some(5 * SECOND) }));
    assert_eq!(timers.notice(8, Notice::Terminate, &busy(&[0])), []);
    assert_eq!(timers.tick(9, &busy(&[0])), []);
    assert_eq!(timers.next(9, &busy(&[0])), None);
}

// Covers: rule:daemon/shutdown-timeout
#[test]
fn shutdown_timeout_0_never_aborts() {
    let mut timers = timers(|settings| settings.timeouts.shutdown = 0);
    let steps = timers.notice(0, Notice::Terminate, &idle());
    assert!(steps.contains(&Step::Stop { reason: Reason::ShutdownSignal, abort_after: None }));
}

#[test]
fn a_lost_server_and_lost_signals_stop() {
    assert_eq!(outcome(&timers(|_| {}).notice(0, Notice::ParentGone, &idle())).1, Some(Reason::ShutdownSignal));
    assert_eq!(outcome(&timers(|_| {}).notice(0, Notice::SignalsLost, &idle())).1, Some(Reason::SignalPipeError));
    assert_eq!(
        outcome(&timers(|_| {}).notice(0, Notice::ScriptChanged, &idle())),
        (vec![], Some(Reason::ScriptReload))
    );
}

// Covers: rule:daemon/sigusr1-graceful
#[test]
fn a_graceful_signal_waits_for_requests() {
    let mut timers = timers(|_| {});
    let steps = timers.notice(0, Notice::Graceful, &busy(&[0]));
    assert_eq!(
        outcome(&steps).0,
        ["Graceful restart requested; waiting for in-flight requests to complete in daemon process 'web'."]
    );
    assert!(steps.contains(&Step::Drain));
    assert_eq!(timers.tick(SECOND, &busy(&[0])), []);
    let steps = timers.tick(2 * SECOND, &idle());
    let text = "Requests have completed; triggering immediate shutdown of daemon process 'web'.";
    assert_eq!(outcome(&steps), (vec![text], Some(Reason::GracefulSignal)));
}

// Covers: rule:daemon/sigusr1-graceful, rule:daemon/slow-client-thread
#[test]
fn responses_that_clients_have_not_read_are_in_hand() {
    let unread = || Observation { unread: 1, ..idle() };
    let mut draining = timers(|settings| settings.timeouts.graceful = 5 * SECOND);
    assert!(draining.notice(0, Notice::Graceful, &unread()).contains(&Step::Drain));
    assert_eq!(draining.tick(SECOND, &unread()), []);
    assert_eq!(outcome(&draining.tick(2 * SECOND, &idle())).1, Some(Reason::GracefulSignal));
    let mut quiet = timers(|settings| settings.timeouts.inactivity = SECOND);
    assert_eq!(quiet.tick(2 * SECOND, &unread()), []);
    assert_eq!(quiet.next(2 * SECOND, &unread()), Some(3 * SECOND));
    assert_eq!(outcome(&quiet.tick(3 * SECOND, &idle())).1, Some(Reason::InactivityTimeout));
}

// Covers: rule:daemon/sigusr1-graceful
#[test]
fn a_graceful_signal_without_requests_stops_at_once() {
    let steps = timers(|_| {}).notice(0, Notice::Graceful, &idle());
    assert_eq!(outcome(&steps).1, Some(Reason::GracefulSignal));
}

// Covers: rule:daemon/graceful-timeout, rule:daemon/drain-accepts
#[test]
fn graceful_timeout_bounds_the_drain() {
    let mut timers = timers(|_| {});
    timers.notice(SECOND, Notice::Graceful, &busy(&[0]));
    assert_eq!(timers.next(SECOND, &busy(&[0])), Some(16 * SECOND));
    // Asking again does not push the deadline.
    assert_eq!(timers.notice(10 * SECOND, Notice::Graceful, &busy(&[0])), []);
    let steps = timers.tick(16 * SECOND, &busy(&[0]));
    let text = "Daemon process restart timer expired in daemon process 'web'; forcing shutdown.";
    assert_eq!(outcome(&steps), (vec![text], Some(Reason::GracefulSignal)));
}

// Covers: rule:daemon/graceful-timeout-zero
#[test]
fn without_graceful_timeout_nothing_is_waited_for() {
    let change = |settings: &mut Settings| settings.timeouts.graceful = 0;
    let steps = timers(change).notice(0, Notice::Graceful, &busy(&[0]));
    let text = "Graceful restart requested; triggering immediate shutdown of daemon process 'web'.";
    assert_eq!(outcome(&steps), (vec![text], Some(Reason::GracefulSignal)));
    assert_eq!(outcome(&timers(change).notice(0, Notice::CpuLimit, &busy(&[0]))).1, Some(Reason::CpuTimeLimit));
    // A successor serves already: that may take its time.
    let mut timers = timers(change);
    timers.notice(0, Notice::Leave, &busy(&[0]));
    assert_eq!(timers.next(0, &busy(&[0])), Some(300 * SECOND));
    let mut timers = self::timers(|settings| settings.timeouts.handover = 0);
    timers.notice(0, Notice::Leave, &busy(&[0]));
    assert_eq!(timers.next(0, &busy(&[0])), None, "0 is without limit");
    assert_eq!(timers.tick(1_000_000_000, &busy(&[0])), []);
}

// Covers: rule:daemon/timers-independent
#[test]
fn each_timer_works_while_all_others_are_off() {
    type Change = fn(&mut Timeouts);
    let mut seen = idle();
    (seen.startup, seen.activity, seen.watchdog) = (Some(0), 0, 0);
    let cases: [(Change, Observation, Reason); 5] = [
        (|timeouts| timeouts.startup = SECOND, seen.clone(), Reason::StartupTimeout),
        (|timeouts| timeouts.deadlock = SECOND, seen.clone(), Reason::DeadlockTimeout),
        (|timeouts| timeouts.inactivity = SECOND, seen.clone(), Reason::InactivityTimeout),
        (|timeouts| timeouts.request = SECOND, busy(&[0]), Reason::RequestTimeout),
        (|timeouts| timeouts.restart_interval = SECOND, idle(), Reason::RestartInterval),
    ];
    for (change, seen, reason) in cases {
        let mut timers = timers(|settings| {
            settings.timeouts = Timeouts::default();
            change(&mut settings.timeouts);
        });
        assert_eq!(timers.tick(SECOND - 1, &seen), [], "{reason:?} is early");
        assert_eq!(outcome(&timers.tick(SECOND, &seen)).1, Some(reason));
    }
}

// Covers: rule:daemon/sigusr1-eviction
#[test]
fn eviction_has_its_own_bound_and_reason() {
    let mut timers = timers(|settings| settings.timeouts.eviction = 3 * SECOND);
    let steps = timers.notice(0, Notice::Graceful, &busy(&[0]));
    assert!(outcome(&steps).0[0].starts_with("Process eviction requested; waiting"));
    assert_eq!(outcome(&timers.tick(3 * SECOND, &busy(&[0]))).1, Some(Reason::EvictionSignal));
}

#[test]
fn a_termination_cuts_a_drain_short() {
    let mut timers = timers(|_| {});
    timers.notice(0, Notice::Graceful, &busy(&[0]));
    assert_eq!(outcome(&timers.notice(1, Notice::Terminate, &busy(&[0]))).1, Some(Reason::ShutdownSignal));
}

// Covers: rule:daemon/sigxcpu
#[test]
fn the_cpu_limit_drains_or_stops() {
    let text = "Exceeded CPU time limit; triggering immediate shutdown of daemon process 'web'.";
    assert_eq!(outcome(&timers(|_| {}).notice(0, Notice::CpuLimit, &idle())), (vec![text], Some(Reason::CpuTimeLimit)));
    let mut timers = timers(|_| {});
    assert_eq!(outcome(&timers.notice(0, Notice::CpuLimit, &busy(&[0]))).1, None);
    assert_eq!(outcome(&timers.tick(SECOND, &idle())).1, Some(Reason::CpuTimeLimit));
}

#[test]
fn a_successor_makes_it_leave_when_connections_are_done() {
    let mut timers = timers(|_| {});
    let steps = timers.notice(0, Notice::Leave, &busy(&[0]));
    assert!(steps.contains(&Step::Leave));
    let mut seen = idle();
    seen.connections = 1;
    assert_eq!(timers.tick(1, &seen), [], "a request may still lie in the socket");
    seen.connections = 0;
    assert_eq!(outcome(&timers.tick(2, &seen)).1, Some(Reason::GracefulSignal));
}

// Covers: rule:daemon/deadlock-timeout
#[test]
fn the_deadlock_timer_follows_the_watchdog() {
    let mut timers = timers(|settings| settings.timeouts.deadlock = 300 * SECOND);
    let mut seen = idle();
    seen.watchdog = 10 * SECOND;
    assert_eq!(timers.next(20 * SECOND, &seen), Some(310 * SECOND));
    assert_eq!(timers.tick(309 * SECOND, &seen), []);
    let text = "Daemon process deadlock timer expired, stopping daemon process 'web'.";
    assert_eq!(outcome(&timers.tick(310 * SECOND, &seen)), (vec![text], Some(Reason::DeadlockTimeout)));
}

// Covers: rule:daemon/startup-timeout
#[test]
fn the_startup_timer_runs_while_a_script_loads() {
    let mut timers = timers(|settings| settings.timeouts.startup = 10 * SECOND);
    assert_eq!(timers.tick(100 * SECOND, &idle()), []);
    let mut seen = busy(&[100 * SECOND]);
    seen.startup = Some(100 * SECOND);
    assert_eq!(timers.next(100 * SECOND, &seen), Some(110 * SECOND));
    let text = "Application startup timer expired, stopping daemon process 'web'.";
    assert_eq!(outcome(&timers.tick(110 * SECOND, &seen)), (vec![text], Some(Reason::StartupTimeout)));
}

// Covers: rule:daemon/inactivity-timeout
#[test]
fn inactivity_needs_a_first_request_and_idleness() {
    let mut timers = timers(|settings| settings.timeouts.inactivity = 10 * SECOND);
    let mut seen = idle();
    seen.used = false;
    assert_eq!(timers.tick(100 * SECOND, &seen), []);
    assert_eq!(timers.tick(100 * SECOND, &busy(&[0])), [], "a request runs");
    seen = idle();
    seen.activity = 95 * SECOND;
    assert_eq!(timers.tick(100 * SECOND, &seen), []);
    assert_eq!(timers.next(100 * SECOND, &seen), Some(105 * SECOND));
    let text = "Daemon process idle inactivity timer expired, stopping process 'web'.";
    assert_eq!(outcome(&timers.tick(105 * SECOND, &seen)), (vec![text], Some(Reason::InactivityTimeout)));
}

// Covers: rule:daemon/request-timeout
#[test]
fn request_timeout_is_weighted_by_threads() {
    for (threads, threshold) in [(1, 1000), (5, 2609), (15, 3708)] {
        let timers = timers(|settings| {
            settings.threads = threads;
            settings.timeouts.request = SECOND;
        });
        assert_eq!(timers.request_threshold(), Some(threshold), "{threads} threads");
    }
}

// Covers: rule:daemon/request-timeout, rule:daemon/timers-independent
#[test]
fn a_request_over_its_time_stops_an_otherwise_idle_process() {
    let mut timers = timers(|settings| settings.timeouts.request = SECOND);
    assert_eq!(timers.next(0, &busy(&[200])), Some(1000));
    assert_eq!(timers.tick(1199, &busy(&[200])), []);
    let steps = timers.tick(1200, &busy(&[200]));
    let text = "Daemon process request time limit exceeded, stopping daemon process 'web'.";
    assert_eq!(outcome(&steps), (vec![text], Some(Reason::RequestTimeout)));
    assert!(steps.contains(&Step::DumpStacks));
}

// Covers: rule:daemon/request-timeout, rule:daemon/graceful-timeout
#[test]
fn a_request_over_its_time_lets_the_others_finish() {
    let mut timers = timers(|settings| {
        settings.threads = 2;
        settings.timeouts.request = SECOND;
    });
    let threshold = timers.request_threshold().expect("is set");
    let steps = timers.tick(threshold, &busy(&[0, threshold - 1]));
    let text = "Daemon process request time limit exceeded; waiting for in-flight requests to complete in daemon process \
                'web'.";
    assert_eq!(outcome(&steps), (vec![text], None));
    // The stuck one is not waited for.
    let seen = Observation { active: vec![Some(0), None], used: true, ..Observation::default() };
    assert_eq!(outcome(&timers.tick(threshold + 5, &seen)).1, Some(Reason::RequestTimeout));
}

#[test]
fn without_graceful_timeout_a_request_over_its_time_stops_at_once() {
    let mut timers = timers(|settings| {
        settings.threads = 2;
        settings.timeouts.request = SECOND;
        settings.timeouts.graceful = 0;
    });
    assert_eq!(outcome(&timers.tick(1700, &busy(&[0, 1600]))).1, Some(Reason::RequestTimeout));
}

// Covers: rule:daemon/interrupt-timeout, rule:daemon/interrupt-escalates
#[test]
fn interruption_comes_before_the_stop() {
    let mut timers = timers(|settings| {
        settings.timeouts.request = SECOND;
        settings.timeouts.interrupt = 2 * SECOND;
    });
    assert_eq!(timers.tick(SECOND, &busy(&[0])), [Step::Interrupt { thread: 0, start: 0 }]);
    assert_eq!(timers.tick(2 * SECOND, &busy(&[0])), [], "once per request");
    assert_eq!(timers.next(2 * SECOND, &busy(&[0])), Some(3 * SECOND));
    assert_eq!(outcome(&timers.tick(3 * SECOND, &busy(&[0]))).1, Some(Reason::RequestTimeout));
}

// Covers: rule:daemon/interrupt-timeout
#[test]
fn a_request_that_unwinds_keeps_the_process() {
    let mut timers = timers(|settings| {
        settings.timeouts.request = SECOND;
        settings.timeouts.interrupt = 2 * SECOND;
    });
    timers.tick(SECOND, &busy(&[0]));
    assert_eq!(timers.tick(4 * SECOND, &idle()), []);
    // The next request on the same thread has a clock of its own.
    assert_eq!(timers.tick(5 * SECOND, &busy(&[4 * SECOND])), [Step::Interrupt { thread: 0, start: 4 * SECOND }]);
    assert_eq!(timers.tick(6 * SECOND, &busy(&[4 * SECOND])), []);
}

#[test]
fn one_injection_per_pass() {
    let mut timers = timers(|settings| {
        settings.threads = 2;
        settings.timeouts.request = SECOND;
        settings.timeouts.interrupt = 9 * SECOND;
    });
    let now = 2 * SECOND;
    assert_eq!(timers.tick(now, &busy(&[0, 0])), [Step::Interrupt { thread: 0, start: 0 }]);
    assert_eq!(timers.next(now, &busy(&[0, 0])), Some(now + 1));
    assert_eq!(timers.tick(now + 1, &busy(&[0, 0])), [Step::Interrupt { thread: 1, start: 0 }]);
}

// Covers: rule:daemon/maximum-requests, rule:daemon/graceful-timeout-zero
#[test]
fn maximum_requests_drains_or_stops() {
    let mut timers_ = timers(|settings| settings.maximum_requests = 100);
    let mut seen = idle();
    seen.finished = 99;
    assert_eq!(timers_.tick(0, &seen), []);
    seen.finished = 100;
    let text = "Maximum requests reached; triggering immediate shutdown of daemon process 'web'.";
    assert_eq!(outcome(&timers_.tick(0, &seen)), (vec![text], Some(Reason::MaximumRequests)));

    let mut timers_ = timers(|settings| settings.maximum_requests = 100);
    let mut seen = busy(&[0]);
    seen.finished = 100;
    let text = "Maximum requests reached; attempting graceful shutdown of daemon process 'web'.";
    assert_eq!(outcome(&timers_.tick(0, &seen)), (vec![text], None));
    assert_eq!(timers_.next(0, &seen), Some(15 * SECOND));
}

// Covers: rule:daemon/restart-interval, rule:daemon/timers-independent
#[test]
fn restart_interval_drains_or_stops() {
    let mut timers_ = timers(|settings| settings.timeouts.restart_interval = 60 * SECOND);
    assert_eq!(timers_.next(0, &idle()), Some(60 * SECOND));
    let text = "Application restart timer expired, stopping process 'web'.";
    assert_eq!(outcome(&timers_.tick(60 * SECOND, &idle())), (vec![text], Some(Reason::RestartInterval)));

    let mut timers_ = timers(|settings| settings.timeouts.restart_interval = 60 * SECOND);
    let text = "Application restart timer expired; waiting for in-flight requests to complete in process 'web'.";
    assert_eq!(outcome(&timers_.tick(60 * SECOND, &busy(&[0]))), (vec![text], None));
    assert_eq!(outcome(&timers_.tick(61 * SECOND, &idle())).1, Some(Reason::RestartInterval));
}

// Covers: rule:daemon/shutdown-reason
#[test]
fn reasons_have_the_names_of_the_reference() {
    assert_eq!(Reason::ShutdownSignal.name(), "shutdown_signal");
    assert_eq!(Reason::ScriptReload.name(), "script_reload");
}

fn rolls(steps: &[Step]) -> Option<(Wish, Option<u64>)> {
    steps.iter().find_map(|step| match step {
        Step::Roll { wish, announce_from } => Some((*wish, *announce_from)),
        _ => None,
    })
}

// Covers: rule:daemon/rolling, rule:daemon/handover-timeout
#[test]
fn a_rolling_process_goes_on_until_its_successor_serves() {
    let mut timers = timers(|settings| settings.rolling = true);
    let steps = timers.notice(1, Notice::Graceful, &busy(&[0]));
    let text = "Graceful restart requested; daemon process 'web' goes on until its successor serves.";
    assert_eq!((outcome(&steps), rolls(&steps)), ((vec![text], None), Some((Wish::Any, None))));
    assert_eq!(timers.tick(100 * SECOND, &busy(&[0])), [], "it waits without a limit");

    let steps = timers.notice(100 * SECOND, Notice::Leave, &busy(&[0]));
    assert!(steps.contains(&Step::Leave));
    assert_eq!(timers.tick(399 * SECOND, &busy(&[0])), []);
    let steps = timers.tick(400 * SECOND, &busy(&[0]));
    assert_eq!(outcome(&steps).1, Some(Reason::GracefulSignal), "then requests in flight have the handover timeout");
    assert_eq!(warnings(&steps).len(), 1, "{steps:?}");
}

fn warnings(steps: &[Step]) -> Vec<&str> {
    steps.iter().filter_map(|step| if let Step::Warn(text) = step { Some(text.as_str()) } else { None }).collect()
}

// Covers: rule:daemon/recycling-waits, option:WSGIDaemonProcess/handover-timeout, code:WSGI0970
#[test]
fn a_restart_that_nobody_needs_at_once_waits_for_long_requests_beside_a_successor() {
    let mut timers_ = timers(|settings| {
        settings.asks = true;
        settings.timeouts.restart_interval = 2 * SECOND;
    });
    let upload = busy(&[SECOND]);
    let text = "Application restart timer expired; waiting for in-flight requests to complete in process 'web'.";
    assert_eq!(outcome(&timers_.tick(2 * SECOND, &upload)), (vec![text], None));
    let steps = timers_.tick(17 * SECOND, &upload);
    let text = "Requests of daemon process 'web' still run; they may finish while a successor takes new ones \
                (handover-timeout=300).";
    assert_eq!((outcome(&steps), rolls(&steps)), ((vec![text], None), Some((Wish::Any, None))));
    assert_eq!(timers_.tick(18 * SECOND, &upload), [], "it asks once");
    assert!(timers_.notice(20 * SECOND, Notice::Leave, &upload).contains(&Step::Leave));
    // The limit runs since it has asked.
    assert_eq!(timers_.next(20 * SECOND, &upload), Some(317 * SECOND));
    let steps = timers_.tick(317 * SECOND, &upload);
    let text = "WSGI0970: 1 requests of daemon process 'web', which is being replaced, have not finished within \
                handover-timeout=300; the process is stopped.";
    assert_eq!((warnings(&steps), outcome(&steps).1), (vec![text], Some(Reason::RestartInterval)));

    let mut timers_ = timers(|settings| {
        settings.asks = true;
        settings.maximum_requests = 1;
    });
    let seen = Observation { finished: 1, ..busy(&[0]) };
    timers_.tick(0, &seen);
    assert!(rolls(&timers_.tick(15 * SECOND, &seen)).is_some());
    let done = Observation { finished: 2, ..idle() };
    assert_eq!(
        outcome(&timers_.tick(25 * SECOND, &done)).1,
        Some(Reason::MaximumRequests),
        "with a successor or without"
    );
}

// Covers: rule:daemon/handover-sequential, code:WSGI0970
#[test]
fn in_turn_a_process_takes_no_new_requests_while_it_finishes_those_it_has() {
    let mut timers_ = timers(|settings| {
        settings.sequential = true;
        settings.timeouts.restart_interval = 60 * SECOND;
    });
    let steps = timers_.tick(60 * SECOND, &busy(&[0]));
    assert!(steps.contains(&Step::Leave) && !steps.contains(&Step::Drain), "{steps:?}");
    let steps = timers_.tick(75 * SECOND, &busy(&[0]));
    assert!(warnings(&steps)[0].contains("graceful-timeout=15"), "{steps:?}");
    assert_eq!(outcome(&steps).1, Some(Reason::RestartInterval));

    let mut timers_ = timers(|settings| settings.sequential = true);
    let steps = timers_.notice(0, Notice::Graceful, &busy(&[0]));
    assert!(steps.contains(&Step::Leave) && !steps.contains(&Step::Drain), "{steps:?}");

    let mut timers_ = timers(|settings| settings.sequential = true);
    let steps = timers_.notice(0, Notice::Leave, &busy(&[0]));
    assert_eq!(outcome(&steps), (vec!["A successor is to follow; daemon process 'web' takes no more requests."], None));
    assert_eq!(timers_.next(0, &busy(&[0])), Some(15 * SECOND), "its successor waits");

    let mut timers_ = timers(|settings| {
        settings.sequential = true;
        settings.timeouts.graceful = 0;
    });
    assert_eq!(outcome(&timers_.notice(0, Notice::Leave, &busy(&[0]))).1, Some(Reason::GracefulSignal));
}

#[test]
fn a_changed_script_is_the_reason_of_a_rolling_end() {
    let mut timers = timers(|settings| settings.rolling = true);
    let steps = timers.notice(1, Notice::ScriptChanged, &idle());
    assert_eq!(steps, [Step::Roll { wish: Wish::Script, announce_from: None }]);
    timers.notice(2, Notice::Leave, &idle());
    assert_eq!(outcome(&timers.tick(3, &idle())).1, Some(Reason::ScriptReload));
}

#[test]
fn an_eviction_has_its_own_limit_once_the_successor_serves() {
    let mut timers = timers(|settings| {
        settings.rolling = true;
        settings.timeouts.eviction = 3 * SECOND;
    });
    timers.notice(1, Notice::Graceful, &busy(&[0]));
    timers.notice(SECOND, Notice::Leave, &busy(&[0]));
    assert_eq!(outcome(&timers.tick(3 * SECOND, &busy(&[0]))).1, None);
    assert_eq!(outcome(&timers.tick(4 * SECOND, &busy(&[0]))).1, Some(Reason::EvictionSignal));
}

#[test]
fn limits_ask_again_when_they_are_reached_again() {
    let mut timers = timers(|settings| {
        settings.rolling = true;
        settings.maximum_requests = 10;
    });
    let seen = |finished| Observation { finished, ..idle() };
    assert_eq!(timers.tick(1, &seen(9)), []);
    assert_eq!(rolls(&timers.tick(1, &seen(10))), Some((Wish::Any, Some(20))));
    assert_eq!(timers.tick(1, &seen(11)), []);
    assert_eq!(rolls(&timers.tick(1, &seen(20))), Some((Wish::Any, Some(30))));

    let mut timers = self::timers(|settings| {
        settings.rolling = true;
        settings.timeouts.restart_interval = 5 * SECOND;
    });
    assert!(rolls(&timers.tick(5 * SECOND, &idle())).is_some());
    assert_eq!(timers.tick(6 * SECOND, &idle()), []);
    assert_eq!(timers.next(6 * SECOND, &idle()), Some(10 * SECOND));
    assert!(rolls(&timers.tick(10 * SECOND, &idle())).is_some());
}

#[test]
fn what_cannot_wait_ends_a_rolling_process_at_once() {
    for notice in [Notice::Terminate, Notice::ParentGone] {
        let mut timers = timers(|settings| settings.rolling = true);
        assert_eq!(outcome(&timers.notice(1, notice, &idle())).1, Some(Reason::ShutdownSignal));
    }
    let mut timers = timers(|settings| settings.rolling = true);
    assert_eq!(outcome(&timers.notice(1, Notice::CpuLimit, &idle())).1, Some(Reason::CpuTimeLimit));
}

/// What happens to a process, as tests choose it.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Time passes.
    Passes(u64),
    /// A worker begins a request, or ends the one that it has.
    Turns(usize),
    /// A client reads, or stops reading.
    Unread(usize),
    Noticed(Notice),
}

fn event() -> impl Strategy<Value = Event> {
    let notices = [
        Notice::Graceful,
        Notice::CpuLimit,
        Notice::ScriptChanged,
        Notice::Leave,
        Notice::Terminate,
        Notice::ParentGone,
        Notice::SignalsLost,
    ];
    prop_oneof![
        8 => (1..30 * SECOND).prop_map(Event::Passes),
        8 => (0..3usize).prop_map(Event::Turns),
        1 => (0..2usize).prop_map(Event::Unread),
        2 => prop::sample::select(notices[..4].to_vec()).prop_map(Event::Noticed),
        1 => prop::sample::select(notices.to_vec()).prop_map(Event::Noticed),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let timeout = || prop_oneof![Just(0), 1..60 * SECOND];
    let timeouts = (timeout(), timeout(), timeout(), timeout(), timeout(), timeout(), timeout());
    let flags = (0..2u8, any::<bool>(), any::<bool>(), any::<bool>());
    (timeouts, flags, 0..6u64).prop_map(|(timeouts, (_, rolling, asks, sequential), maximum_requests)| {
        let (graceful, eviction, request, interrupt, inactivity, restart_interval, handover) = timeouts;
        let timeouts = Timeouts {
            shutdown: 5 * SECOND,
            graceful,
            eviction,
            request,
            interrupt,
            inactivity,
            restart_interval,
            handover,
            ..Timeouts::default()
        };
        Settings {
            group: "web".into(),
            threads: 3,
            maximum_requests,
            rolling,
            asks: asks || rolling,
            sequential,
            timeouts,
        }
    })
}

/// Checks what holds for the steps of one moment.
fn check(settings: &Settings, steps: &[Step], left: bool, asked_to_leave: bool) {
    let stops = steps.iter().filter(|step| matches!(step, Step::Stop { .. })).count();
    assert!(stops <= 1, "{steps:?}");
    let position = steps.iter().position(|step| matches!(step, Step::Stop { .. }));
    assert!(position.is_none_or(|position| position + 1 == steps.len()), "nothing follows the stop: {steps:?}");
    if steps.contains(&Step::Leave) {
        assert!(asked_to_leave || settings.sequential, "nobody else serves: {steps:?}");
    }
    let rolls = steps.iter().filter(|step| matches!(step, Step::Roll { .. })).count();
    assert!(rolls <= 2 && (rolls == 0 || settings.asks), "{steps:?}");
    assert!(rolls == 0 || !left, "a process that leaves asks for nobody: {steps:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    // Covers: rule:daemon/timers-independent
    #[test]
    fn nothing_is_due_before_next_says_so_and_every_drain_ends(
        settings in settings(),
        events in proptest::collection::vec(event(), 0..50),
    ) {
        let mut timers = Timers::new(settings.clone(), 0);
        let mut now = 0;
        let mut seen = Observation { active: vec![None; 3], ..Observation::default() };
        let (mut stopped, mut left) = (false, false);
        for event in events {
            let mut steps = Vec::new();
            match event {
                Event::Passes(time) => {
                    // As the monitor does, which sleeps until something is due.
                    let end = now + time;
                    while let Some(due) = timers.next(now, &seen).filter(|due| *due <= end) {
                        prop_assert!(due > now);
                        prop_assert_eq!(timers.tick(due - 1, &seen), [], "due at {}, not before", due);
                        now = due;
                        // What was done may change what is due.
                        let mut passes = 0;
                        while !stopped && passes < 10 {
                            let due_now = timers.tick(now, &seen);
                            check(&settings, &due_now, left, false);
                            stopped |= due_now.iter().any(|step| matches!(step, Step::Stop { .. }));
                            left |= due_now.contains(&Step::Leave);
                            passes = if due_now.is_empty() { 10 } else { passes + 1 };
                        }
                    }
                    now = end;
                    prop_assert_eq!(timers.tick(now, &seen), [], "the monitor would have slept");
                }
                Event::Turns(worker) => {
                    seen.used = true;
                    seen.finished += u64::from(seen.active[worker].is_some());
                    seen.active[worker] = if seen.active[worker].is_some() { None } else { Some(now) };
                    seen.activity = now;
                }
                Event::Unread(count) => seen.unread = count,
                Event::Noticed(notice) => steps = timers.notice(now, notice, &seen),
            }
            let asked_to_leave = matches!(event, Event::Noticed(Notice::Leave));
            check(&settings, &steps, left && !asked_to_leave, asked_to_leave);
            prop_assert!(!stopped || steps.is_empty(), "it has stopped");
            left |= steps.contains(&Step::Leave);
            steps.extend(timers.tick(now, &seen));
            stopped |= steps.iter().any(|step| matches!(step, Step::Stop { .. }));
        }
        // A drain ends when its requests do.
        if let Phase::Draining { .. } = timers.phase {
            (seen.active, seen.unread) = (vec![None; 3], 0);
            let steps = timers.tick(now, &seen);
            prop_assert!(steps.iter().any(|step| matches!(step, Step::Stop { .. })), "{steps:?}");
        }
    }
}
