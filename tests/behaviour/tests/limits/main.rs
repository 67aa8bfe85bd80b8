//! A bomb hurts only the sandbox it goes off in, and the end of that sandbox names the limit that it hit.
//!
//! Every check takes the program to test: the real one passes it, and a mutant without the limit in question does not.

mod bombs;
mod disk;
mod memory;
mod output;
mod processes;
mod time;
mod why;
