//! The options of `#[task(...)]`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitBool, LitInt, LitStr, Result, Token, Type};

/// What stands in the attribute.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    /// Where `bind` stands.
    pub(crate) bind: Option<Span>,
    /// Where `isolation = "process"` stands.
    pub(crate) process: Option<Span>,
    /// The crate to refer to, for tests inside of it.
    pub(crate) krate: Option<Ident>,
    /// Statements that set fields of `options`, a `TaskOptions`.
    pub(crate) statements: Vec<TokenStream>,
    /// Whether anything is said on retries, and whether `retry_for` is.
    retries: bool,
    retry_for: bool,
    seen: Vec<String>,
}

const KNOWN: &str = "name, bind, queue, priority, countdown, expires, max_retries, default_retry_delay, \
    retry_backoff, retry_backoff_max, retry_jitter, retry_for, dont_retry_for, time_limit, soft_time_limit, acks, \
    acks_late, ignore_result, store_errors_even_if_ignored, track_started, rate_limit, serializer, compression, \
    isolation";

/// One option: a name, and what stands after `=`.
struct Entry {
    name: Ident,
    value: Option<Value>,
}

enum Value {
    Expr(Expr),
    /// `[io::Error, fmt::Error]`
    Types(Punctuated<Type, Token![,]>),
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.call(Ident::parse_any)?;
        if !input.peek(Token![=]) {
            return Ok(Self { name, value: None });
        }
        input.parse::<Token![=]>()?;
        let value = if name == "retry_for" || name == "dont_retry_for" {
            let types;
            syn::bracketed!(types in input);
            Value::Types(Punctuated::parse_terminated(&types)?)
        } else {
            Value::Expr(input.parse()?)
        };
        Ok(Self { name, value: Some(value) })
    }
}

/// Reads the options, or says which one is wrong and what would be right.
pub(crate) fn parse(tokens: TokenStream) -> Result<Options> {
    let entries = Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens)?;
    let mut options = Options::default();
    for entry in entries {
        options.take(entry)?;
    }
    if options.retries && !options.retry_for {
        options.statements.push(quote! { __options.retry.retry_for = RetryFor::Everything; });
    }
    Ok(options)
}

impl Options {
    fn take(&mut self, Entry { name, value }: Entry) -> Result<()> {
        let key = name.to_string();
        if self.seen.contains(&key) {
            return Err(Error::new(name.span(), format!("`{key}` stands here twice")));
        }
        self.retries |= matches!(
            &*key,
            "max_retries" | "default_retry_delay" | "retry_backoff" | "retry_backoff_max" | "retry_jitter"
        );
        let value = match (key.as_str(), value) {
            ("retry_for" | "dont_retry_for", Some(Value::Types(types))) => {
                return self.error_filter(&key, &types);
            }
            (_, Some(Value::Expr(value))) => Some(value),
            (_, _) => None,
        };
        let given = Given { name: &name, value: value.as_ref() };
        self.seen.push(key);
        self.set(&given)
    }

