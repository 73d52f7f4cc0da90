//! Which traces are recorded.

use super::SpanContext;

/// Which traces are recorded, as `OTEL_TRACES_SAMPLER` names it.
///
/// Source: OpenTelemetry specification 1.50, "SDK environment variables" and "Built-in samplers".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether a span with a parent is recorded if its parent is.
    pub follows_parent: bool,
    /// The share of the others that is recorded, from 0 to 1.
    pub ratio: f64,
}

impl Default for Sampler {
    /// `parentbased_always_on`.
    fn default() -> Self {
        Self { follows_parent: true, ratio: 1.0 }
    }
}

impl Sampler {
    /// The sampler of this name; nothing if there is none. `ratio` is for those that take one.
    pub fn named(name: &str, ratio: f64) -> Option<Self> {
        let (follows_parent, name) =
            name.strip_prefix("parentbased_").map_or((false, name), |name| (true, name));
        let ratio = match name {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => ratio,
            _ => return None,
        };
        Some(Self { follows_parent, ratio })
    }

    /// Whether a span of this trace is recorded.
    pub(super) fn samples(&self, trace_id: u128, parent: Option<SpanContext>) -> bool {
        match parent {
            Some(parent) if self.follows_parent => parent.sampled,
            // The lower bits are random in any case, and all programs of one ratio take the same traces.
            _ => (trace_id as u64 >> 1) < (self.ratio * (1u64 << 63) as f64) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: SpanContext = SpanContext { trace_id: 1, span_id: 1, sampled: true };

    #[test]
    fn a_parent_decides_where_it_is_asked() {
        let off = Sampler::named("parentbased_always_off", 1.0).unwrap();
        let unsampled = SpanContext { sampled: false, ..PARENT };
        assert!(off.samples(1, Some(PARENT)));
        assert!(!off.samples(1, None));
        assert!(!Sampler::default().samples(1, Some(unsampled)));
        assert!(Sampler::named("always_on", 0.0).unwrap().samples(1, Some(unsampled)));
        assert!(!Sampler::named("always_off", 1.0).unwrap().samples(1, Some(PARENT)));
    }

    #[test]
    fn a_ratio_takes_its_share() {
        let quarter = Sampler::named("traceidratio", 0.25).unwrap();
        let random = fastrand::Rng::with_seed(7);
        let taken = std::iter::repeat_with({
            let mut random = random;
            move || random.u128(..)
        });
        let count = taken.take(10_000).filter(|id| quarter.samples(*id, None)).count();
        assert!((2_300..2_700).contains(&count), "{count}");
        let all = Sampler { ratio: 1.0, ..quarter };
        assert!(all.samples(u128::MAX, None));
    }

    #[test]
    fn an_unknown_name_is_no_sampler() {
        assert_eq!(Sampler::named("jaeger_remote", 1.0), None);
    }
}
