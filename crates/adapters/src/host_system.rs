//! This machine: free space and the git program.
