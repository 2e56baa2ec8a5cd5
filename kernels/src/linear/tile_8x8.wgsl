// 64 tokens by 64 outputs, 8 by 8 for each of 8 x 8 lanes: tokens 4 ty.. and 32 + 4 ty.., outputs 4 tx.. and 32 + 4 tx...
// Four vec4 reads feed 64 multiply-adds. `a` holds the first four outputs of a token, `b` the other four.

const TILE_TOKENS = 64u;

struct Sums {
    a0: vec4f,
    a1: vec4f,
    a2: vec4f,
    a3: vec4f,
    a4: vec4f,
    a5: vec4f,
    a6: vec4f,
    a7: vec4f,
    b0: vec4f,
    b1: vec4f,
    b2: vec4f,
    b3: vec4f,
    b4: vec4f,
    b5: vec4f,
    b6: vec4f,
    b7: vec4f,
}

fn multiply(sums: ptr<function, Sums>, x_at: u32, x_swap: u32, w_at: u32, w_swap: u32, lane: u32) {
    let w_slot = w_at + ((lane % 8) ^ w_swap);
    let x_slot = x_at + ((lane / 8) ^ x_swap);
    let a = w_tile[w_slot];
    let b = w_tile[w_slot + 8];
    let near = x_tile[x_slot];
    let far = x_tile[x_slot + 8];
    (*sums).a0 += near.x * a;
    (*sums).a1 += near.y * a;
    (*sums).a2 += near.z * a;
    (*sums).a3 += near.w * a;
    (*sums).a4 += far.x * a;
    (*sums).a5 += far.y * a;
    (*sums).a6 += far.z * a;
    (*sums).a7 += far.w * a;
    (*sums).b0 += near.x * b;
    (*sums).b1 += near.y * b;
    (*sums).b2 += near.z * b;
    (*sums).b3 += near.w * b;
    (*sums).b4 += far.x * b;
    (*sums).b5 += far.y * b;
    (*sums).b6 += far.z * b;
    (*sums).b7 += far.w * b;
}

fn write_sums(sums: ptr<function, Sums>, token0: u32, row0: u32, lane: u32) {
    let row = row0 + 4 * (lane % 8);
    let token = token0 + 4 * (lane / 8);
    write4(token, row, (*sums).a0);
    write4(token + 1, row, (*sums).a1);
    write4(token + 2, row, (*sums).a2);
    write4(token + 3, row, (*sums).a3);
    write4(token + 32, row, (*sums).a4);
    write4(token + 33, row, (*sums).a5);
    write4(token + 34, row, (*sums).a6);
    write4(token + 35, row, (*sums).a7);
    write4(token, row + 32, (*sums).b0);
    write4(token + 1, row + 32, (*sums).b1);
    write4(token + 2, row + 32, (*sums).b2);
    write4(token + 3, row + 32, (*sums).b3);
    write4(token + 32, row + 32, (*sums).b4);
    write4(token + 33, row + 32, (*sums).b5);
    write4(token + 34, row + 32, (*sums).b6);
    write4(token + 35, row + 32, (*sums).b7);
}
