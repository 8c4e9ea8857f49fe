//! Scenarios across crates: real processes, real files, the command as its users run it.
//!
//! The tests are in `tests/`, the benchmarks in `benches/`; this library holds what they share.
