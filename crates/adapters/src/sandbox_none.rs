//! No sandbox: private directories and an environment built from empty.
