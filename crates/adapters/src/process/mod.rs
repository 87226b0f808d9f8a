//! Jobs under shims: how processes are started, followed, stopped and proven gone.
