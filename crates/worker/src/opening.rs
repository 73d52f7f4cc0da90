//! Where a worker begins to take tasks from.

use celeriac_app::App;
use celeriac_store::{ConsumeOptions, ExchangeType, Store, Subscription};
use tokio::sync::mpsc;

use crate::consumer::Input;
use crate::control::{Intake, Kept, KeptCommand, Question};
use crate::prefetch::Prefetch;
use crate::trouble::Trouble;
use crate::{Error, Options};

/// What it takes to begin.
pub(crate) struct Opening<'a> {
    pub(crate) app: &'a App,
    pub(crate) options: &'a Options,
    pub(crate) store: &'a Store,
    pub(crate) trouble: &'a Trouble,
}

impl Opening<'_> {
    /// Where tasks are taken from, as remote control has changed it earlier, as soon as the store can be reached. Limits that
    /// it has changed are the first that the loop hears of, before any delivery.
    pub(crate) async fn intake(
        &self,
        kept: &Kept,
        inputs: &mpsc::UnboundedSender<Input>,
    ) -> Result<Intake, Error> {
        let mut intake = self.as_configured();
        if self.options.control_exchange.is_none() {
            return Ok(intake);
        }
        let mut asker = self.trouble.asker("what remote control has changed cannot be read");
        loop {
            match kept.read().await {
                Ok(kept) => {
                    asker.worked();
                    for KeptCommand { command, .. } in kept {
                        intake.obey(&command);
                        // What an application has put in its place means what the application says.
                        let template = self.options.template.as_ref();
                        if template.is_none_or(|template| !template.has_command(&command.method))
                            && let Some(limit) = Question::of_kept(&command, self.app)
                        {
                            // The loop has the other end.
                            let _ = inputs.send(Input::Question(limit));
                        }
                    }
                    return Ok(intake);
                }
                Err(error) if error.is_transient() => asker.pause(&error).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn as_configured(&self) -> Intake {
        let (mut bindings, mut refused) = (self.options.bindings.clone(), Vec::new());
        if !self.store.broker().capabilities().fanout_bindings {
            bindings.retain(|binding| {
                let is_fanout = binding.exchange_type == ExchangeType::Fanout;
                if is_fanout && self.options.queues.contains(&binding.queue) {
                    tracing::warn!(
                        "the queue {} gets nothing of the fan-out exchange {}: this broker brings that only to those who \
                         listen; keep the stock worker for it",
                        binding.queue,
                        binding.exchange,
                    );
                }
                if is_fanout {
                    refused.push(binding.queue.clone());
                }
                !is_fanout
            });
        }
        Intake::new(self.options.queues.clone(), bindings).with_refused(refused)
    }

    /// Starts to consume, as soon as the store can be reached.
    pub(crate) async fn subscribe(
        &self,
        intake: &Intake,
        prefetch: &Prefetch,
    ) -> Result<Subscription, Error> {
        let consume = ConsumeOptions {
            queues: intake.open(),
            prefetch: prefetch.ceiling(),
            lease: self.options.lease,
            worker: self.options.node_name.clone(),
        };
        let (broker, bindings) = (self.store.broker(), intake.bindings());
        let begin = async || {
            broker.bind(&bindings).await?;
            broker.consume(consume.clone()).await
        };
        let mut asker = self.trouble.asker("the queues cannot be consumed");
        loop {
            match begin().await {
                Ok(subscription) => {
                    asker.worked();
                    if self.options.template.is_some() {
                        tracing::info!("Connected to {}", self.store.url());
                    }
                    return Ok(subscription);
                }
                Err(error) if error.is_transient() => asker.pause(&error).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
