// Each invocation owns four outputs of a pair of a token and an expert and walks their rows from end to end. For software
// drivers, on which barriers and workgroup memory cost more than they save.

fn invocation(index: u32) {
    let quad = quad_of(index);
    if !quad.here {
        return;
    }
    let totals = dots(quad, 0, 1);
    write(quad, 0, totals.x);
    write(quad, 1, totals.y);
    write(quad, 2, totals.z);
    write(quad, 3, totals.w);
}
