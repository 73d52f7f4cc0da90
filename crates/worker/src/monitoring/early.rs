//! Answers probes while the application is loaded whose worker this is to be.

use std::net::SocketAddr;

use tokio::sync::mpsc;

use super::{Monitor, ServiceManager};
use crate::consumer::Input;
use crate::{Error, Options};

/// Answers the probes of a worker that there is not yet, because its application is still being loaded: it lives, and is not
/// ready.
///
/// [`connect`](crate::connect) goes on with it where the options name the same address, so that at no instant nobody
/// answers.
#[derive(Debug)]
pub struct EarlyProbes {
    monitor: Monitor,
    wire: Wire,
}

/// What the loop of a worker is asked by, and what it hears.
pub(crate) type Wire = (mpsc::UnboundedSender<Input>, mpsc::UnboundedReceiver<Input>);

impl EarlyProbes {
    /// Starts to answer at this address, until this is dropped, and to tell the service manager.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub fn start(address: SocketAddr, service_manager: Option<ServiceManager>) -> Result<Self, Error> {
        let wire = mpsc::unbounded_channel();
        let monitor = Monitor::start(Some(address), service_manager, wire.0.clone())?;
        let monitor = monitor.expect("there is an address");
        monitor.signs().vitals().load_begins();
        Ok(Self { monitor, wire })
    }
}

/// Goes on with what answers already, if that is where the options have it, and starts what is to answer else.
pub(crate) fn go_on(early: Option<EarlyProbes>, options: &Options) -> Result<(Option<Monitor>, Wire), Error> {
    if let Some(EarlyProbes { monitor, wire }) =
        early.filter(|early| early.monitor.address == options.metrics_address)
    {
        monitor.signs().vitals().loaded();
        return Ok((Some(monitor), wire));
    }
    let wire = mpsc::unbounded_channel();
    let monitor = Monitor::start(options.metrics_address, options.service_manager.clone(), wire.0.clone())?;
    Ok((monitor, wire))
}
