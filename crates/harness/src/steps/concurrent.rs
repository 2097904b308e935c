//! The concurrent step.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::{Produced, Setting};
use crate::runner::outcome::{Failure, FailureKind};
use crate::runner::perform::Performed;
use crate::scenario::Value;
use crate::scenario::schema::Concurrent;

/// What one client did, and when.
struct Client {
    performed: Vec<Performed>,
    started: Instant,
    ended: Instant,
}

/// Runs a step by several clients at once.
pub(super) fn run(step: &Concurrent, setting: &Setting<'_>) -> Produced {
    let clients = step.n.map_or(setting.prepared.nested.len(), |n| n as usize);
    let barrier = Barrier::new(clients.max(1));
    let began = Instant::now();
    let outcomes: Vec<Option<Client>> = std::thread::scope(|threads| {
        let handles: Vec<_> = (0..clients)
            .map(|client| {
                let barrier = &barrier;
                std::thread::Builder::new()
                    .name(format!("client {client}"))
                    .spawn_scoped(threads, move || act(step, setting, client, barrier, began))
            })
            .collect();
        handles.into_iter().map(|handle| handle.ok().and_then(|handle| handle.join().ok())).collect()
    });
    assemble(&outcomes)
}

/// The part of one client.
fn act(step: &Concurrent, setting: &Setting<'_>, client: usize, barrier: &Barrier, began: Instant) -> Client {
    let each = &setting.prepared.nested;
    let own = each.get(client % each.len().max(1));
    let mut scope = setting.scope.child();
    scope.set("client", client);
    scope.set("index", 0_i64);
    let mut prepared = own.map(|own| setting.performer.prepare(own, &scope, setting.limit, true));
    if step.barrier {
        // Everybody arrives, also those whose preparation failed: the others wait for them.
        barrier.wait();
    }
    if let Some(stagger) = step.stagger {
        let turn = Duration::from(stagger).saturating_mul(u32::try_from(client).unwrap_or(u32::MAX));
        // An end of time here shows in the step itself.
        let _ = setting.limit.pause(turn.saturating_sub(if step.barrier { Duration::ZERO } else { began.elapsed() }));
    }
    let started = Instant::now();
    let mut performed = Vec::new();
    for turn in 0..step.times.unwrap_or(1) {
        let Some(own) = own else { break };
        let mut scope = scope.child();
        scope.set("index", turn);
        let ready = prepared.take().unwrap_or_else(|| setting.performer.prepare(own, &scope, setting.limit, false));
        performed.push(setting.performer.carry_out(own, ready, &scope, setting.limit));
    }
    Client { performed, started, ended: Instant::now() }
}

fn assemble(outcomes: &[Option<Client>]) -> Produced {
    let mut results = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    let mut curl = None;
    for (number, outcome) in outcomes.iter().enumerate() {
        let Some(client) = outcome else {
            failures.push(Failure::new(
                FailureKind::Infrastructure,
                "",
                format!("client {number} could not be started"),
            ));
            continue;
        };
        for performed in &client.performed {
            results.push(performed.result.clone());
            failures.extend(performed.failures.iter().cloned().map(|failure| failure.note(format!("client {number}"))));
            curl = curl.or_else(|| performed.curl.clone());
        }
    }
    let clients = || outcomes.iter().flatten();
    let elapsed = clients()
        .map(|client| client.started)
        .min()
        .zip(clients().map(|client| client.ended).max())
        .map(|(start, end)| end - start);
    let mut produced = Produced::with([("results", Value::List(results)), ("elapsed", elapsed.into())]);
    produced.inner = failures;
    produced.duration = elapsed;
    produced.curl = curl;
    produced
}
