//! The trait by which a part of the domain becomes a type of the API.

use mosaic_core::domain::ids::Timestamp;

/// A part of the domain that the API shows.
pub(crate) trait Shown {
    /// The type of the API.
    type View;

    /// Returns it as the API shows it.
    fn shown(&self) -> Self::View;
}

impl<T: Shown> Shown for Vec<T> {
    type View = Vec<T::View>;

    fn shown(&self) -> Self::View {
        self.iter().map(T::shown).collect()
    }
}

impl<T: Shown> Shown for Option<T> {
    type View = Option<T::View>;

    fn shown(&self) -> Self::View {
        self.as_ref().map(T::shown)
    }
}

impl<T: Shown> Shown for Box<T> {
    type View = T::View;

    fn shown(&self) -> Self::View {
        T::shown(self)
    }
}

impl Shown for Timestamp {
    type View = String;

    fn shown(&self) -> String {
        self.to_rfc3339()
    }
}
