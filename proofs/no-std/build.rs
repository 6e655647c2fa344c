//! Links without libc, its start files or a dynamic loader: what the core needs beyond `core` and
//! `alloc` has nowhere to come from.

fn main() {
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        println!("cargo::rustc-link-arg={argument}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
