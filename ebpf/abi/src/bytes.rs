//! The macros that define a shared type: layout, size check and fingerprint come from one list.

/// Defines a `repr(C)` struct of exactly the size given, with a fingerprint of its fields.
///
/// With the feature `user` the type can be viewed as bytes and read from bytes; the derive refuses
/// any implicit padding, so the check also covers the kernel side, which is built without it.
macro_rules! shared_struct {
    ($(#[$attr:meta])* $name:ident: $size:literal { $($(#[$fattr:meta])* $field:ident: $ty:ty),+ $(,)? }) => {
        $(#[$attr])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(
            feature = "user",
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
        )]
        pub struct $name { $($(#[$fattr])* pub $field: $ty),+ }

        const _: () = assert!(core::mem::size_of::<$name>() == $size);

        impl $name {
            /// Fingerprint of the names, offsets and sizes of the fields.
            pub const LAYOUT: u64 = {
                let mut h = $crate::layout::text($crate::layout::SEED, stringify!($name));
                $(
                    h = $crate::layout::text(h, stringify!($field));
                    h = $crate::layout::text(h, stringify!($ty));
                    h = $crate::layout::number(h, core::mem::offset_of!($name, $field));
                )+
                $crate::layout::number(h, core::mem::size_of::<$name>())
            };
        }
    };
}

/// Defines a flag word: a transparent newtype with named bits, which keeps bits it does not know.
macro_rules! flag_word {
    ($(#[$attr:meta])* $name:ident: $repr:ty { $($(#[$fattr:meta])* $flag:ident = $bit:expr;)+ }) => {
        $(#[$attr])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(
            feature = "user",
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
        )]
        pub struct $name(pub $repr);

        impl $name {
            $($(#[$fattr])* pub const $flag: Self = Self($bit);)+

            /// No bit set.
            pub const NONE: Self = Self(0);

            /// True if every bit of `other` is set.
            #[inline]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// The bits of both.
            #[inline]
            #[must_use]
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// `self` with the bits of `other` set or cleared.
            #[must_use]
            pub const fn set(self, other: Self, on: bool) -> Self {
                if on { Self(self.0 | other.0) } else { Self(self.0 & !other.0) }
            }
        }

        impl core::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                self.with(other)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let mut left = self.0;
                let mut first = true;
                $(
                    if self.contains(Self::$flag) {
                        left &= !Self::$flag.0;
                        if !core::mem::replace(&mut first, false) {
                            f.write_str("|")?;
                        }
                        f.write_str(stringify!($flag))?;
                    }
                )+
                if left != 0 || first { write!(f, "{}{left:#x}", if first { "" } else { "|" }) } else { Ok(()) }
            }
        }
    };
}

/// Defines an open number: a transparent newtype with named values, which keeps values it does not know.
macro_rules! open_number {
    ($(#[$attr:meta])* $name:ident: $repr:ty { $($(#[$fattr:meta])* $value:ident = $num:literal => $text:literal;)+ }) => {
        $(#[$attr])*
        #[repr(transparent)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(
            feature = "user",
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
        )]
        pub struct $name(pub $repr);

        impl $name {
            $($(#[$fattr])* pub const $value: Self = Self($num);)+

            /// The name, if the number has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($num => Some($text),)+
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#x}", self.0),
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }
    };
}

pub(crate) use {flag_word, open_number, shared_struct};
