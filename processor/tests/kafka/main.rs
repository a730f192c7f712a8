//! The Kafka backend against a real Kafka.
//!
//! The loop here is a small one of its own ([`support`]): it numbers the records of each key. Whatever happens on the
//! way, each record must give one alert with its number, in order, and the state must hold the last number.

mod crash;
mod protocol;
mod real_loop;
mod rebalance;
mod support;
#[allow(dead_code, clippy::disallowed_methods)] // It serves several tests, each of which uses a part.
#[path = "../sim/world.rs"]
mod world;
