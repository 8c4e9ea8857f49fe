//! Faults that artifacts must survive, each printing what was tried and what was lost.
