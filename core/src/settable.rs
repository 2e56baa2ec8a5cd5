//! Settings that users of this crate build.

/// A struct that may get more fields, with a setter of its name for each.
macro_rules! settable {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($(#[$of:meta])* pub $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        #[non_exhaustive]
        pub struct $name { $($(#[$of])* pub $field: $type,)* }

        impl $name {
            $(
                #[doc = concat!("Sets `", stringify!($field), "`.")]
                #[doc = ""]
                $(#[$of])*
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}
pub(crate) use settable;
