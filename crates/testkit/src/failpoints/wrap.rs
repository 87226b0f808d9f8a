//! The macro that wraps a port: its methods as in the trait, each with what a repeated call answers.

/// Implements a port for `Breakable<dyn Port>`. Words before a method:
/// `last` and `first`: asked twice, the caller gets that answer (`last` where the port promises idempotence);
/// `sure`: cannot fail; `plain`: does nothing to the world, so it is no step; `own`: written
/// out, with the steps it takes.
macro_rules! wrap {
    ($port:ident as $name:literal { $($methods:tt)* }) => {
        $crate::failpoints::wrap::wrap!(@ $port $name [] [] $($methods)*);
    };
    (@ $port:ident $name:literal [$($steps:tt)*] [$($done:tt)*]) => {
        #[async_trait::async_trait]
        impl $port for Breakable<dyn $port> { $($done)* }

        impl Breakable<dyn $port> {
            /// The steps of this port.
            pub(super) const STEPS: &'static [&'static str] = &[$($steps)*];
        }
    };
    (@ $port:ident $name:literal [$($steps:tt)*] [$($done:tt)*]
        last $method:ident($($arg:ident: $type:ty),* $(,)?) -> $answer:ty; $($rest:tt)*) => {
        $crate::failpoints::wrap::wrap!(@ $port $name [$($steps)* concat!($name, ".", stringify!($method)),] [$($done)*
            async fn $method(&self, $($arg: $type),*) -> $answer {
                self.plan.ask(concat!($name, ".", stringify!($method)), true, || self.inner.$method($(Clone::clone(&$arg)),*)).await
            }
        ] $($rest)*);
    };
    (@ $port:ident $name:literal [$($steps:tt)*] [$($done:tt)*]
        first $method:ident($($arg:ident: $type:ty),* $(,)?) -> $answer:ty; $($rest:tt)*) => {
        $crate::failpoints::wrap::wrap!(@ $port $name [$($steps)* concat!($name, ".", stringify!($method)),] [$($done)*
            async fn $method(&self, $($arg: $type),*) -> $answer {
                self.plan.ask(concat!($name, ".", stringify!($method)), false, || self.inner.$method($(Clone::clone(&$arg)),*)).await
            }
        ] $($rest)*);
    };
    (@ $port:ident $name:literal [$($steps:tt)*] [$($done:tt)*]
        sure $method:ident($($arg:ident: $type:ty),* $(,)?) -> $answer:ty; $($rest:tt)*) => {
        $crate::failpoints::wrap::wrap!(@ $port $name [$($steps)* concat!($name, ".", stringify!($method)),] [$($done)*
            fn $method(&self, $($arg: $type),*) -> $answer {
                self.plan.do_now(concat!($name, ".", stringify!($method)), || self.inner.$method($(Clone::clone(&$arg)),*))
            }
        ] $($rest)*);
    };
    (@ $port:ident $name:literal [$($steps:tt)*] [$($done:tt)*]
        plain $method:ident($($arg:ident: $type:ty),* $(,)?) -> $answer:ty; $($rest:tt)*) => {
        $crate::failpoints::wrap::wrap!(@ $port $name [$($steps)*] [$($done)*
            fn $method(&self, $($arg: $type),*) -> $answer { self.inner.$method($($arg),*) }
        ] $($rest)*);
    };
    (@ $port:ident $name:literal [$($steps:tt)*] [$($done:tt)*]
        own [$($step:literal),*] { $($own:tt)* } $($rest:tt)*) => {
        $crate::failpoints::wrap::wrap!(@ $port $name [$($steps)* $($step,)*] [$($done)* $($own)*] $($rest)*);
    };
}

pub(super) use wrap;

/// A port with failpoints around it.
pub(super) struct Breakable<P: ?Sized> {
    pub(super) plan: std::sync::Arc<super::plan::Plan>,
    pub(super) inner: std::sync::Arc<P>,
}
