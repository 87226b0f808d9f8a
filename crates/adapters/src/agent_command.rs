//! Any program as an agent: prompt on standard input, exit status out.
