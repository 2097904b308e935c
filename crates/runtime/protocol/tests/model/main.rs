//! The status page's protocol in every order that the memory model permits, by loom.
//!
//! Run them with `setup/models.sh`. Each test is one race that processes can have on the page; loom's threads stand for
//! processes. The functions called here are those that serve requests.

mod succession;
mod takeback;

/// Runs a model in every order, or in every one with at most so many preemptions when that is said.
fn check(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}
