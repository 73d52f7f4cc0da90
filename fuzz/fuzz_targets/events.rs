#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| celeriac_fuzz::decoders::events(data));
