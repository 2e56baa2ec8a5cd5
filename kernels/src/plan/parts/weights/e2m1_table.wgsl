// The sixteen floats of four bits (e2m1), times 2, as signed bytes.

const TABLE = vec4u(0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu);
