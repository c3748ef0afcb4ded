#![no_main]

bovw_fuzz::fuzz!(shard);
