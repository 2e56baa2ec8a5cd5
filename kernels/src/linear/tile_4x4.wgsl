// 16 tokens by 64 outputs, 4 by 4 for each of 4 x 16 lanes: tokens 4 ty.., outputs 4 tx...
// Two vec4 reads feed 16 multiply-adds.

const TILE_TOKENS = 16u;

struct Sums {
    a0: vec4f,
    a1: vec4f,
    a2: vec4f,
    a3: vec4f,
}

fn multiply(sums: ptr<function, Sums>, x_at: u32, x_swap: u32, w_at: u32, w_swap: u32, lane: u32) {
    let w_slot = w_at + ((lane % 16) ^ w_swap);
    let x_slot = x_at + ((lane / 16) ^ x_swap);
    let a = w_tile[w_slot];
    let near = x_tile[x_slot];
    (*sums).a0 += near.x * a;
    (*sums).a1 += near.y * a;
    (*sums).a2 += near.z * a;
    (*sums).a3 += near.w * a;
}

fn write_sums(sums: ptr<function, Sums>, token0: u32, row0: u32, lane: u32) {
    let row = row0 + 4 * (lane % 16);
    let token = token0 + 4 * (lane / 16);
    write4(token, row, (*sums).a0);
    write4(token + 1, row, (*sums).a1);
    write4(token + 2, row, (*sums).a2);
    write4(token + 3, row, (*sums).a3);
}
