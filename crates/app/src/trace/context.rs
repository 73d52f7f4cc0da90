//! What goes from program to program with a message: which span of which trace has sent it.

use std::fmt;
use std::str::FromStr;

use celeriac_protocol::{Headers, Value};
use serde::{Deserialize, Serialize};

/// The header in which the context of a message stands, at the top level of its headers.
///
/// Source: `opentelemetry/instrumentation/celery/__init__.py`, `CeleryInstrumentor._trace_before_publish`,
/// opentelemetry-instrumentation-celery 0.66b2; the text is that of W3C Trace Context, level 1.
pub const TRACEPARENT: &str = "traceparent";

/// What goes along with the context from a task to what it sends, where it has come with the task.
pub(super) const COMPANIONS: [&str; 2] = ["tracestate", "baggage"];

/// Names a span, and says whether its trace is recorded. Its text is that of the header `traceparent`.
///
/// ```
/// use celeriac_app::trace::SpanContext;
///
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context: SpanContext = text.parse().unwrap();
/// assert!(context.sampled);
/// assert_eq!(context.to_string(), text);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SpanContext {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span; never 0.
    pub span_id: u64,
    /// Whether the spans of this trace are recorded.
    pub sampled: bool,
}

/// The text is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the text of a span context")]
pub struct Malformed;

impl SpanContext {
    /// The context that these headers carry; nothing where they carry none that can be read.
    pub fn of(headers: &Headers) -> Option<Self> {
        match headers.other.iter().find(|(name, _)| **name == *TRACEPARENT)? {
            (_, Value::String(text)) => text.parse().ok(),
            _ => None,
        }
    }

    /// Puts the context into these headers, in the place of what they carried.
    pub(super) fn put_into(self, headers: &mut Headers) {
        let text = Value::from(self.to_string().as_str());
        match headers.other.iter_mut().find(|(name, _)| **name == *TRACEPARENT) {
            Some((_, value)) => *value = text,
            None => headers.other.push((TRACEPARENT.into(), text)),
        }
    }
}

impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl FromStr for SpanContext {
    type Err = Malformed;

    /// Versions after 00 may have more behind the flags.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.splitn(5, '-');
        let mut number = |digits| parts.next().and_then(|part| hex(part, digits)).ok_or(Malformed);
        let (version, trace_id) = (number(2)?, number(32)?);
        let (span_id, flags) = (number(16)?, number(2)?);
        let has_more = parts.next().is_some();
        if version == 0xff || (version == 0 && has_more) || trace_id == 0 || span_id == 0 {
            return Err(Malformed);
        }
        let span_id = u64::try_from(span_id).map_err(|_| Malformed)?;
        Ok(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }
}

/// The number of exactly so many hexadecimal digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = text.len() == digits && text.bytes().all(is_digit);
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

impl From<SpanContext> for String {
    fn from(context: SpanContext) -> Self {
        context.to_string()
    }
}

impl TryFrom<String> for SpanContext {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn only_what_w3c_allows_is_a_context() {
        for text in [
            format!("00-{TRACE}-00f067aa0ba902b7-00"),
            // A later version, with more behind the flags.
            format!("01-{TRACE}-00f067aa0ba902b7-03-more-of-it"),
        ] {
            assert!(text.parse::<SpanContext>().is_ok(), "{text}");
        }
        for text in [
            String::new(),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-+{}-00f067aa0ba902b7-01", &TRACE[1..]),
        ] {
            assert_eq!(text.parse::<SpanContext>(), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn what_is_damaged_is_refused_or_comes_back_as_it_went() {
        let mut random = fastrand::Rng::with_seed(20_261_129);
        for _ in 0..20_000 {
            let mut text = format!("00-{TRACE}-00f067aa0ba902b7-01").into_bytes();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..text.len());
                match random.u8(..3) {
                    0 => text[at] = b"0fg-\xc3"[random.usize(..5)],
                    1 => drop(text.remove(at)),
                    _ => text.insert(at, random.u8(..)),
                }
            }
            let text = String::from_utf8_lossy(&text);
            if let Ok(context) = text.parse::<SpanContext>() {
                assert_eq!(context.to_string().parse(), Ok(context), "{text}");
            }
        }
    }

    #[test]
    fn a_context_takes_the_place_of_the_one_before() {
        let mut headers = Headers::default();
        let first = SpanContext { trace_id: 7, span_id: 8, sampled: true };
        let second = SpanContext { span_id: 9, sampled: false, ..first };
        first.put_into(&mut headers);
        second.put_into(&mut headers);
        assert_eq!((SpanContext::of(&headers), headers.other.len()), (Some(second), 1));
    }

    #[test]
    fn a_header_that_is_no_text_is_no_context() {
        let headers = Headers { other: vec![(TRACEPARENT.into(), Value::Int(1))], ..Headers::default() };
        assert_eq!(SpanContext::of(&headers), None);
    }
}