    fn set(&mut self, given: &Given<'_>) -> Result<()> {
        let name = given.name;
        let statement = match name.to_string().as_str() {
            "name" => {
                self.name = Some(given.text("\"module.task\"")?);
                return Ok(());
            }
            "bind" => {
                self.bind = given.flag()?.then(|| name.span());
                return Ok(());
            }
            "crate" => {
                self.krate = Some(given.text("\"celeriac\"")?.parse()?);
                return Ok(());
            }
            "queue" => {
                let queue = given.text("\"slow\"")?;
                quote! { __options.queue = Some(#queue.into()); }
            }
            "priority" => {
                let priority = given.priority()?;
                quote! { __options.priority = Some(#priority); }
            }
            "serializer" | "compression" => {
                let codec = given.codec()?;
                quote! { __options.#name = Some(#codec.into()); }
            }
            "countdown" | "expires" | "time_limit" | "soft_time_limit" => {
                let duration = given.duration()?;
                quote! { __options.#name = Some(#duration); }
            }
            "default_retry_delay" => {
                let duration = given.duration()?;
                quote! { __options.retry.default_retry_delay = #duration; }
            }
            "retry_backoff_max" => {
                let duration = given.duration()?;
                quote! { __options.retry.backoff_max = #duration; }
            }
            "retry_backoff" => given.backoff()?,
            "retry_jitter" => {
                let jitter = given.flag()?;
                quote! { __options.retry.jitter = #jitter; }
            }
            "max_retries" => given.max_retries()?,
            "acks" | "acks_late" => given.acks()?,
            "ignore_result" | "store_errors_even_if_ignored" | "track_started" => {
                let flag = given.flag()?;
                quote! { __options.#name = Some(#flag); }
            }
            "rate_limit" => given.rate_limit()?,
            "isolation" => {
                self.process = given.is_process()?.then(|| name.span());
                match self.process {
                    Some(_) => quote! { __options.isolation = Isolation::Process; },
                    None => TokenStream::new(),
                }
            }
            "retry_for" | "dont_retry_for" => {
                return Err(given.expected("a list of error types, such as `[std::io::Error]`"));
            }
            unknown => {
                let message = format!("there is no task option `{unknown}`; there are {KNOWN}");
                return Err(Error::new(name.span(), message));
            }
        };
        self.statements.push(statement);
        Ok(())
    }

    fn error_filter(&mut self, key: &str, types: &Punctuated<Type, Token![,]>) -> Result<()> {
        let types = types.iter();
        let filter =
            quote! { |_error: &(dyn ::std::error::Error + 'static)| false #(|| _error.is::<#types>())* };
        self.seen.push(key.to_owned());
        self.statements.push(if key == "retry_for" {
            self.retry_for = true;
            quote! { __options.retry.retry_for = RetryFor::Matching(#filter); }
        } else {
            self.retries = true;
            quote! { __options.retry.dont_retry_for = Some(#filter); }
        });
        Ok(())
    }
}

/// One option with its value, to be read as what it should be.
struct Given<'a> {
    name: &'a Ident,
    value: Option<&'a Expr>,
}

impl Given<'_> {
    fn expected(&self, what: &str) -> Error {
        let message = format!("`{}` is {what}", self.name);
        match self.value {
            Some(value) => Error::new(value.span(), message),
            None => Error::new(self.name.span(), message),
        }
    }

    fn literal(&self) -> Option<&Lit> {
        match self.value {
            Some(Expr::Lit(ExprLit { lit, .. })) => Some(lit),
            _ => None,
        }
    }

    fn text(&self, example: &str) -> Result<LitStr> {
        match self.literal() {
            Some(Lit::Str(text)) => Ok(text.clone()),
            _ => Err(self.expected(&format!("a text, such as `{} = {example}`", self.name))),
        }
    }

    /// `flag`, `flag = true` or `flag = false`.
    fn flag(&self) -> Result<bool> {
        match (self.value, self.literal()) {
            (None, _) => Ok(true),
            (_, Some(Lit::Bool(LitBool { value, .. }))) => Ok(*value),
            _ => Err(self.expected("true or false")),
        }
    }

    fn whole_number(&self, limit: u32) -> Option<u32> {
        let Some(Lit::Int(number)) = self.literal() else { return None };
        number.base10_parse().ok().filter(|number| *number <= limit)
    }

    fn priority(&self) -> Result<LitInt> {
        let number =
            self.whole_number(9).ok_or_else(|| self.expected("a number from 0 (lowest) to 9 (highest)"))?;
        Ok(LitInt::new(&format!("{number}u8"), self.name.span()))
    }

    /// Seconds as a literal, or any expression of type `Duration`.
    fn duration(&self) -> Result<TokenStream> {
        let wrong = || self.expected("a number of seconds that is not negative, or a `Duration`");
        let seconds: f64 = match (self.value, self.literal()) {
            (_, Some(Lit::Int(number))) => number.base10_parse()?,
            (_, Some(Lit::Float(number))) => number.base10_parse()?,
            (None, _) | (_, Some(_)) | (Some(Expr::Unary(_)), _) => return Err(wrong()),
            (Some(expression), None) => return Ok(quote! { #expression }),
        };
        let nanos = std::time::Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        let (seconds, nanos) = (nanos.as_secs(), nanos.subsec_nanos());
        Ok(quote! { Duration::new(#seconds, #nanos) })
    }

    /// `retry_backoff`, `= true`, `= false`, or the first delay.
    fn backoff(&self) -> Result<TokenStream> {
        let first = match (self.value, self.literal()) {
            (None, _) | (_, Some(Lit::Bool(LitBool { value: true, .. }))) => {
                quote! { Some(Duration::from_secs(1)) }
            }
            (_, Some(Lit::Bool(_))) => quote! { None },
            _ => {
                let duration = self.duration()?;
                quote! { Some(#duration) }
            }
        };
        Ok(quote! { __options.retry.backoff = #first; })
    }

    fn max_retries(&self) -> Result<TokenStream> {
        if matches!(self.value, Some(Expr::Path(path)) if path.path.is_ident("None")) {
            return Ok(quote! { __options.retry.max_retries = None; });
        }
        let number = self
            .whole_number(u32::MAX)
            .ok_or_else(|| self.expected("a whole number, or `None` for retries without end"))?;
        Ok(quote! { __options.retry.max_retries = Some(#number); })
    }

    /// `acks_late`, `acks_late = false`, `acks = "early"`, `acks = "late"`.
    fn acks(&self) -> Result<TokenStream> {
        let late = if self.name == "acks_late" {
            self.flag()?
        } else {
            match self.text("\"late\"")?.value().as_str() {
                "late" => true,
                "early" => false,
                _ => return Err(self.expected("\"early\" (at most once) or \"late\" (at least once)")),
            }
        };
        let acks = if late { quote!(Late) } else { quote!(Early) };
        Ok(quote! { __options.acks = Some(Acks::#acks); })
    }

    fn codec(&self) -> Result<LitStr> {
        let (known, expected): (&[&str], &str) = if self.name == "serializer" {
            (&["json", "msgpack"], "\"json\" or \"msgpack\"")
        } else {
            (&["gzip", "zlib", "bzip2", "zstd"], "\"gzip\", \"bzip2\" or \"zstd\"")
        };
        let text = self.text(expected)?;
        if known.contains(&text.value().as_str()) { Ok(text) } else { Err(self.expected(expected)) }
    }

    /// The same grammar as `RateLimit::from_str`, checked when the program is compiled.
    fn rate_limit(&self) -> Result<TokenStream> {
        let limit = self.text("\"10/m\"")?;
        let text = limit.value();
        let (count, unit) = text.split_once('/').unwrap_or((&text, "s"));
        let count = count.trim().parse::<f64>().ok().filter(|count| count.is_finite() && *count >= 0.0);
        if count.is_none() || !matches!(unit, "s" | "m" | "h") {
            return Err(self.expected("a number with a unit, such as \"10/s\", \"10/m\" or \"10/h\""));
        }
        Ok(quote! { __options.rate_limit = Some(#limit.parse().expect("checked when it was compiled")); })
    }

    fn is_process(&self) -> Result<bool> {
        match self.text("\"process\"")?.value().as_str() {
            "process" => Ok(true),
            "none" => Ok(false),
            _ => Err(self.expected("\"process\" or \"none\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(tokens: TokenStream) -> String {
        match parse(tokens) {
            Ok(_) => panic!("this should be refused"),
            Err(error) => error.to_string(),
        }
    }

    fn statements(tokens: TokenStream) -> String {
        let options = parse(tokens).map_err(|error| error.to_string()).unwrap();
        options.statements.into_iter().collect::<TokenStream>().to_string()
    }

    #[test]
    fn an_unknown_option_is_named_with_those_there_are() {
        let message = error(quote! { max_retrys = 3 });
        assert!(
            message.starts_with("there is no task option `max_retrys`; there are name, bind"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_value_says_what_would_be_right() {
        let cases = [
            (quote! { priority = 10 }, "`priority` is a number from 0 (lowest) to 9 (highest)"),
            (quote! { queue }, "`queue` is a text, such as `queue = \"slow\"`"),
            (quote! { acks = "sometimes" }, "`acks` is \"early\" (at most once) or \"late\" (at least once)"),
            (quote! { rate_limit = "10/d" }, "`rate_limit` is a number with a unit"),
            (quote! { time_limit = "30" }, "`time_limit` is a number of seconds"),
            (quote! { expires = -1 }, "`expires` is a number of seconds"),
            (quote! { retry_for }, "`retry_for` is a list of error types, such as `[std::io::Error]`"),
            (quote! { max_retries = "many" }, "`max_retries` is a whole number, or `None`"),
            (quote! { compression = "rar" }, "`compression` is \"gzip\", \"bzip2\" or \"zstd\""),
            (quote! { bind, bind }, "`bind` stands here twice"),
        ];
        for (tokens, expected) in cases {
            let message = error(tokens);
            assert!(message.starts_with(expected), "{message:?} is not {expected:?}");
        }
    }

    #[test]
    fn retry_options_without_chosen_errors_retry_every_error() {
        assert!(statements(quote! { max_retries = 5, retry_backoff }).contains("RetryFor :: Everything"));
        assert!(!statements(quote! { max_retries = 5, retry_for = [] }).contains("Everything"));
        assert!(!statements(quote! { queue = "slow" }).contains("Everything"));
    }

    #[test]
    fn seconds_may_be_fractions() {
        assert!(statements(quote! { time_limit = 1.5 }).contains("Duration :: new (1u64 , 500000000u32)"));
    }
}
