//! The fake of the repositories passes the conformance suite of the port's five parts.

use mosaic_testkit::fakes::repositories::ground;

mosaic_testkit::repositories_suite!(ground());
