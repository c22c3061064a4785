//! The program `dbfw-server`.

fn main() {}
