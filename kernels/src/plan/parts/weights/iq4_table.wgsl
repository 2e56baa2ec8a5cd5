// The sixteen numbers of IQ4 as signed bytes.

const TABLE = vec4u(0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u);
