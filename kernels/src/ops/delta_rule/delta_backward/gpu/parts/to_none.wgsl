fn end(at: u32, d: u32, column: u32, state: vec4f) {}
