#![no_main]

bovw_fuzz::fuzz!(stream);
