//! Enums whose values are words, in documents and on the screen.

/// Defines such an enum. `from` names the domain's type that it is made of, value by value;
/// `or` has further values.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident $(from $domain:ty)? {
            $($(#[$vmeta:meta])* $value:ident = $word:literal,)+
        } $(or { $($(#[$xmeta:meta])* $xvalue:ident = $xword:literal,)+ })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vmeta])* #[serde(rename = $word)] $value,)+
            $($($(#[$xmeta])* #[serde(rename = $xword)] $xvalue,)+)?
        }

        impl $name {
            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                    $($(Self::$xvalue => $xword,)+)?
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        words!(@from $name [$($domain)?] $($value)+);
    };
    (@from $name:ident [] $($value:ident)+) => {};
    (@from $name:ident [$domain:ty] $($value:ident)+) => {
        impl From<$domain> for $name {
            fn from(value: $domain) -> Self {
                match value {
                    $(<$domain>::$value => Self::$value,)+
                }
            }
        }
    };
}

pub(crate) use words;
