//! The full-screen view on a terminal: hears, reads keys, and draws.

use std::io;
use std::thread;
use std::time::Duration;

use celeriac_protocol::events;
use celeriac_store::{Error, Listener};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::picture::Picture;
use super::screen::Screen;
use crate::failure::Failure;
use crate::session::Session;

/// How often is drawn at most.
const DRAWS_EVERY: Duration = Duration::from_millis(100);

/// How long to wait before events are listened to again after a failure.
const LISTENS_AFTER: Duration = Duration::from_secs(1);

/// How long keys are waited for before it is found out whether anybody reads them.
const KEYS_WITHIN: Duration = Duration::from_millis(100);

/// A terminal that shows a screen; dropped, it is as it was before. A panic restores it too, by the hook of ratatui.
struct Shown(DefaultTerminal);

impl Drop for Shown {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows what is heard until the person at the terminal ends it.
pub(super) async fn run(mut listener: Box<dyn Listener>, session: &Session<'_>) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::because("the terminal cannot be used", &error);
    let mut terminal = Shown(ratatui::try_init().map_err(failed)?);
    let mut pressed = keys();
    let (mut picture, mut screen) = (Picture::default(), Screen::default());
    let mut draw = interval(DRAWS_EVERY);
    draw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listens_at = Instant::now();
    loop {
        let heard = async {
            sleep_until(listens_at).await;
            listener.next().await
        };
        tokio::select! {
            heard = heard => match heard {
                Ok(message) => {
                    screen.trouble = None;
                    // What cannot be read is somebody else's.
                    for event in events::decode(&message).unwrap_or_default() {
                        picture.hear(&event, session.now());
                    }
                }
                Err(Error::Closed) => return Ok(()),
                Err(error) => {
                    screen.trouble = Some(format!("events are not heard: {error}"));
                    listens_at = Instant::now() + LISTENS_AFTER;
                }
            },
            key = pressed.recv() => match key {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                    if !screen.press(key, &picture) {
                        return Ok(());
                    }
                    let drawn = terminal.0.draw(|frame| screen.draw(frame, &picture, session.now()));
                    drawn.map_err(failed)?;
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(failed(error)),
                None => return Ok(()),
            },
            _ = draw.tick() => {
                let drawn = terminal.0.draw(|frame| screen.draw(frame, &picture, session.now()));
                drawn.map_err(failed)?;
            }
        }
    }
}

/// What is pressed, read by a thread that ends soon after nobody wants it any more.
fn keys() -> mpsc::Receiver<io::Result<Event>> {
    let (press, pressed) = mpsc::channel(64);
    thread::spawn(move || {
        while !press.is_closed() {
            let read = match event::poll(KEYS_WITHIN) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let is_over = read.is_err();
            if press.blocking_send(read).is_err() || is_over {
                return;
            }
        }
    });
    pressed
}
