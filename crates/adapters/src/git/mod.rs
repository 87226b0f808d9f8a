//! The git program behind the repositories port: stores, trees, bundles, judging checkouts, pushes.
