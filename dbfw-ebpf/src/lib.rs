//! Empty: it lets `dbfw-user` name this crate as a build dependency, so that cargo rebuilds
//! the object when the programs change.
#![no_std]
