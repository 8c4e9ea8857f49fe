#![doc = include_str!("../README.md")]

mod address;
mod answer;
mod cause;
mod connection;
mod failure;
mod renewal;

pub use address::{Address, endpoint_problem, is_region, region_problem, without_user_info};
pub use answer::{AnswerCheck, MAX_ANSWER_BYTES};
pub use cause::Cause;
pub use connection::{Connected, Connection, StaticCredentials, endpoint_of_chain};
pub use failure::{Failure, Service, innermost};
pub use renewal::Renewal;
