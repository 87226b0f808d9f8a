//! The secret scan: rules over added text.
