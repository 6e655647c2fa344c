//! The rules, one by one, on small machines; and what holds of every machine.

mod completions;
mod machine;
mod properties;
mod records;
mod requests;
mod software;
mod top;
