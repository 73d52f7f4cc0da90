//! Settings under Celery's names, from four layers: code, a TOML file, the environment, flags.
//!
//! A later layer goes before an earlier one. [`SETTINGS`] lists every setting with its type, its default and what
//! it does; the fields of [`Settings`] are the same list.

mod kinds;
mod layers;
mod table;
mod transport;

pub use celeriac_store::Durability;
pub use kinds::{InvalidSetting, SettingKind};
pub use layers::{ENVIRONMENT_PREFIX, Place, Problem, SettingsError};
pub use table::{SETTINGS, Setting, Settings};
pub(crate) use transport::redis_options;
pub use transport::{BrokerTransportOptions, ResultTransportOptions};
