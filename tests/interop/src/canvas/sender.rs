//! A program that sends canvases which another program has composed.

use std::error::Error;
use std::io::{BufRead as _, Write as _};

use celeriac::App;
use celeriac::canvas::Apply;
use celeriac::protocol::{Signature, Value, json};

/// Sends what each line of the input says, `{"signature", "args", "options"}`, and answers with a line for each: its
/// result as Celery's nested tuples.
///
/// # Errors
/// What the input has wrong, or why it cannot be sent.
pub async fn serve(app: &App) -> Result<(), Box<dyn Error>> {
    for line in std::io::stdin().lock().lines() {
        let request = json::parse(line?.as_bytes())?;
        let signature = Signature::from_value(request.get("signature").cloned().ok_or("no signature")?)?;
        let mut apply = Apply::default();
        if let Some(Value::List(arguments)) = request.get("args") {
            apply.args = arguments.clone();
        }
        if let Some(Value::Map(options)) = request.get("options") {
            apply.options = options.clone();
        }
        let unfolded = app.unfold(signature, apply)?;
        app.store().await?.publish(unfolded.publication).await?;
        let tree = unfolded.result.map_or(Value::Null, |result| result.as_tuple());
        let mut answer = json::to_bytes(&tree);
        answer.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&answer)?;
        out.flush()?;
    }
    Ok(())
}
