fn keep(n: u32, tokens: vec2u, c: u32) {}
