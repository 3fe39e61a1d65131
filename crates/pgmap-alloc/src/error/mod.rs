//! One small `Copy` error per verb, with a variant for each thing a caller can act on. After any of them nothing has changed, unless the
//! error says what has ([`FreeManyError`], [`ForgetError`]).

/// Declares an error enum whose `Display` text stands beside each variant.
macro_rules! errors {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident $({ $($field:ident: $ty:ty),+ })? => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[doc = $doc])+ $variant $({ $(#[allow(missing_docs)] $field: $ty),+ })?,)+
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($name::$variant $({ $($field),+ })? => write!(f, $text),)+
                }
            }
        }

        impl core::error::Error for $name {}
    };
}

mod folio;
mod life;
mod pool;
mod ranges;
mod refused;
mod service;

pub use folio::{AccessError, FreezeError, GetError, MapError, PinError, PutError, ShareError, SplitError};
pub use life::{DrainError, GateError, Inconsistency, LookupError, WaitError};
pub use pool::{
    AccountedError, AllocError, AllocExtentError, ChargeError, ForgetError, FreeManyError, RechargeError, ReserveError,
    ReturnError, ScatterError,
};
pub use ranges::{AddRangeError, BuildError, RemoveRangeError};
pub use refused::Refused;
pub use service::{BlockError, FreeError, PardonError, RequestError, RetireError, SpecialError};
