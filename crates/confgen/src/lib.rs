//! Library of confgen.
