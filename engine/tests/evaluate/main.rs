//! What the engine answers, as data: rules, events in order, and what is to come of each.

#![allow(clippy::disallowed_methods, reason = "tests take a seed from the environment")]

mod alerts;
mod baseline;
mod change;
mod composite;
mod counting;
mod explain;
mod forms;
mod gather;
mod history;
mod ignore;
mod ignore_key;
mod language;
mod lines;
mod quiet;
mod random;
mod run_facts;
mod seed;
mod store;
mod tree;
mod wishes;
mod world;
