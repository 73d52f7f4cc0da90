//! The `#[task]` attribute.
//!
//! Use it through the `celeriac` crate, whose documentation shows it at work.

mod expand;
mod function;
mod options;

use proc_macro::TokenStream;

/// Makes a task of a function: `async fn` runs on the async pool, `fn` on threads.
///
/// In place of the function stands a value of its name. `save_url.s(...)` is a signature, `save_url.delay(&app, ...)`
/// sends it, `save_url.call(...)` runs the function here and now, and `tasks![save_url]` registers it. Inside of the
/// function the name means the same, so a task can send itself. No variable or parameter in its scope can have that name
/// (rustc says "cannot shadow unit structs"): a verb, such as `count_links`, does not get in the way of the `links`.
///
/// # Parameters
///
/// - Any type that serde can decode is an argument; callers give it by position or by keyword. `Option<T>` may be left
///   out, and so may what carries `#[default(expression)]`.
/// - `&Context` (with or without `bind`), first, is the call itself.
/// - `Shared<T>` and `Local<T>` are resources and are injected.
///
/// # Options
///
/// All carry Celery's names. Durations are seconds, or any expression of type `Duration`.
///
/// | Option | Means | Default |
/// |---|---|---|
/// | `name = "..."` | the name callers use | module path and function, with dots |
/// | `bind` | the first parameter is `&Context` | |
/// | `queue = "..."`, `priority = 0..9` | where it goes | routes and settings |
/// | `countdown = 5`, `expires = 60` | not before, not after | |
/// | `max_retries = 3`, or `None` | how often it is tried again | 3 |
/// | `default_retry_delay = 180` | the delay without back-off | 180 |
/// | `retry_backoff`, or `= 2` | delays that double, from one second or this | off |
/// | `retry_backoff_max = 600`, `retry_jitter = true` | the longest delay, random or not | 600, true |
/// | `retry_for = [io::Error]`, `dont_retry_for = [...]` | which errors are tried again | see below |
/// | `time_limit = 30`, `soft_time_limit = 20` | stopped after, asked to stop after | settings |
/// | `acks_late`, or `acks = "late"`, `"early"` | when it is acknowledged | settings: late |
/// | `ignore_result`, `store_errors_even_if_ignored`, `track_started` | what is stored | settings |
/// | `rate_limit = "10/m"` | how often it starts on one worker | settings |
/// | `serializer = "json"`, `compression = "zstd"` | how its arguments travel | settings |
/// | `isolation = "process"` | a `fn` runs in a child process | threads |
///
/// A task with any of the retry options but no `retry_for` is retried after every error it returns; without any, only
/// [`Context::retry`](https://docs.rs/celeriac) retries it. (Celery retries by itself only for `autoretry_for`.)
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = options::parse(options.into()).and_then(|options| {
        let function = function::parse(item.into(), &options)?;
        Ok(expand::expand(&options, &function))
    });
    expanded.unwrap_or_else(|error| error.to_compile_error()).into()
}
