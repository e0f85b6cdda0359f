//! `Vary`: a request selects what an equal one stored, in both readings.
#![no_main]

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, VARY};
use libfuzzer_sys::fuzz_target;
use staleproof::semantics::vary::Selecting;
use staleproof_fuzz::{halves, lines};

fuzz_target!(|input: &[u8]| {
    let Some((said, asked)) = halves(input) else { return };
    let mut request = lines(&ACCEPT_LANGUAGE, asked);
    request.extend(lines(&ACCEPT_ENCODING, asked));
    for vary in [said, b"accept-language, accept-encoding"] {
        let mut response = lines(&VARY, vary);
        response.extend(lines(&CONTENT_LANGUAGE, said));
        response.extend(lines(&CONTENT_ENCODING, said));
        for liberal in [true, false] {
            let Some(selecting) = Selecting::of(&response, &request, liberal) else { continue };
            assert!(selecting.selects(&request));
        }
    }
});
