//! The macros that a `spec.rs` is written with.

/// An enum whose values have names in settings.
macro_rules! named {
    ($(#[$meta:meta])* pub enum $type:ident { $($(#[$of:meta])* $variant:ident = $name:literal),* $(,)? }) => {
        $(#[$meta])*
        pub enum $type { $($(#[$of])* $variant),* }

        impl $type {
            /// Every value.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];
            /// The names of all values, in the same order.
            pub const NAMES: [&'static str; Self::ALL.len()] = [$($name),*];

            /// Returns the name in settings and case files.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }

        impl $crate::ops::settings::Setting for $type {
            const TYPE: $crate::ops::settings::Type = $crate::ops::settings::Type::Word(&Self::NAMES);
            fn value(self) -> $crate::ops::settings::Value {
                $crate::ops::settings::Value::Word(self.name())
            }
            fn of(value: $crate::ops::settings::Value) -> Option<Self> {
                let $crate::ops::settings::Value::Word(word) = value else { return None };
                Self::NAMES.iter().position(|name| *name == word).map(|i| Self::ALL[i])
            }
        }
    };
}
pub(crate) use named;

/// A struct that may get more fields, with a setter `with_field` for each.
macro_rules! settable {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($(#[doc = $doc:literal])+ pub $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        #[non_exhaustive]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $type,)* }

        pastey::paste! {
            impl $name {
                $(
                    #[doc = concat!("Sets `", stringify!($field), "`.")]
                    #[doc = ""]
                    $(#[doc = $doc])+
                    pub const fn [<with_ $field>](mut self, $field: $type) -> Self {
                        self.$field = $field;
                        self
                    }
                )*
            }
        }
    };
}
pub(crate) use settable;

/// An op's `Spec` with the table of its settings and of its arguments.
///
/// An entry is one of three:
/// - `pub name("L"): Type = default, range;` is a setting that is a field of the spec. Letter and range may be left out.
/// - `let name("L"): Type = default, range;` is a setting that a field is made of.
/// - `pub name: Type => expression;` is a field made of settings before it.
///
/// Defaults and expressions see the settings before them by their names.
///
/// An argument is `access name: type [sizes] if setting | ...;` with one form or several, of which the first with as many
/// sizes and its setting set is the one that holds. A size is the name of a setting, a number, `(2 * setting)`,
/// `(setting + 1)`, `(flag ? setting)` for 1 where the flag is not set, or any other formula in parentheses.
///
/// Each field has a setter; see `settable`. Constructors, which take what a spec can't do without, are written by hand.
///
/// A spec whose settings are another's has one field, `pub forward: attention::Spec`, perhaps with other defaults, and the
/// pairs of arguments `(x, dx)` that are shaped alike.
macro_rules! spec {
    (
        $(#[doc = $summary:literal])+
        #[derive($($derive:ident),*)]
        pub struct Spec { $(#[doc = $doc:literal])+ pub $field:ident: $of:ident::Spec }
        $(defaults { $($name:ident = $default:expr;)* })?
        $(gradients $gradients:expr;)?
        $(arguments { $($arguments:tt)* })?
    ) => {
        $(#[doc = $summary])+
        #[derive($($derive),*)]
        #[non_exhaustive]
        pub struct Spec {
            $(#[doc = $doc])+
            pub $field: $of::Spec,
        }

        impl Spec {
            /// Builds the spec whose settings are those of another op.
            pub const fn new($field: $of::Spec) -> Self {
                Self { $field }
            }
        }

        /// The settings of the op.
        pub static TABLE: $crate::ops::settings::Table = $crate::ops::settings::Table {
            op: super::NAME,
            summary: [$($summary),+][0],
            fields: $of::spec::FIELDS,
            arguments: $crate::ops::settings::spec!(@or [$of::spec::ARGUMENTS] $([$crate::ops::settings::spec!(@arguments $($arguments)*)])?),
            gradients: $crate::ops::settings::spec!(@or [&[]] $([$gradients])?),
            defaults: &[$($((stringify!($name), $default)),*)?],
            build: |reader| Ok(Spec { $field: $of::Spec::from_settings(reader)? }.into()),
        };
    };
    (
        $(#[doc = $summary:literal])+
        #[derive($($derive:ident),*)]
        pub struct Spec { $($entries:tt)* }
        arguments { $($arguments:tt)* }
    ) => {
        $crate::ops::settings::spec! { @entry reader [$(#[doc = $summary])+ #[derive($($derive),*)]] [] [] [] [] $($entries)* }

        pub(crate) const ARGUMENTS: &[$crate::ops::settings::Argument] = $crate::ops::settings::spec!(@arguments $($arguments)*);

        /// The settings of the op.
        pub static TABLE: $crate::ops::settings::Table = $crate::ops::settings::Table {
            op: super::NAME,
            summary: [$($summary),+][0],
            fields: FIELDS,
            arguments: ARGUMENTS,
            gradients: &[],
            defaults: &[],
            build: |reader| Ok(Spec::from_settings(reader)?.into()),
        };
    };
    (@or [$otherwise:expr]) => { $otherwise };
    (@or [$otherwise:expr] [$given:expr]) => { $given };
    (@optional) => { None };
    (@optional $given:literal) => { Some($given) };
    (@range) => { $crate::ops::settings::Range::Any };
    (@range $range:expr) => {{
        #[allow(unused_imports)]
        use $crate::ops::settings::Range::*;
        $range
    }};
    (@arguments $($access:ident $name:ident: $dtype:ident $([$($size:tt),* $(,)?] $(if $flag:ident)?)|+;)*) => {
        &[$($crate::ops::settings::Argument {
            name: stringify!($name),
            access: $crate::ops::settings::spec!(@access $access),
            dtype: stringify!($dtype),
            forms: &[$($crate::ops::settings::Form {
                sizes: &[$(stringify!($size)),*],
                when: $crate::ops::settings::spec!(@when $($flag)?),
            }),+],
        }),*]
    };
    (@when) => { None };
    (@when $flag:ident) => { Some(stringify!($flag)) };
    (@access read) => { $crate::plan::Access::Read };
    (@access write) => { $crate::plan::Access::Write };
    (@access both) => { $crate::plan::Access::ReadWrite };
    (
        @entry $reader:ident [$($meta:tt)*] [$($fields:tt)*] [$($table:tt)*] [$($lets:tt)*] [$($names:ident)*]
        $(#[doc = $doc:literal])+
        pub $name:ident $(($letter:literal))?: $type:ty = $default:expr $(, $range:expr)?; $($rest:tt)*
    ) => {
        $crate::ops::settings::spec! {
            @entry $reader [$($meta)*]
            [$($fields)* $(#[doc = $doc])+ pub $name: $type,]
            [$($table)* $crate::ops::settings::Field::new::<$type>(
                stringify!($name),
                $crate::ops::settings::spec!(@optional $($letter)?),
                $crate::ops::settings::spec!(@range $($range)?),
                stringify!($default),
                &[$($doc),+],
            ),]
            [$($lets)* let $name: $type = $reader.get(stringify!($name), $default)?;]
            [$($names)* $name]
            $($rest)*
        }
    };
    (
        @entry $reader:ident [$($meta:tt)*] [$($fields:tt)*] [$($table:tt)*] [$($lets:tt)*] [$($names:ident)*]
        $(#[doc = $doc:literal])+
        let $name:ident $(($letter:literal))?: $type:ty = $default:expr $(, $range:expr)?; $($rest:tt)*
    ) => {
        $crate::ops::settings::spec! {
            @entry $reader [$($meta)*]
            [$($fields)*]
            [$($table)* $crate::ops::settings::Field::new::<$type>(
                stringify!($name),
                $crate::ops::settings::spec!(@optional $($letter)?),
                $crate::ops::settings::spec!(@range $($range)?),
                stringify!($default),
                &[$($doc),+],
            ),]
            [$($lets)* let $name: $type = $reader.get(stringify!($name), $default)?;]
            [$($names)*]
            $($rest)*
        }
    };
    (
        @entry $reader:ident [$($meta:tt)*] [$($fields:tt)*] [$($table:tt)*] [$($lets:tt)*] [$($names:ident)*]
        $(#[doc = $doc:literal])+
        pub $name:ident: $type:ty => $value:expr; $($rest:tt)*
    ) => {
        $crate::ops::settings::spec! {
            @entry $reader [$($meta)*]
            [$($fields)* $(#[doc = $doc])+ pub $name: $type,]
            [$($table)*]
            [$($lets)* let $name: $type = $value;]
            [$($names)* $name]
            $($rest)*
        }
    };
    (
        @entry $reader:ident [$($meta:tt)*] [$($fields:tt)*] [$($table:tt)*] [$($lets:tt)*] [$($names:ident)*]
    ) => {
        $crate::ops::settings::settable! { $($meta)* pub struct Spec { $($fields)* } }

        pub(crate) const FIELDS: &[$crate::ops::settings::Field] = &[$($table)*];

        impl Spec {
            pub(crate) fn from_settings(
                $reader: &mut $crate::ops::settings::Reader<'_>,
            ) -> Result<Self, $crate::ops::settings::SettingError> {
                $($lets)*
                Ok(Self { $($names),* })
            }
        }
    };
}
pub(crate) use spec;
