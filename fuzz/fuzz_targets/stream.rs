#![no_main]

bovw_fuzz::fuzz!(stream_of_images);
