//! Keys that are known where they are compiled.

/// A key of an object, quoted already. Made by [`key!`](crate::key).
#[derive(Clone, Copy, Debug)]
pub struct Key(&'static str);

impl Key {
    /// What the macro makes: `, "name": `.
    #[doc(hidden)]
    pub const fn quoted(text: &'static str) -> Self {
        Self(text)
    }

    /// As it is written after another entry.
    pub(super) const fn after_another(self) -> &'static [u8] {
        self.0.as_bytes()
    }

    /// As it is written first.
    pub(super) fn at_first(self) -> &'static [u8] {
        &self.0.as_bytes()[2..]
    }

    /// As it is read.
    pub(crate) fn name(self) -> &'static str {
        &self.0[3..self.0.len() - 3]
    }
}

/// A key of an object in JSON: plain text in ASCII, without quotes and backslashes.
#[macro_export]
macro_rules! key {
    ($name:literal) => {
        $crate::json::Key::quoted(concat!(", \"", $name, "\": "))
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_key_has_its_name() {
        let key = key!("lang");
        assert_eq!(
            (key.name(), key.after_another(), key.at_first()),
            ("lang", &b", \"lang\": "[..], &b"\"lang\": "[..])
        );
    }
}
