//! What the recovery tests and their worker program share.

pub mod diary;
pub mod patient;
