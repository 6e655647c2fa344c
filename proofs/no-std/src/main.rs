//! A whole x86-64 Linux program without std and without libc that asks the core of peerdma
//! questions and checks the answers.
//!
//! It proves two things that `#![no_std]` at the head of a library does not: that nothing the core
//! pulls in needs std (a second panic handler would not compile, an absent symbol would not link),
//! and that what an embedder brings (an allocator, a panic handler) is enough to run it.
//! `.ci/run` builds and runs it. Exit code 0: all steps hold; N: step N does not; 101: a panic.
#![no_std]
#![no_main]

extern crate alloc;

mod driver;
mod runtime;
mod steps;

/// Called by the entry point with a stack and nothing else.
extern "C" fn run() -> ! {
    for (number, (name, holds)) in steps::STEPS.iter().enumerate() {
        runtime::print(name);
        if holds().is_none() {
            runtime::print(": does not hold\n");
            runtime::exit(number as i32 + 1);
        }
        runtime::print(": holds\n");
    }
    runtime::exit(0)
}
