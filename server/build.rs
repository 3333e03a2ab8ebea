//! Migrations are embedded: a new file must rebuild the program.

fn main() {
    println!("cargo::rerun-if-changed=../migrations");
}
