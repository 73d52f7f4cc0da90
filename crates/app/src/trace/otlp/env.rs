//! The environment variables by which tracing is set up.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;

use super::client::{Client, Identities};
use super::exporter::{Exporter, Limits};
use crate::trace::{Sampler, Tracer};

/// Why tracing cannot be set up as the environment asks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    /// A variable has a value that makes no sense here.
    #[error("{variable} cannot be {value:?}: {reason}")]
    Variable {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        reason: String,
    },
    /// The exporter cannot be made.
    #[error("spans cannot be exported: {0}")]
    Exporter(String),
}

/// How long one request to the collector may take, unless the environment says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Tracer {
    /// A tracer that exports to the collector that the environment names; nothing if it names none, or does not want it.
    ///
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` (the whole URL) or `OTEL_EXPORTER_OTLP_ENDPOINT` (to which `/v1/traces` is added)
    /// names the collector; without both nothing is traced, and so it is with `OTEL_SDK_DISABLED=true` or
    /// `OTEL_TRACES_EXPORTER=none`. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say who exports, `service` if they do
    /// not; `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` what is recorded. `OTEL_EXPORTER_OTLP_HEADERS`,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`, `OTEL_EXPORTER_OTLP_CERTIFICATE`, `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`,
    /// `OTEL_EXPORTER_OTLP_CLIENT_KEY`, `OTEL_BSP_SCHEDULE_DELAY`, `OTEL_BSP_MAX_QUEUE_SIZE` and
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` count as well; times are milliseconds.
    ///
    /// Starts a thread. When the last clone is dropped, what has been recorded is sent before, for at most 2 s.
    ///
    /// # Errors
    /// A variable that makes no sense, or asks for a protocol that is not `http/protobuf`; a certificate that cannot be read, or
    /// a URL that begins with `https://` without the feature `tls`; a thread that the system refuses.
    pub fn from_env(service: &str) -> Result<Option<Self>, EnvError> {
        Self::from_variables(service, |name| env::var(name).ok())
    }

    pub(super) fn from_variables(
        service: &str,
        get: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Option<Self>, EnvError> {
        let variables = Variables(&get);
        let Some(endpoint) = variables.endpoint() else { return Ok(None) };
        variables.check_protocol()?;
        let client = Client::new(&endpoint, variables.timeout()?, &variables.identities());
        let client = client.map_err(EnvError::Exporter)?;
        let last_answer = client.last_answer();
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(&endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_retry_policy(opentelemetry_otlp::RetryPolicy::disabled())
            .build()
            .map_err(|error| EnvError::Exporter(error.to_string()))?;
        let resource = variables.resource(service);
        opentelemetry_sdk::trace::SpanExporter::set_resource(&mut exporter, &resource);
        let exporter = Exporter::start(exporter, last_answer, &endpoint, variables.limits()?)
            .map_err(|error| EnvError::Exporter(error.to_string()))?;
        Ok(Some(Self::new(variables.sampler()?, exporter)))
    }
}

struct Variables<'a, G>(&'a G);

