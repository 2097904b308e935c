//! What processes and the parent say of each other when one follows another.

use loom::sync::Arc;
use loom::thread;
use wsgi_protocol::page::{Header, ProcessSlot, Wish};
use wsgi_protocol::sync::Ordering;

use crate::check;

fn wish(process: &ProcessSlot) -> Wish {
    Wish::from_number(process.wish.load(Ordering::Acquire))
}

#[test]
fn a_script_that_does_not_load_takes_no_other_wish_away() {
    check(None, || {
        let process = Arc::new(ProcessSlot::default());
        process.ask(Wish::Script);
        // The parent has seen that a successor could not load the script; meanwhile a timer wants one, and a request
        // finds another script changed.
        let parent = thread::spawn({
            let process = Arc::clone(&process);
            move || process.take_back_script_wish()
        });
        let timer = thread::spawn({
            let process = Arc::clone(&process);
            move || process.ask(Wish::Any)
        });
        process.ask(Wish::Script);
        parent.join().unwrap();
        timer.join().unwrap();
        assert_eq!(wish(&process), Wish::Any);
    });
}

#[test]
fn one_of_two_gives_a_script_up_and_the_other_sees_it() {
    check(None, || {
        let header = Arc::new(Header::default());
        header.loading.store(77, Ordering::Release);
        // The successor says so itself, and the parent sees its end.
        let parent = thread::spawn({
            let header = Arc::clone(&header);
            move || header.give_up()
        });
        let own = header.give_up();
        let parent = parent.join().unwrap();
        assert!(own != parent, "one of them");
        assert_eq!(header.given_up.load(Ordering::Acquire), 77);
    });
}
