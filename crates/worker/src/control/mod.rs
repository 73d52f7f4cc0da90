//! Remote control: the worker answers what Celery's own clients broadcast.
//!
//! - [`mailbox`] hears commands, finds out whether they are for this worker ([`address`]), and replies;
//! - [`panel`] knows every command by its name; each family has its file in `commands`;
//! - where Python objects are needed, the template of the application is asked (`commands/application.rs`);
//! - [`kept`] keeps what they have changed for the time after a restart; [`intake`] is where tasks are taken from;
//! - [`question`] is what a command wants of the loop, which alone knows what runs.
//!
//! - commands that the program has added run on a thread of their own ([`own`]).
//!
//! Celery's commands are obeyed one after the other, beside the loop, which never waits for them.

mod address;
mod clock;
mod commands;
mod intake;
mod kept;
mod mailbox;
mod own;
mod panel;
mod question;
#[cfg(unix)]
mod usage;

pub(crate) use clock::LogicalClock;
pub(crate) use commands::MemorySamples;
pub(crate) use intake::Intake;
pub(crate) use kept::{Kept, KeptCommand};
pub(crate) use mailbox::Mailbox;
pub(crate) use own::OwnCommands;
pub(crate) use panel::{Panel, Refusal};
pub(crate) use question::{Held, Inquirer, Numbers, Question};
