//! HTTP: every route on one page, one file per resource.
