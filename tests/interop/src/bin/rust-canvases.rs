//! Sends canvases: what each line of its input says. The environment sets it up as it does a worker.

use std::error::Error;

use celeriac::Settings;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::default();
    settings.merge_environment(std::env::vars())?;
    let app = celeriac_interop::app().settings(|of_app: &mut Settings| *of_app = settings);
    celeriac_interop::canvas::serve(&app).await
}
