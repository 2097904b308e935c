//! Library of the harness.
