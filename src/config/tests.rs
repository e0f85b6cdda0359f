use super::*;
#[test]
fn probe() {
    let text = std::fs::read_to_string("target/bad/a.yaml").unwrap();
    match compile_text("a.yaml", &text, &|_| None) {
        Ok(p) => println!("{p:#?}"),
        Err(e) => panic!("{e}"),
    }
}