impl<G: Fn(&'static str) -> Option<String>> Variables<'_, G> {
    /// The value of a variable; an empty one is as if it were not set.
    fn get(&self, name: &'static str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn endpoint(&self) -> Option<String> {
        let is = |name, wanted: &str| self.get(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted));
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return None;
        }
        self.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| {
            let base = self.get("OTEL_EXPORTER_OTLP_ENDPOINT")?;
            Some(format!("{}/v1/traces", base.trim_end_matches('/')))
        })
    }

    fn check_protocol(&self) -> Result<(), EnvError> {
        for variable in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            match self.get(variable) {
                Some(value) if value != "http/protobuf" => {
                    let reason =
                        "only http/protobuf is spoken, which collectors take at port 4318".to_owned();
                    return Err(EnvError::Variable { variable, value, reason });
                }
                Some(_) => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }

    fn number(&self, variable: &'static str) -> Result<Option<u64>, EnvError> {
        let Some(value) = self.get(variable) else { return Ok(None) };
        match value.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => {
                let reason = "a whole number is expected".to_owned();
                Err(EnvError::Variable { variable, value, reason })
            }
        }
    }

    fn timeout(&self) -> Result<Duration, EnvError> {
        let of_traces = self.number("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")?;
        let of_all = self.number("OTEL_EXPORTER_OTLP_TIMEOUT")?;
        Ok(of_traces.or(of_all).map_or(TIMEOUT, Duration::from_millis))
    }

    fn identities(&self) -> Identities {
        let file = |of_traces, of_all| self.get(of_traces).or_else(|| self.get(of_all)).map(PathBuf::from);
        Identities {
            authorities: file("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
            certificate: file(
                "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            ),
            key: file("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"),
        }
    }

    fn limits(&self) -> Result<Limits, EnvError> {
        let mut limits = Limits::default();
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
        if let Some(number) = self.number("OTEL_BSP_MAX_QUEUE_SIZE")? {
            limits.waiting = size(number);
        }
        if let Some(number) = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")? {
            limits.batch = size(number);
        }
        if let Some(number) = self.number("OTEL_BSP_SCHEDULE_DELAY")? {
            limits.delay = Duration::from_millis(number);
        }
        limits.batch = limits.batch.min(limits.waiting);
        Ok(limits)
    }

    fn sampler(&self) -> Result<Sampler, EnvError> {
        let (variable, argument) = ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG");
        let Some(name) = self.get(variable) else { return Ok(Sampler::default()) };
        let ratio = match self.get(argument).filter(|_| name.ends_with("traceidratio")) {
            None => 1.0,
            Some(value) => match value.parse() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
                _ => {
                    let reason = "a share from 0 to 1 is expected".to_owned();
                    return Err(EnvError::Variable { variable: argument, value, reason });
                }
            },
        };
        Sampler::named(&name, ratio).ok_or_else(|| EnvError::Variable {
            variable,
            value: name,
            reason: "always_on, always_off and traceidratio are known, and these after parentbased_"
                .to_owned(),
        })
    }

    /// Who exports, with what the crate itself reads of the environment.
    fn resource(&self, service: &str) -> Resource {
        let named = self.get("OTEL_SERVICE_NAME").is_some()
            || self.get("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|all| all.contains("service.name="));
        let builder = Resource::builder();
        if named { builder.build() } else { builder.with_service_name(service.to_owned()).build() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &'static [(&'static str, &'static str)]) -> Result<bool, String> {
        let get = |name: &'static str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        Tracer::from_variables("test", get).map(|tracer| tracer.is_some()).map_err(|error| error.to_string())
    }

    fn endpoint(variables: &'static [(&'static str, &'static str)]) -> Option<String> {
        let get = |name: &'static str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        Variables(&get).endpoint()
    }

    #[test]
    fn nothing_is_traced_unless_a_collector_is_named() {
        assert_eq!(from(&[]), Ok(false));
        assert_eq!(from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Ok(false));
        assert_eq!(from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]), Ok(true));
        assert_eq!(
            from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_SDK_DISABLED", "TRUE")]),
            Ok(false)
        );
        assert_eq!(
            from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_TRACES_EXPORTER", "none")]),
            Ok(false)
        );
    }

    #[test]
    fn a_url_for_traces_is_taken_as_it_is_and_one_for_all_gets_the_path() {
        assert_eq!(
            endpoint(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318/")]).as_deref(),
            Some("http://a:4318/v1/traces")
        );
        assert_eq!(
            endpoint(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318"),
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b/x")
            ])
            .as_deref(),
            Some("http://b/x")
        );
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let grpc = from(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ]);
        assert_eq!(
            grpc.unwrap_err(),
            "OTEL_EXPORTER_OTLP_PROTOCOL cannot be \"grpc\": only http/protobuf is spoken, which collectors take at port 4318"
        );
        for (variable, value) in [
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ] {
            let get = |name: &'static str| match name {
                "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://127.0.0.1:1".to_owned()),
                _ => (name == variable).then(|| value.to_owned()),
            };
            let said = Tracer::from_variables("test", get).unwrap_err().to_string();
            assert!(said.starts_with(&format!("{variable} cannot be {value:?}: ")), "{said}");
        }
        let get = |name: &'static str| match name {
            "OTEL_TRACES_SAMPLER" => Some("parentbased_traceidratio".to_owned()),
            "OTEL_TRACES_SAMPLER_ARG" => Some("2".to_owned()),
            _ => None,
        };
        let said = Variables(&get).sampler().unwrap_err().to_string();
        assert_eq!(said, "OTEL_TRACES_SAMPLER_ARG cannot be \"2\": a share from 0 to 1 is expected");
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn an_encrypted_collector_is_an_error_where_there_is_no_tls() {
        let said = from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1")]).unwrap_err();
        assert!(said.contains("built without the feature tls"), "{said}");
    }

    #[test]
    fn an_unusable_url_is_an_error() {
        let said = from(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://a/x")]).unwrap_err();
        assert!(said.contains("ftp://a/x"), "{said}");
    }
}
